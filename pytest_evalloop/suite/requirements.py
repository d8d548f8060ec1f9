"""The requirements document: one requirement a failure mode, from what people said and what the evals found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pytest_evalloop.review.counts import count
from pytest_evalloop.review.rates import ModeRate
from pytest_evalloop.suite.dossier import (
    Quoted,
    Requirement,
    Requirements,
    Stated,
    by_check,
    differences,
    flags,
    flags_of_test,
    in_words,
    validated,
)
from pytest_evalloop.suite.rendering import (
    FLAG,
    Block,
    Code,
    Facts,
    Heading,
    Paragraph,
    Quote,
    Table,
    Text,
    markdown,
    shorten,
)
from pytest_evalloop.suite.rendering import page as as_page
from pytest_evalloop.suite.results import ModeResult, TestResult

_INPUT, _OUTPUT, _NOTE = 200, 800, 300  # characters of a quotation
_LISTED = 10
_RANKS: Final = {"critical": 0, "high": 1, "major": 1, "medium": 2, "minor": 3, "low": 3}


def document(requirements: Requirements, *, page: bool = False) -> str:
    """Return the document as Markdown, or as a page that needs nothing else; the order of what is given is all one."""
    blocks = _blocks(requirements)
    return as_page(blocks, "Requirements") if page else markdown(blocks)


def _blocks(given: Requirements) -> Iterator[Block]:
    modes = sorted(given.modes, key=_by_severity)
    yield Heading(1, ("Requirements",))
    made = (
        "Written by ",
        Code(given.command),
        " from the evals, the labels and the last results; do not edit it.",
    )
    yield Paragraph(made)
    yield Paragraph((given.search,))
    if modes:
        yield Table(
            ("Requirement", "Severity", "Seen by people", "Last result", "Flags"),
            tuple(_overview(mode, given.latest) for mode in modes),
        )
        yield Heading(2, ("Failure modes",))
    for mode in modes:
        yield from _requirement(mode, given.latest)
    yield from _plain("Thresholds", given.thresholds)
    yield from _plain("Other requirements", given.others)


def _overview(mode: Requirement, latest: str) -> tuple[Text, ...]:
    result = "not run yet" if mode.result is None else "PASS" if mode.result.passed else "FAIL"
    count = len(flags(mode, latest))
    return (
        (f"{mode.id}: {mode.title}",),
        (mode.severity or "not said",),
        (_share(mode.rate) if mode.rate.labelled else "not labelled",),
        (result if mode.tests else "no check",),
        (str(count) if count else "",),
    )


def _requirement(mode: Requirement, latest: str) -> Iterator[Block]:
    yield Heading(3, (f"{mode.id}: {mode.title}",))
    yield from _statements(mode.tests)
    yield Facts(tuple(_facts(mode, latest)))
    quoted = {each.id: each for each in mode.quoted}
    for each in [quoted[identity] for identity in mode.cited if identity in quoted][:2]:
        note = (f" A person noted: {shorten(each.note, _NOTE)}",) if each.note else ()
        yield Quote(("For example, ", Code(each.id), ".", *note), _quotation(each))


def _facts(mode: Requirement, latest: str) -> Iterator[tuple[str, Text]]:
    yield "Severity", (mode.severity or "not said",)
    if mode.definition:
        yield "Why it exists", (mode.definition,)
    yield "Seen", (_seen(mode.rate),)
    yield from _checked(mode)
    yield "Last result", (_last(mode.result),)
    yield "Last reviewed", (mode.reviewed or "never",)
    if mode.cited:
        yield "Examples", tuple(_codes(mode.cited))
    for text in flags(mode, latest):
        yield FLAG, (text,)


def _codes(words: Sequence[str]) -> Iterator[str]:
    for index, word in enumerate(words):
        yield from (", ", Code(word)) if index else (Code(word),)


def _checked(mode: Requirement) -> Iterator[tuple[str, Text]]:
    for test in sorted(mode.tests, key=_by_nodeid):
        yield "Checked by", (Code(test.nodeid),)
    if mode.tolerate is not None:
        yield "Threshold", (_tolerated(mode.tolerate),)
    for check in sorted(mode.checks, key=by_check):
        yield "Check", (Code(check.check), f", {validated(check.agreement)}")
        for text in differences(check.disagreements, _LISTED):
            yield "Disagreement", (text,)
    if mode.judge is not None:
        looked = f" on its test split on {mode.judge.looked}" if mode.judge.looked else ""
        said = in_words(mode.judge.agreement) if mode.judge.agreement else "never validated against labels"
        yield "Judge", (Code(mode.judge.fingerprint), f"{looked}: {said}")
    if not mode.checks and mode.judge is None and mode.tests:
        yield "Check", ("never validated against labels",)


def _statements(tests: Iterable[Stated]) -> Iterator[Block]:
    said = dict.fromkeys(test.statement for test in sorted(tests, key=_by_nodeid) if test.statement)
    for statement in said:
        yield from (Paragraph((part.strip(),)) for part in statement.split("\n\n") if part.strip())


def _plain(title: str, tests: Sequence[Stated]) -> Iterator[Block]:
    if not tests:
        return
    yield Heading(2, (title,))
    for test in sorted(tests, key=_by_nodeid):
        yield Heading(3, (Code(test.nodeid),))
        yield from _statements([test])
        flagged = [(FLAG, (text,)) for text in flags_of_test(test)]
        yield Facts((("Last result", (_last_of_test(test.result),)), *flagged))


def _last(result: ModeResult | None) -> str:
    if result is None:
        return "not run yet"
    failed = f"{result.failures} of {count(result.cases, 'case')} failed"
    # Where nothing is tolerated, the bound is not what decides.
    bound = f", so up to {100 * result.upper:.3g}% fail (95 % bound)" if result.tolerate else ""
    return f"{'PASS' if result.passed else 'FAIL'}: {failed}{bound}; {_dates(result)}"


def _last_of_test(result: TestResult | None) -> str:
    return "not run yet" if result is None else f"{'PASS' if result.passed else 'FAIL'}; {_dates(result)}"


def _dates(result: ModeResult | TestResult) -> str:
    unchanged = f"unchanged since {result.date}"
    return f"{unchanged}, passes since {result.since}" if result.passed else unchanged


def _tolerated(tolerate: float) -> str:
    if not tolerate:
        return "no case may fail"
    return f"at most {100 * tolerate:.3g}% of cases may fail, by the upper 95 % bound of the rate"


def _seen(rate: ModeRate) -> str:
    if rate.interval is None:
        return "no trace was labelled for it"
    bounds = f"95 % interval {100 * rate.interval.low:.1f}% to {100 * rate.interval.high:.1f}%"
    return f"in {rate.failures} of {rate.labelled} labelled traces, {_share(rate)} ({bounds})"


def _share(rate: ModeRate) -> str:
    return f"{100 * rate.failures / rate.labelled:.1f}%"


def _quotation(trace: Quoted) -> str:
    """Return input and output in one piece, as a continuation is read, each shortened on its own."""
    parts = (("input", trace.input, _INPUT), ("output", trace.output, _OUTPUT))
    shown = ((name, shorten(text.strip("\n"), most)) for name, text, most in parts if text.strip())
    return "\n".join(f"[{name}]\n{text}" for name, text in shown)


def _by_severity(mode: Requirement) -> tuple[int, str, str]:
    return _RANKS.get(mode.severity.casefold(), len(_RANKS)), mode.severity.casefold(), mode.id


def _by_nodeid(test: Stated) -> str:
    return test.nodeid
