"""Hidden text is found in a change, however it is written, and nothing else is blamed."""

from __future__ import annotations

import base64
import codecs
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from pytest_evalloop.loop.contamination import Guard, added
from pytest_evalloop.metric.overlap import (
    SHINGLE,
    Match,
    among,
    build,
    find,
    matches,
    normalise,
    sightings,
    stride,
)
from pytest_evalloop.records import Budget, Document
from pytest_evalloop.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".evalloop/data"

VERSE = """## SCENE III. A wood.

_Enter two heralds_

**First Herald**
Who carried off the lantern of the king
When all the marshes lay beneath the snow?

**Second Herald**
A fox, my lord, with silver on its wing;
It's said he sold it to a crow.
"""
OTHER = "The learning rate falls along a cosine to a tenth of its peak. Weights decay, biases do not. " * 20
DOCUMENT = Document("val/wood.md", VERSE.encode())
INDEX = build(
    [DOCUMENT, Document("val/other.md", b"Nothing here is like anything that anybody else has written.")]
)
LETTERS = len(normalise(VERSE))
CYRILLIC = "Кто фонарь унёс у короля, когда под снегом спали все болота и луна не шла?"  # noqa: RUF001


def in_source(text: str) -> bytes:
    return f"import torch\n\nrate = 0.1\n\n{text}\n\n\ndef train(steps):\n    return steps + 1\n".encode()


def per_line(wrap: Callable[[str], str]) -> str:
    return "\n".join(wrap(line) for line in VERSE.splitlines())


def wrapped(text: str, width: int) -> str:
    return "\n".join(text[i : i + width] for i in range(0, len(text), width))


BYTES = VERSE.encode()
BASE64 = base64.b64encode(BYTES).decode()
ZLIB = zlib.compress(BYTES)


@pytest.mark.parametrize(
    ("text", "equal"),
    [
        ("**To be,** or\n not", "tobeornot"),
        ("ﬁne ① Ⅳ ½", "fine1iv12"),
        ("Straße STRASSE", "strassestrasse"),
        ("École e\u0301cole", "ecoleecole"),
        ("ΣΟΦΟΣ σοφος", "σοφοσσοφοσ"),
        ("фонарь 日本", "фонарь日本"),
        ("_-*#`~!? \t\r\n", ""),
        ("\ud800a", "a"),
    ],
)
def test_only_letters_and_digits_count(text: str, equal: str) -> None:
    assert normalise(text) == equal


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(VERSE, id="as it is"),
        pytest.param(VERSE.upper(), id="upper case"),
        pytest.param(" ".join(VERSE.split()), id="one line"),
        pytest.param("".join(c for c in VERSE if c.isalnum()), id="bare"),
        pytest.param(VERSE.replace("\n", "</p>\n<p class='verse'>"), id="tags"),
        pytest.param(VERSE.replace("'", "&#39;").replace(" ", "&nbsp;"), id="entities"),
        pytest.param(VERSE.replace(" ", "%20").replace("\n", "%0A"), id="percent"),
        pytest.param(VERSE[::-1], id="reversed"),
        pytest.param(codecs.encode(VERSE, "rot13"), id="rot13"),
        pytest.param(codecs.encode(VERSE, "rot13")[::-1], id="rot13 reversed"),
        pytest.param(f"TEXT = {VERSE!r}", id="Python escapes"),
        pytest.param(json.dumps({"text": VERSE}), id="JSON escapes"),
        pytest.param("".join(f"\\u{ord(c):04x}" for c in VERSE), id="unicode escapes"),
        pytest.param("".join(f"\\{ord(c):03o}" for c in VERSE), id="octal escapes"),
        pytest.param(
            per_line(lambda line: f"    out += b{line.encode()!r}[1:]"), id="literals with code between"
        ),
        pytest.param(f'x = """{VERSE}', id="a literal that is not closed"),
        pytest.param(BASE64, id="base64"),
        pytest.param(f"d('x{BASE64}')", id="base64 at an odd place"),
        pytest.param(wrapped(BASE64, 40), id="base64 in lines"),
        pytest.param(
            "\n".join(f"b'{line}'" for line in wrapped(BASE64, 40).split()), id="base64 in literals"
        ),
        pytest.param(
            base64.urlsafe_b64encode(BYTES).decode().rstrip("="), id="base64 for addresses, unpadded"
        ),
        pytest.param(
            per_line(lambda line: base64.b64encode(line.encode()).decode()), id="base64 by the line"
        ),
        pytest.param(base64.b64encode(VERSE.encode("utf-16")).decode(), id="base64 of UTF-16"),
        pytest.param(base64.b64encode(BASE64.encode()).decode(), id="base64 twice"),
        pytest.param(base64.b64encode(ZLIB).decode(), id="base64 of zlib"),
        pytest.param(wrapped(base64.b64encode(ZLIB).decode(), 76), id="base64 of zlib in lines"),
        pytest.param(
            base64.b64encode(codecs.encode(VERSE, "rot13")[::-1].encode()).decode(), id="base64 of both"
        ),
        pytest.param(f"DATA = {ZLIB!r}", id="escaped zlib"),
        pytest.param(BYTES.hex(), id="hex"),
        pytest.param(f"h('f{BYTES.hex().upper()}')", id="hex at an odd place"),
        pytest.param(BYTES.hex(":"), id="hex with colons"),
        pytest.param("".join(f"\\x{byte:02x}" for byte in BYTES), id="hex escapes"),
        pytest.param(ZLIB.hex(), id="hex of zlib"),
        pytest.param(str(list(BYTES)), id="byte values"),
        pytest.param(", ".join(map(hex, BYTES)), id="byte values in hex"),
        pytest.param("\n".join(map(str, BYTES)), id="byte values by the line"),
        pytest.param(str(list(ZLIB)), id="byte values of zlib"),
    ],
)
def test_the_whole_text_is_found_however_it_is_written(text: str) -> None:
    (match,) = find(INDEX, in_source(text))
    assert match.document == "val/wood.md"
    assert 0.8 * LETTERS <= match.characters <= LETTERS


@pytest.mark.parametrize(
    "data",
    [VERSE.encode("utf-16"), VERSE.encode("utf-32"), ZLIB, b"PK\x03\x04" + ZLIB, b"\xff\xfe" + BYTES],
    ids=["UTF-16", "UTF-32", "zlib", "zlib in a container", "noise before"],
)
def test_binary_files_are_looked_through_too(data: bytes) -> None:
    (match,) = find(INDEX, b"\x00\x93NUMPY\x01\x00" + data)
    assert match == Match("val/wood.md", LETTERS)


@pytest.mark.parametrize(
    "text",
    [CYRILLIC, CYRILLIC.upper(), repr(CYRILLIC.encode()), json.dumps(CYRILLIC), str(list(CYRILLIC.encode()))],
    ids=["as it is", "upper", "bytes", "JSON", "byte values"],
)
def test_other_scripts_are_found_too(text: str) -> None:
    index = build([Document("val/ru.md", CYRILLIC.encode())])
    assert find(index, in_source(text)) == (Match("val/ru.md", len(normalise(CYRILLIC))),)


def test_a_run_of_the_stated_length_is_found_and_a_shorter_one_is_not() -> None:
    run = normalise(VERSE)[70 : 70 + INDEX.guarantee]
    assert len(run) == SHINGLE
    assert find(INDEX, f"x{run}x".encode()) == (Match("val/wood.md", SHINGLE),)
    assert find(INDEX, f"x{run[:-1]}.x".encode()) == ()


def test_overlapping_shingles_count_once_and_separate_runs_add_up() -> None:
    bare = normalise(VERSE)
    text = f"{bare[:50]} qqq {bare[100:140]}".encode()
    assert find(INDEX, text) == (Match("val/wood.md", 90),)


def test_several_documents_are_named_the_longest_overlap_first() -> None:
    text = b"Nothing here is like anything that anybody else has written. " + BYTES
    assert [match.document for match in find(INDEX, text)] == ["val/wood.md", "val/other.md"]


@pytest.mark.parametrize(
    "text", [OTHER, "", "0" * 500, "A" * 500, repr(Random(0).randbytes(5000)), str(list(range(3000)))]
)
def test_other_text_is_not_blamed(text: str) -> None:
    assert find(INDEX, in_source(text)) == ()


def test_a_rule_or_a_row_of_zeros_tells_nothing() -> None:
    index = build([Document("val/table.csv", b"0, 0, 0, 0, 0, 0, 1, " * 40)])
    assert find(index, b"x = [" + b"0, " * 100 + b"]") == ()


@pytest.mark.parametrize(("size", "share"), [(0, 1), (2**21, 1), (2**21 + 1, 2), (10**9, 477)])
def test_an_index_keeps_the_fewer_shingles_the_more_there_are(size: int, share: int) -> None:
    assert stride(size) == share


def test_an_empty_index_finds_nothing() -> None:
    assert find(build([]), BYTES) == ()
    assert find(build([Document("val/short.md", b"A short one.")]), b"A short one." * 9) == ()


def test_other_texts_excuse_what_stands_in_them_and_are_read_as_far_as_needed() -> None:
    first = VERSE[:110].encode()
    seen = sightings(INDEX, BYTES)
    assert matches(INDEX, seen, among(seen, [first])) == (
        Match("val/wood.md", LETTERS - len(normalise(VERSE[:110])) + SHINGLE - 1),
    )
    texts = iter([OTHER.encode(), first, BYTES, b"not needed"])
    assert matches(INDEX, seen, among(seen, texts)) == ()
    assert list(texts) == [b"not needed"]
    unread = iter([b"a"])
    assert not len(among([], unread))
    assert list(unread) == [b"a"]


@pytest.mark.parametrize("unit", [b'"\\"', b"<", b"'''", b'"""\n', b"=", b"x\x9c", b"\\", b"&#", b"0x", b"%"])
def test_no_text_takes_for_ever(unit: bytes) -> None:
    started = time.perf_counter()
    find(INDEX, unit * (300_000 // len(unit)))
    assert time.perf_counter() - started < 20


def test_a_bomb_is_not_unpacked_whole() -> None:
    started = time.perf_counter()
    bomb = zlib.compress(bytes(200_000_000), 9)
    packed = time.perf_counter() - started
    assert find(INDEX, bomb) == ()
    assert time.perf_counter() - started - packed < 30


# -- the guard


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    for name, text in {
        "data/val/wood.md": VERSE,
        "data/vault/snow.md": CYRILLIC,
        "data/train/a.md": OTHER + "Who carried off the lantern of the king?",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Settings(
        root=tmp_path,
        train=("t",),
        load="m:load",
        budget=Budget(1, "s"),
        mutable=("*",),
        hidden=("data/val", "data/vault/snow.md", "data/none"),
    )


def test_the_guard_names_path_and_document_and_of_the_vault_nothing(project: Settings) -> None:
    guard = Guard(project)
    assert guard.guarantee == SHINGLE
    found = guard.problems(
        {
            "model/prompt.md": (b"Write verse.", b"Write verse.\n" + BYTES),
            "model/w.bin": (b"", b"\0" + CYRILLIC.encode()),
            "model/gpt.py": (b"", OTHER.encode()),
        }
    )
    assert found == (
        f"model/prompt.md carries {LETTERS} characters of the hidden document data/val/wood.md",
        f"model/w.bin carries {len(normalise(CYRILLIC))} characters of a hidden document",
    )


def test_training_text_the_old_files_and_the_parents_tree_excuse(project: Settings) -> None:
    guard = Guard(project)
    phrase = b"# who carried off the lantern of the king"
    assert find(INDEX, phrase)
    assert guard.problems({"model/a.py": (b"", phrase)}) == ()
    assert guard.problems({"model/a.py": (b"", BYTES), "model/b.py": (BYTES, b"")}) == ()
    assert guard.problems({"model/a.py": (BYTES, BYTES + b"\nmore")}) == ()
    assert guard.problems({"model/a.py": (b"", BYTES)}, [b"x", b"y" + BYTES]) == ()
    assert guard.problems({"model/a.py": (b"", BYTES)}, [b"x", OTHER.encode()]) != ()


def test_the_parents_tree_is_not_read_without_a_suspicion(project: Settings) -> None:
    unread = iter([b"a"])
    assert Guard(project).problems({"model/a.py": (b"", OTHER.encode())}, unread) == ()
    assert list(unread) == [b"a"]


def test_a_text_that_several_changes_complete_is_seen_whole(project: Settings) -> None:
    guard = Guard(project)
    words = [f"{word}\n".encode() for word in VERSE.split()]
    half = b"".join(words[::2])
    assert guard.problems({"model/prompt.md": (b"", half)}) == ()
    assert guard.problems({"model/prompt.md": (half, b"".join(words))}) != ()


def test_a_training_folder_around_the_hidden_files_does_not_excuse_them(project: Settings) -> None:
    whole = Settings(
        project.root, ("t",), "m:load", Budget(1, "s"), ("*",), data="data", hidden=("data/val", "data/vault")
    )
    assert Guard(whole).problems({"model/a.py": (b"", BYTES)}) != ()


def test_training_text_is_read_across_the_seams_of_its_chunks(
    project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "data/train/b.md").write_bytes(OTHER.encode() + BYTES)
    monkeypatch.setattr("pytest_evalloop.loop.contamination._CHUNK", 100)
    monkeypatch.setattr("pytest_evalloop.loop.contamination._SEAM", 80)
    assert Guard(project).problems({"model/a.py": (b"", BYTES)}) == ()


def test_a_hidden_file_that_cannot_be_read_is_a_plain_error(
    project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        SettingsError, match=r"wood\.md cannot be read \(Permission denied\).*evalloop_hidden"
    ):
        Guard(project)


def test_a_guard_of_nothing_blames_nobody(tmp_path: Path) -> None:
    settings = Settings(tmp_path, ("t",), "m:load", Budget(1, "s"), ("*",), hidden=("data/val",))
    assert Guard(settings).problems({"model/a.py": (b"", BYTES)}) == ()


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (b"", b"a\nb\n", b"a\nb\n"),
        (b"a\nb\n", b"b\na\n", b""),
        (b"a\n", b"a\na\n", b"a\n"),
        (b"a\nb", b"a\nb\n", b""),
        (b"a\n", b"a\r\nc", b"c"),
        (b"a\nb\n", b"", b""),
        (b"\0\1", b"\0\1\2", b"\0\1\2"),
    ],
)
def test_added_lines(old: bytes, new: bytes, lines: bytes) -> None:
    assert added(old, new) == lines


@pytest.mark.skipif(
    not (DATA / "val").is_dir(), reason="the corpus has not been built: python -m model.corpus"
)
def test_the_projects_own_hidden_plays_are_guarded_and_its_sources_are_not_blamed() -> None:
    hidden = (".evalloop/data/val", ".evalloop/data/vault")
    settings = Settings(
        ROOT, ("t",), "m:load", Budget(1, "s"), ("*",), data=".evalloop/data/train", hidden=hidden
    )
    guard = Guard(settings)
    for path in ("model/gpt.py", "model/prompt.md", "README.md", "pytest_evalloop/loop/engine.py"):
        assert guard.problems({path: (b"", (ROOT / path).read_bytes())}) == ()
    text = min((DATA / "val").iterdir()).read_bytes()
    (problem,) = guard.problems({"model/prompt.md": (b"", b"x = 1\n" + base64.b64encode(text))})
    assert problem.startswith("model/prompt.md carries ")
    assert "the hidden document .evalloop/data/val/" in problem
