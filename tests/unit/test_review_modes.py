"""Failure modes on disk: what people may write, and that a file comes back as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.review.modes import Mode, read_modes, write_modes
from pytest_evalloop.review.traces import ReviewError

TEXT = st.text()
WORDS = TEXT.filter(lambda text: bool(text.strip()))
MODES = st.builds(
    Mode,
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True),
    WORDS,
    TEXT,
    WORDS,
    st.lists(TEXT, max_size=3).map(tuple),
    st.just("") | st.dates().map(str),
)


def test_a_mode_that_people_wrote_is_read(tmp_path: Path) -> None:
    (tmp_path / "modes.toml").write_text(
        '\ufeff[[mode]]\nid = "FM-01"\ntitle = "speeches never end"\n'
        'definition = """A speech\ngoes on."""\nseverity = "critical"\n'
        'examples = ["t-1", "t-2"]\nreviewed = 2026-11-23\n'
        '[[mode]]\nid = "FM-02"\ntitle = "another"\nreviewed = "2026-11-24"\n',
        encoding="utf-8",
    )
    assert read_modes(tmp_path) == (
        Mode("FM-01", "speeches never end", "A speech\ngoes on.", "critical", ("t-1", "t-2"), "2026-11-23"),
        Mode("FM-02", "another", reviewed="2026-11-24"),
    )


def test_no_file_holds_no_modes(tmp_path: Path) -> None:
    assert read_modes(tmp_path / "none") == ()


def test_the_layout_is_one_for_diffs(tmp_path: Path) -> None:
    write_modes(
        tmp_path / "labels",
        [Mode("FM-02", 'a "b"', examples=("t-1",), reviewed="2026-11-23"), Mode("FM-01", "é")],
    )
    assert (tmp_path / "labels/modes.toml").read_text(encoding="utf-8") == (
        "# The failure modes of this product, written by people and by the review page.\n"
        '\n[[mode]]\nid = "FM-02"\ntitle = "a \\"b\\""\ndefinition = ""\nseverity = "major"\nexamples = ["t-1"]\n'
        "reviewed = 2026-11-23\n"
        '\n[[mode]]\nid = "FM-01"\ntitle = "é"\ndefinition = ""\nseverity = "major"\nexamples = []\n'
    )


@settings(max_examples=50)
@given(st.lists(MODES, max_size=4, unique_by=lambda mode: mode.id.casefold()))
def test_modes_come_back_as_they_were_and_the_file_stays_the_same(modes: list[Mode]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_modes(path, modes)
        assert list(read_modes(path)) == modes
        before = (path / "modes.toml").read_bytes()
        write_modes(path, read_modes(path))
        assert (path / "modes.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[mode]\n", "modes.toml is no TOML: "),
        ("[[modes]]\nid = 'a'\n", "holds 'modes'. It holds [[mode]] tables"),
        ("mode = 'a'\n", "a 'mode' that is no list"),
        ("[[mode]]\ntitle = 'a'\n", "mode 1 needs an id and a title"),
        ("[[mode]]\nid = 'FM-01'\n", "mode 1 (FM-01) needs an id and a title"),
        (
            "[[mode]]\nid = 'FM-01'\ntitle = 'a'\nimportance = 'b'\n",
            "mode 1 (FM-01) has importance. A mode has id, title,",
        ),
        ("[[mode]]\nid = 1\ntitle = 'a'\n", "mode 1: id is 1; it is text"),
        (
            "[[mode]]\nid = 'FM-01'\ntitle = 'a'\nexamples = 't'\n",
            "examples is 't'; it is a list of trace ids",
        ),
        (
            "[[mode]]\nid = 'FM-01'\ntitle = 'a'\nexamples = [1]\n",
            "examples is [1]; it is a list of trace ids",
        ),
        ("[[mode]]\nid = 'FM-01'\ntitle = 'a'\nreviewed = 2026\n", "reviewed is 2026; it is a date such as"),
        (
            "[[mode]]\nid = 'FM-01'\ntitle = 'a'\nreviewed = 'May'\n",
            "reviewed is 'May'; it is a date such as",
        ),
        ("[[mode]]\nid = 'FM-01'\ntitle = 'a'\nreviewed = 2026-11-23T10:00:00\n", "it is a date such as"),
        ("[[mode]]\nid = 'FM-01'\ntitle = ' '\n", "mode FM-01: title is empty"),
        ("[[mode]]\nid = '../x'\ntitle = 'a'\n", "'../x' cannot name a mode"),
        ("[[mode]]\nid = 'note'\ntitle = 'a'\n", "'note' cannot name a mode"),
        (
            "[[mode]]\nid = 'FM-01'\ntitle = 'a'\n[[mode]]\nid = 'fm-01'\ntitle = 'b'\n",
            "mode fm-01 is there twice",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "modes.toml").write_text(text)
    with pytest.raises(ReviewError) as caught:
        read_modes(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_modes_that_could_not_be_read_again_are_not_written(tmp_path: Path) -> None:
    write_modes(tmp_path, [Mode("FM-01", "a")])
    before = (tmp_path / "modes.toml").read_bytes()
    for bad in ([Mode("a b", "x")], [Mode("FM-01", "")], [Mode("FM-01", "a"), Mode("FM-01", "b")]):
        with pytest.raises(ReviewError):
            write_modes(tmp_path, bad)
    assert (tmp_path / "modes.toml").read_bytes() == before
    (tmp_path / "modes.toml").unlink()
    (tmp_path / "modes.toml").mkdir()
    with pytest.raises(ReviewError, match="cannot be read"):
        read_modes(tmp_path)
