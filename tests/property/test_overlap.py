"""Properties of the search for hidden text: no run escapes by its looks, and nobody is blamed for nothing."""

from __future__ import annotations

import base64
import codecs
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_evalloop.loop.contamination import added
from pytest_evalloop.metric.overlap import SHINGLE, among, build, find, matches, normalise, sightings
from pytest_evalloop.records import Document

# Words that no escape, tag or entity can arise from; a run of them has more than a handful of letters.
LETTERS = "abcdefghijklmnopqrstuvwxyzäéøčжщλш"
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=9), min_size=1, max_size=80)


def prose(seed: int, count: int) -> list[str]:
    """Return words that are long and varied enough to be worth hiding."""
    chance = Random(seed)
    return ["".join(chance.choices(LETTERS, k=chance.randint(2, 9))) for _ in range(count)]


PROSE = st.builds(prose, st.integers(0, 2**32), st.integers(40, 120))
STRIDES = st.integers(1, 40)
NOISE = st.text("_*#\n\t ,.;:!?()[]{}~|-—’“", max_size=6)  # noqa: RUF001
DISGUISES = {
    "none": lambda text: text,
    "reversed": lambda text: text[::-1],
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "bytes": lambda text: str(list(text.encode())),
    "points": lambda text: str(list(map(ord, text))),
    "escapes": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "literal": ascii,
}


def varied(text: str) -> bool:
    return all(len(set(text[i : i + SHINGLE])) >= 6 for i in range(max(1, len(text) - SHINGLE + 1)))


@given(PROSE, WORDS, STRIDES, st.data())
def test_a_run_of_the_guaranteed_length_is_found_wherever_and_however_it_is_written(
    words: list[str], others: list[str], every: int, data: st.DataObject
) -> None:
    text = normalise(" ".join(words))
    index = build([Document("other", " ".join(others).encode()), Document("secret", text.encode())], every)
    assume(len(text) >= index.guarantee)
    start = data.draw(st.integers(0, len(text) - index.guarantee))
    length = data.draw(st.integers(index.guarantee, len(text) - start))
    run = text[start : start + length]
    assume(varied(run))
    written = ""
    while run:
        cut = data.draw(st.integers(1, max(1, len(run))))
        written += data.draw(st.sampled_from([str.upper, str.lower, str.title]))(run[:cut]) + data.draw(NOISE)
        run = run[cut:]
    before, after = data.draw(NOISE), data.draw(NOISE)
    assert find(index, (before + written + after).encode())


@given(PROSE, st.sampled_from(sorted(DISGUISES)), st.data())
def test_a_disguised_run_is_found(words: list[str], disguise: str, data: st.DataObject) -> None:
    text = " ".join(words)
    assume(len(normalise(text)) >= SHINGLE)
    assume(varied(normalise(text)))
    before = data.draw(st.text("abcxyz0123=' \n", max_size=30))
    # What stands apart from it is no part of it; a sign that ends any token stands between.
    written = f"{before}\n= [{DISGUISES[disguise](text)}]\n"
    assert find(build([Document("secret", text.encode())]), written.encode())


@given(st.binary(max_size=3000), st.integers())
def test_a_text_of_other_letters_is_never_blamed(data: bytes, seed: int) -> None:
    secret = "".join(Random(seed).choices("жщшюяэыъ", k=2000))
    index = build([Document("secret", secret.encode())])
    assert find(index, data) == ()


@given(WORDS, WORDS, WORDS)
def test_what_training_text_holds_is_never_blamed(
    left: list[str], shared: list[str], right: list[str]
) -> None:
    index = build([Document("secret", " ".join([*left, *shared]).encode())])
    training = " ".join([*shared, *right])
    seen = sightings(index, training.upper().encode())
    assert matches(index, seen, among(seen, [training.encode()])) == ()


@given(WORDS, st.data())
def test_characters_never_exceed_what_the_text_has(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    part = text[: data.draw(st.integers(0, len(text)))]
    for match in find(build([Document("secret", text.encode())]), part.encode()):
        assert SHINGLE <= match.characters <= len(normalise(part))


@given(st.text(), st.text())
def test_text_is_normalised_character_by_character(left: str, right: str) -> None:
    assert normalise(left + right) == normalise(left) + normalise(right)
    assert normalise(normalise(left)) == normalise(left)


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b""])), st.lists(st.sampled_from([b"a", b"b", b"d", b""])))
def test_added_lines_and_kept_ones_make_up_the_new_file(old: list[bytes], new: list[bytes]) -> None:
    lines = added(b"\n".join(old), b"\n".join(new)).splitlines()
    for line in (b"a", b"b", b"c", b"d"):
        assert lines.count(line) == max(0, new.count(line) - old.count(line))
