"""Begins an eval for a failure mode: definition and examples are there, the check is still to be written."""

from __future__ import annotations

import builtins
import keyword
import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pytest_evalloop.review.modes import Mode
from pytest_evalloop.review.traces import ReviewError, StoredTrace, append, lines_by_id
from pytest_evalloop.store.home import disk

_EXCERPT: Final = 50  # characters of a text that are quoted beside the id of its trace
_WIDTH: Final = 100
_SLUG: Final = 40
_SEEDS: Final = 40
_TAKEN: Final = {
    "annotations",
    "answer",
    "check",
    "generate",
    "kept_trace",
    "output",
    "pytest",
    "seed",
    "text",
    "trace",
}

_TEMPLATE: Final = '''\
"""{title}."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_evalloop import Trace, check

# Traces in which people saw it, and how their input and output begin. They are kept whole beside the labels, in
# traces.jsonl, where the fixture `kept_trace` reads them.
EXAMPLES = (
{examples})
SEEDS = range({seeds})  # each is one sample for every input; few cases never show a low rate

{system}
@check({id})
def {slug}(text: str) -> list[str]:
    """Return what is wrong in an output, each fault quoted; an empty list when all is well.

{definition}
    """
    raise NotImplementedError(
        {todo}
    )


@pytest.mark.parametrize("trace", EXAMPLES)
def test_the_check_sees_{slug}(
    kept_trace: Callable[[str], Trace], trace: str
) -> None:
    """The check finds fault with every example."""
    assert {slug}(kept_trace(trace).output)


@pytest.mark.failure_mode(
    {id},
    {name},
    severity={severity},
    traces=[{traces}],
    tolerate=0.1,  # the share of cases that may fail, by the upper 95 % bound
)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("trace", EXAMPLES)
def test_{slug}(
    {asks}kept_trace: Callable[[str], Trace], trace: str, seed: int
) -> None:
    """TODO: say in one sentence what has to be true of every output instead."""
    output = {asked}
    assert not {slug}(output)
'''
_MODEL: Final = {
    "system": "",
    "asks": "generate: Callable[..., bytes], ",
    "asked": 'generate(kept_trace(trace).input.encode(), seed=seed).decode("utf-8", "replace")',
}
_APPLICATION: Final = {
    "asks": "",
    "asked": "answer(kept_trace(trace).input, seed)",
    "system": '''
def answer(question: str, seed: int) -> str:
    """Return what your system says to an input; the seed tells its samples apart.

    One that always says the same needs one seed, SEEDS = range(1), and many examples.
    """
    raise NotImplementedError(
        {asking}
    )

''',
}


def scaffold(
    mode: Mode, traces: Mapping[str, StoredTrace], folder: Path, labels: Path, *, model: bool = True
) -> Path:
    """Write the beginning of an eval for a failure mode to `test_<its title>.py` in a folder, and return the file.

    It holds the definition and, as cases, the ids of the example traces, which are kept whole in the folder
    `labels` as every labelled trace is; its check raises `NotImplementedError` until somebody writes it, so that
    the eval fails until then. Where no `model` is configured, so does a function that asks the system. Raises
    ReviewError, with nothing changed, if the file is there already or no example is among `traces`.
    """
    shown = [traces[identity] for identity in mode.examples if identity in traces]
    if not shown:
        cited = ", ".join(mode.examples)
        why = f"its examples ({cited}) are not among the traces" if cited else "it has no examples"
        raise ReviewError(
            f"{mode.id} cannot become an eval: {why}. Add the id of a trace in which it occurs to its examples."
        )
    path = folder / f"test_{slug(mode)}.py"
    if not path.exists():
        kept = lines_by_id(labels / "traces.jsonl")
        append(labels / "traces.jsonl", [each for each in shown if each.id not in kept])
    with disk(f"the file {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(_source(mode, shown, path.name, model=model), encoding="utf-8")
            path.hardlink_to(temporary)  # which, unlike a renaming, replaces nothing
        except FileExistsError:
            raise ReviewError(
                f"{path} is there already, and nothing was written. Edit it, or move it away and run the same command "
                "again."
            ) from None
        finally:
            temporary.unlink(missing_ok=True)
    return path


def slug(mode: Mode) -> str:
    """Return the name of a failure mode as Python writes names: of its title, or of its id if need be."""
    for words in (mode.title, mode.id):
        name = re.sub(r"[^a-z0-9]+", "_", words.casefold()).strip("_")
        if len(name) > _SLUG:
            name = name[: _SLUG + 1].rpartition("_")[0] or name[:_SLUG]
        if name.startswith("test"):  # pytest would take the check for a test
            name = f"mode_{name}"
        if name and not name[0].isdigit():
            taken = keyword.iskeyword(name) or hasattr(builtins, name) or name in _TAKEN
            return f"{name}_" if taken else name
    return "mode_" + re.sub(r"[^a-z0-9]+", "_", mode.id.casefold()).strip("_")


def _source(mode: Mode, shown: list[StoredTrace], file: str, *, model: bool) -> str:
    name = slug(mode)
    todo = (
        f"{mode.id} has no check yet: let {name}() in {file} return each place of a text in which it occurs, "
        "an empty list where it does not."
    )
    asking = f"{mode.id} asks no system yet: let answer() in {file} return what yours says to an input."
    system = _MODEL if model else _APPLICATION
    return _TEMPLATE.format(
        title=_docstring(f"{mode.id}: {mode.title}".rstrip(".")),
        examples="".join(_example(each) for each in shown),
        seeds=_SEEDS,
        id=quoted(mode.id),
        name=quoted(mode.title),
        severity=quoted(mode.severity),
        traces=", ".join(quoted(each.id) for each in shown),
        slug=name,
        definition=textwrap.indent(_wrapped(mode.definition or mode.title), "    "),
        todo="\n        ".join(_pieces(todo)),
        **{**system, "system": system["system"].format(asking="\n        ".join(_pieces(asking)))},
    )


def _docstring(text: str) -> str:
    """Return text as one line that can stand in a docstring."""
    return quoted(" ".join(text.split()))[1:-1]


def _wrapped(text: str) -> str:
    # A quotation must not break in two, so words are wrapped before they are escaped.
    return "\n".join(map(_docstring, textwrap.wrap(text, _WIDTH - 4, break_long_words=False)))


def _example(stored: StoredTrace) -> str:
    asked, answered = map(_excerpt, (stored.trace.input, stored.trace.output))
    return f"    # {asked}, answered with {answered}\n    {quoted(stored.id)},\n"


def _excerpt(text: str) -> str:
    start = text[: 4 * _EXCERPT].split()
    line = " ".join(start)
    return quoted(line if len(line) <= _EXCERPT and len(text) <= 4 * _EXCERPT else f"{line[:_EXCERPT]}…")


def _pieces(text: str) -> Iterator[str]:
    """Yield string literals that joined are the text, each on a line of its own and ending with a word."""
    return map(quoted, re.findall(rf".{{1,{_WIDTH}}}(?:\s|$)|\S+\s?", text))


def quoted(text: str) -> str:
    """Return a string literal in double quotes, with all that cannot be seen as escapes."""
    return "".join(['"', *map(_character, text), '"'])


def _character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else character.encode("unicode_escape").decode()
