"""The requirements document: what is flagged, what it says, and that traces in it stay inert."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pytest_evalloop.review.rates import Agreement, ModeRate, wilson
from pytest_evalloop.review.validation import Disagreement
from pytest_evalloop.suite.dossier import (
    Judging,
    Quoted,
    Requirement,
    Requirements,
    Stated,
    Validated,
    all_flags,
    flags,
    validation,
)
from pytest_evalloop.suite.rendering import (
    Block,
    Code,
    Heading,
    Paragraph,
    Quote,
    Table,
    markdown,
    page,
    shorten,
    visible,
)
from pytest_evalloop.suite.requirements import document
from pytest_evalloop.suite.results import ModeResult, TestResult

AGREEMENT = Agreement(90, 87, 22, 20)
TEST = Stated("evals/test_a.py::test_a", "Every bracket closes.")
MODE = Requirement(
    id="FM-03",
    title="leaves a bracket open",
    severity="major",
    definition="A bracket that opens does not close.",
    reviewed="2026-11-01",
    named=True,
    rate=ModeRate("FM-03", 22, 112, wilson(22, 112)),
    cited=("t-1",),
    quoted=(Quoted("t-1", "SCENE II", "[Aside", "never closes"),),
    tests=(TEST,),
    tolerate=0.4,
    checks=(Validated("evals/test_a.py::open_brackets", AGREEMENT),),
    result=ModeResult(3, 40, 0.1832, 0.4, passed=True, since="2026-10-01", date="2026-11-20"),
)
ALL = Requirements(
    modes=(MODE,),
    thresholds=(Stated("evals/test_val_bpb.py::test_val_bpb", "At most 2.4 bits a byte."),),
    others=(Stated("evals/test_b.py::test_b", "Lossless.", TestResult(False, "", "2026-11-20")),),
    latest="2026-11-20",
    search="112 traces read.",
    command="pytest evals --evalloop-prd docs/R.md",
)


def of(mode: Requirement) -> Requirements:
    return replace(ALL, modes=(mode,))


def test_a_requirement_says_everything_that_is_known() -> None:
    text = document(ALL)
    for words in (
        "### FM-03: leaves a bracket open\n\nEvery bracket closes.\n",
        "- **Severity:** major\n",
        "- **Why it exists:** A bracket that opens does not close.\n",
        "- **Seen:** in 22 of 112 labelled traces, 19.6% (95 % interval 13.3% to 28.0%)\n",
        "- **Checked by:** `evals/test_a.py::test_a`\n",
        "- **Threshold:** at most 40% of cases may fail, by the upper 95 % bound of the rate\n",
        "- **Check:** `evals/test_a.py::open_brackets`, validated against 112 labels: TPR 0.97 (0.91 to 0.99), "
        "TNR 0.91 (0.72 to 0.97)\n",
        "- **Last result:** PASS: 3 of 40 cases failed, so up to 18.3% fail (95 % bound); "
        "unchanged since 2026-11-20, passes since 2026-10-01\n",
        "- **Last reviewed:** 2026-11-01\n",
        "For example, `t-1`. A person noted: never closes\n\n```text\n[input]\nSCENE II\n[output]\n[Aside\n```\n",
        "## Thresholds\n\n### `evals/test_val_bpb.py::test_val_bpb`\n\nAt most 2.4 bits a byte.\n\n"
        "- **Last result:** not run yet\n",
        "## Other requirements\n\n### `evals/test_b.py::test_b`\n\nLossless.\n\n"
        "- **Last result:** FAIL; unchanged since 2026-11-20\n",
    ):
        assert words in text
    assert "Flag:" not in text
    assert all_flags(ALL) == ()


@pytest.mark.parametrize(
    ("mode", "flag"),
    [
        (replace(MODE, tests=()), "No test checks this failure mode."),
        (replace(MODE, named=False), "a test checks it, and it is not in modes.toml"),
        (replace(MODE, reviewed=""), "It was never reviewed."),
        (replace(MODE, reviewed="2026-10-08"), "It is stale: reviewed last on 2026-10-08"),
        (replace(MODE, cited=(), quoted=()), "It cites no trace."),
        (replace(MODE, cited=("t-9", "t-1")), "It cites traces that are not among the kept ones: t-9."),
        (replace(MODE, rate=ModeRate("FM-03", 0, 0, None)), "No trace was labelled for it."),
        (replace(MODE, rate=ModeRate("FM-03", 1, 29, wilson(1, 29))), "Only 29 traces were labelled for it"),
        (replace(MODE, rate=ModeRate("FM-03", 1, 1, wilson(1, 1))), "Only 1 trace was labelled for it"),
        (replace(MODE, called=("brackets",)), 'Its tests call it "brackets", and modes.toml does not.'),
        (replace(MODE, tests=(replace(TEST, statement=""),)), "A test of it has no docstring"),
        (
            replace(MODE, checks=(Validated("a::b", Agreement(10, 7, 10, 9)),)),
            "a::b agrees too little with people: its TPR is 0.70, below 0.80.",
        ),
        (
            replace(MODE, checks=(Validated("a::b", Agreement(0, 0, 0, 0), problem="gave no verdict."),)),
            "a::b gave no verdict.",
        ),
        (replace(MODE, judge=Judging("j-1", problem="It cannot gate.")), "It cannot gate."),
    ],
)
def test_what_somebody_should_look_at_is_flagged(mode: Requirement, flag: str) -> None:
    (found,) = flags(mode, ALL.latest)
    assert flag in found
    assert "- **Flag:** " in document(of(mode))
    assert '<dt class="flag">Flag</dt>' in document(of(mode), page=True)


def test_what_was_reviewed_six_weeks_before_the_last_result_is_not_stale() -> None:
    assert flags(replace(MODE, reviewed="2026-10-09"), "2026-11-20") == ()
    assert flags(replace(MODE, reviewed="2020-01-01"), "") == ()


def test_a_test_without_a_docstring_is_flagged() -> None:
    silent = replace(ALL, others=(Stated("evals/test_b.py::test_b", ""),))
    assert all_flags(silent) == ("It has no docstring, so that it states no requirement.",)
    assert "- **Flag:** It has no docstring" in document(silent)


def test_severity_comes_first_then_the_id() -> None:
    severities = {"FM-1": "minor", "FM-2": "major", "FM-3": "", "FM-4": "critical", "FM-5": "High"}
    modes = tuple(replace(MODE, id=name, severity=each) for name, each in severities.items())
    found = re.findall(r"^### (FM-\d)", document(replace(ALL, modes=modes)), re.MULTILINE)
    assert found == ["FM-4", "FM-5", "FM-2", "FM-1", "FM-3"]


def test_validation_reads_as_sentences() -> None:
    assert list(validation(MODE)) == [
        "validated against 112 labels: TPR 0.97 (0.91 to 0.99), TNR 0.91 (0.72 to 0.97)"
    ]
    assert list(validation(replace(MODE, checks=()))) == ["never validated against labels"]
    judged = replace(MODE, checks=(), judge=Judging("j-1", AGREEMENT, "2026-11-02"))
    assert list(validation(judged)) == ["judge j-1: TPR 0.97 (0.91 to 0.99), TNR 0.91 (0.72 to 0.97)"]
    assert "- **Judge:** `j-1` on its test split on 2026-11-02: TPR 0.97" in document(of(judged))


def test_disagreements_are_listed_lenient_ones_first() -> None:
    found = tuple(Disagreement(f"t-{number}", said=number < 5) for number in range(6))
    mode = replace(MODE, checks=(Validated("a::b", AGREEMENT, found),))
    assert list(validation(mode))[1:] == [
        "false pass (too lenient): t-0, t-1, t-2 and 2 more",
        "false fail (too strict): t-5",
    ]
    assert "- **Disagreement:** false pass (too lenient): t-0, t-1, t-2, t-3, t-4\n" in document(of(mode))


words = st.text(st.characters(), max_size=20) | st.sampled_from(
    [
        "<script>x</script>",
        "a|b",
        "``` x",
        "`",
        "# a",
        "1. a",
        "- a",
        "[a](http://e.org)",
        "![a](x)",
        "\x1b[31m",
    ]
)
requirement = st.builds(
    lambda identity, text, quoted, severity: replace(
        MODE,
        id=identity,
        title=text,
        definition=text,
        severity=severity,
        quoted=(quoted,),
        cited=(quoted.id,),
    ),
    st.sampled_from([f"FM-{number}" for number in range(20)]),
    words,
    st.builds(Quoted, st.sampled_from(["t-1", "t-2"]), words, words, words),
    st.sampled_from(["critical", "major", "minor", "odd", ""]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(requirement, max_size=5, unique_by=lambda mode: mode.id), st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_does_not_matter(modes: list[Requirement], chance: random.Random) -> None:
    checks = (Validated("b", AGREEMENT), Validated("a", AGREEMENT))
    modes = [replace(mode, tests=(TEST, Stated("b", "B.")), checks=checks) for mode in modes]
    turned = [replace(mode, tests=mode.tests[::-1], checks=checks[::-1]) for mode in modes]
    chance.shuffle(turned)
    one = replace(ALL, modes=tuple(modes), others=(TEST, Stated("b", "B.")))
    other = replace(one, modes=tuple(turned), others=one.others[::-1])
    for as_page in (False, True):
        assert document(one, page=as_page) == document(other, page=as_page)


TAGS = {
    *("h1", "h2", "h3", "p", "ul", "li", "strong", "code", "pre", "table", "thead", "tbody", "tr", "th", "td")
}


class Tags(HTMLParser):
    """Collects what a page consists of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@settings(max_examples=50, deadline=None)
@given(requirement)
def test_nothing_in_a_trace_becomes_markup(mode: Requirement) -> None:
    parsed = Tags()
    parsed.feed(MarkdownIt("commonmark").enable("table").render(document(of(mode))))
    assert parsed.tags <= TAGS
    assert parsed.attributes <= {"class"}  # of the quotation
    plain = Tags()
    plain.feed(document(of(mode), page=True))
    assert plain.attributes <= {"lang", "charset", "name", "content", "http-equiv", "class"}
    assert plain.tags.isdisjoint({"script", "a", "img", "link", "iframe"})
    for text in (document(of(mode)), document(of(mode), page=True)):
        text.encode()
        unseen = {unicodedata.category(character) for character in text.replace("\n", "").replace("\t", "")}
        assert unseen.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Quotations(HTMLParser):
    """Collects the text of one kind of element, and of table cells."""

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        self._kinds, self._depth, self.found = kinds, 0, [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in self._kinds:
            self._depth += 1
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag in self._kinds

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.found[-1] += data


@settings(max_examples=100, deadline=None)
@given(words.filter(lambda text: "\n" not in text))
def test_markdown_shows_the_very_text(text: str) -> None:
    blocks: list[Block] = [
        Heading(2, (text, "x")),
        Paragraph((text, "x")),
        Table(("x",), (((text, Code(text), "x"),),)),
    ]
    rendered = MarkdownIt("commonmark").enable("table").render(markdown(blocks))
    for kind, expected in (("p", f"{text}x"), ("h2", f"{text}x"), ("td", f"{text}{text}x")):
        parsed = Quotations(kind)
        parsed.feed(rendered)
        assert "".join(parsed.found).split() == visible(expected).split()


@settings(max_examples=100, deadline=None)
@given(words)
def test_a_quotation_is_the_very_text_but_for_what_cannot_be_seen(text: str) -> None:
    for rendered in (
        MarkdownIt("commonmark").render(markdown([Quote(("x",), text)])),
        page([Quote(("x",), text)], "x"),
    ):
        parsed = Quotations("pre")
        parsed.feed(rendered)
        assert parsed.found[-1].removeprefix("\n").rstrip("\n") in (
            visible(text, "\n\t").rstrip("\n"),
            visible(text, "\n\t").removeprefix("\n").rstrip("\n"),
        )


def test_what_cannot_be_seen_is_shown_as_what_it_is() -> None:
    assert visible("a\x1b[31m\u202eb\ud800\u2028") == r"a\x1b[31m\u202eb\ud800\u2028"
    assert visible("a\tb\n", "\n\t") == "a\tb\n"
    assert visible("Übermut: 好 🎭") == "Übermut: 好 🎭"


def test_a_long_text_loses_its_middle() -> None:
    assert shorten("x" * 100, 100) == "x" * 100
    short = shorten("a" * 1000 + "b" * 1000, 90)
    assert short == f"{'a' * 60}\n[… 1,910 characters left out …]\n{'b' * 30}"


def test_the_page_needs_nothing_from_outside() -> None:
    text = document(ALL, page=True)
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href|url)\s*[=(]\s*['"]?\w""", text)
