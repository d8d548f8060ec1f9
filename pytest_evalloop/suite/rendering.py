"""Documents of a few kinds of blocks, as Markdown or as one HTML page; what stands in them stays inert. Pure."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias


class Code(str):
    """A piece of text that is shown letter by letter, such as a node id."""

    __slots__ = ()


Text: TypeAlias = tuple[str, ...]
"""Pieces of text in a row; those that are `Code` are set apart."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A title of a level from 1 to 3."""

    level: int
    text: Text


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A few sentences."""

    text: Text


@dataclass(frozen=True, slots=True)
class Facts:
    """A list of what is known, each with a word before it."""

    rows: tuple[tuple[str, Text], ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """Something that is quoted letter by letter, and what it is."""

    title: Text
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]


Block: TypeAlias = Heading | Paragraph | Facts | Quote | Table

_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# What would be markup anywhere in a line, and what would be at its beginning.
_MARKUP: Final = re.compile(r"[\\`*_\[\]<>&|~$]")
_BEGINNING: Final = re.compile(r"^(\d*)(?=[.)])|^(?=[-+#=])")

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --mark: #b35900; --soft: #8881; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.9rem; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
h3 { margin-top: 2.2rem; }
code, pre { font: .88em/1.5 ui-monospace, monospace; }
code { background: var(--soft); padding: .1em .3em; border-radius: .25em; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .8rem 1rem; border-radius: .4rem; white-space: pre-wrap; margin: .3rem 0; }
figure { margin: 1rem 0; } figcaption { font-size: .88em; opacity: .75; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .35rem 1.2rem; }
dt { font-weight: 600; } dd { margin: 0; } dt.flag, dt.flag + dd { color: var(--mark); }
table { border-collapse: collapse; width: 100%; font-size: .92em; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
@media (prefers-color-scheme: dark) { :root { --mark: #ffb066; } }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
"""
FLAG: Final = "Flag"
"""The word before what somebody should look at."""


def visible(text: str, keep: str = "") -> str:
    """Return text with every character that cannot be seen, or that moves others, as its escape, but for `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _INVISIBLE
        else character.encode("unicode_escape").decode()
        for character in text
    )


def shorten(text: str, most: int) -> str:
    """Return a text of at most about `most` characters: a long one loses its middle, and says how much of it."""
    if len(text) <= most:
        return text
    head, tail = text[: most * 2 // 3], text[-(most - most * 2 // 3) :]
    return f"{head}\n[… {len(text) - len(head) - len(tail):,} characters left out …]\n{tail}"


def markdown(blocks: Iterable[Block]) -> str:
    """Return a document as CommonMark with tables."""
    return "\n".join(_markdown(block) for block in blocks)


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_line(block.text)}\n"
    if isinstance(block, Paragraph):
        return f"{_line(block.text)}\n"
    if isinstance(block, Facts):
        return "".join(f"- **{word}:** {''.join(map(_span, text))}\n" for word, text in block.rows)
    if isinstance(block, Quote):
        text = visible(block.text, "\n\t")
        fence = "`" * (1 + max((2, *map(len, re.findall("`+", text)))))
        end = "" if text.endswith("\n") else "\n"
        return f"{_line(block.title)}\n\n{fence}text\n{text}{end}{fence}\n"
    head = tuple((word,) for word in block.head)
    cells = [[_cell(text) for text in row] for row in (head, *block.rows)]
    cells.insert(1, ["---"] * len(block.head))
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _cell(text: Text) -> str:
    # A bar ends a cell also within code, unless it is escaped; elsewhere it is escaped already.
    return "".join(
        _span(piece).replace("|", r"\|") if isinstance(piece, Code) else _span(piece) for piece in text
    )


def _line(text: Text) -> str:
    line = "".join(map(_span, text))
    return _BEGINNING.sub(r"\g<1>\\", line, count=1)


def _span(piece: str) -> str:
    if not isinstance(piece, Code):
        return _MARKUP.sub(r"\\\g<0>", _flat(piece))
    code = _flat(piece)
    fence = "`" * (1 + max((0, *map(len, re.findall("`+", code)))))
    # Without the spaces a grave accent at an end would be part of the fence, and spaces at both ends be lost.
    pad = " " if code[:1] in "` " or code[-1:] in "` " else ""
    return f"{fence}{pad}{code}{pad}{fence}"


def _flat(text: str) -> str:
    """Return text as one line, all that cannot be seen escaped; blanks at the ends stay single."""
    return re.sub(r"[ ]+", " ", visible(re.sub(r"\s*\n\s*", " ", text)))


def page(blocks: Iterable[Block], title: str) -> str:
    """Return a document as one HTML page that asks for nothing from outside and runs nothing."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{html.escape(visible(title))}</title>\n<style>{_STYLE}</style>\n{body}\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{_inline(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{_inline(block.text)}</p>"
    if isinstance(block, Facts):
        return f"<dl>\n{''.join(_fact(word, text) for word, text in block.rows)}</dl>"
    if isinstance(block, Quote):
        quoted = html.escape(visible(block.text, "\n\t"))
        # A parser drops a line end right after <pre>, which may be the text's own.
        return f"<figure><figcaption>{_inline(block.title)}</figcaption><pre>\n{quoted}</pre></figure>"
    head = _row("th", [(cell,) for cell in block.head], _inline)
    return (
        f"<table>\n<thead>{head}</thead>\n{''.join(_row('td', row, _inline) for row in block.rows)}</table>"
    )


def _fact(word: str, text: Text) -> str:
    kind = ' class="flag"' if word == FLAG else ""
    return f"<dt{kind}>{html.escape(word)}</dt><dd>{_inline(text)}</dd>\n"


def _row(kind: str, cells: Sequence[Text], show: Callable[[Text], str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{show(cell)}</{kind}>' for cell in cells)}</tr>\n"


def _inline(text: Text) -> str:
    return "".join(
        f"<code>{html.escape(_flat(piece))}</code>" if isinstance(piece, Code) else html.escape(_flat(piece))
        for piece in text
    )
