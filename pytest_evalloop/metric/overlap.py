"""Which protected documents a text carries, whatever its markup, spelling, spacing or cheap disguise."""

from __future__ import annotations

import base64
import codecs
import contextlib
import html
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_evalloop.records import Document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

# A power of two; 32 letters and digits are about a line of verse or seven words of prose. Between 520 000
# shingles of held-out Shakespeare and 0.5 MB of unrelated source and docs, 12 characters agree by chance in
# hundreds of places, 16 in a few, 20 in none; between held-out and other plays by the same author 16 agree in
# 3 762, 24 in 197 and 32 in 23 shingles, all of them stage formulas that the training text excuses.
SHINGLE: Final = 32

_CAPACITY: Final = 2**21  # shingles that an index keeps, 20 to 28 bytes each
_VARIETY: Final = 6  # different characters without which a shingle is a rule, a table of zeros and the like
_BLOCK: Final = 2**20  # characters hashed at a time, at some 24 bytes each
_WORK: Final = 2**22  # bytes of a text, and as many decoded ones, that are searched for disguises
_DEPTH: Final = 3  # disguises under one another, such as zlib in base64 in escapes

_TAG = re.compile(r"<[^<>]{1,500}>")
_ESCAPE = re.compile(
    r"(?:\\x|%)([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\([0-7]{1,3})"
    r"|\\([abfnrtv'\"]|\\(?![abfnrtvxuU0-7]))"
)
_CONTROL = str.maketrans("abfnrtv", "\a\b\f\n\r\t\v")
# An unclosed literal ends with its line or the text, so that no input makes the search quadratic.
_LITERAL = re.compile(
    r"(\"{3}|'{3})([\s\S]*?)(?:\1|\Z)"
    r'|"((?:[^"\\\n]|\\[\s\S])*)"?'
    r"|'((?:[^'\\\n]|\\[\s\S])*)'?"
)
_NUMBER = re.compile(r"(?<![\w.])(?:0[xX][0-9a-fA-F]{1,6}|[0-9]{1,7})(?![\w.])")
_NO_HEX = re.compile(r"0x|\\x|[^0-9a-fA-F]")
_ZLIB = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_ILLEGIBLE = re.compile("[\x01-\x08\x0b\x0e-\x1f\x7f\x80-\x9f\ufffd]+")
_URLSAFE, _NO_BASE64 = bytes.maketrans(b"-_", b"+/"), re.sub(rb"[\w+/=-]", b"", bytes(range(256)))


class _Folding(dict[int, str | None]):
    """What becomes of each character, worked out when first met."""

    def __missing__(self, point: int) -> str | None:
        # Character by character, so that a cut through the text changes nothing about what it cuts apart.
        decomposed = unicodedata.normalize("NFKD", chr(point)).upper().casefold()
        kept = "".join(c for c in unicodedata.normalize("NFKD", decomposed) if c.isalnum())
        self[point] = kept or None
        return self[point]


_FOLDED: Final = _Folding()


@dataclass(frozen=True, slots=True)
class Match:
    """A protected document and how many letters and digits of it a text carries."""

    document: str
    characters: int


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The shingles of the protected documents: every `stride`-th of each one, sorted by hash.

    `owners` are positions in `names`. `sieve` tells by a hash's last bits whether it may be among `hashes`.
    """

    names: tuple[str, ...]
    hashes: Hashes
    owners: NDArray[np.int32]
    stride: int
    sieve: NDArray[np.bool_]

    @property
    def guarantee(self) -> int:
        """The letters and digits from which on a run of a protected document is always found."""
        return SHINGLE + self.stride - 1


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Where one reading of a text agrees with the index: starts in characters, hashes, owners, each (n,)."""

    starts: NDArray[np.int64]
    hashes: Hashes
    owners: NDArray[np.int32]


def normalise(text: str) -> str:
    """Return the letters and digits of any script: compatibility forms, accents and case make no difference."""
    return text.translate(_FOLDED)


def stride(size: int, capacity: int = _CAPACITY) -> int:
    """Return which share of the shingles of `size` bytes an index may keep: one in so many."""
    return max(1, -(-size // capacity))


def build(documents: Iterable[Document], every: int = 1) -> Index:
    """Index documents by every `every`-th of their shingles.

    A text that is looked up is hashed at all of its positions, so a run of `every` shingles cannot miss.
    """
    import numpy as np

    names, hashes, owners = list[str](), [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
    for document in documents:
        for text in _readings(document.text):
            for start, block in _shingles(normalise(text)):
                kept = block[-start % every :: every]
                hashes.append(kept)
                owners.append(np.full(len(kept), len(names), np.int32))
        names.append(document.id)
    unique, first = np.unique(np.concatenate(hashes), return_index=True)
    sieve = np.zeros(max(2, 2 ** (8 * len(unique)).bit_length()), bool)
    sieve[unique & np.uint64(len(sieve) - 1)] = True
    return Index(tuple(names), unique, np.concatenate(owners)[first], every, sieve)


def find(index: Index, text: bytes) -> tuple[Match, ...]:
    """Return the protected documents that a text carries, disguised or not, the longest overlap first."""
    return matches(index, sightings(index, text))


def sightings(index: Index, text: bytes, *, disguises: bool = True) -> tuple[Sighting, ...]:
    """Return where a text, read in every way that is tried, agrees with the index."""
    import numpy as np

    ways = [normalise(reading) for reading in _readings(text)]
    found, mask = [], np.uint64(len(index.sieve) - 1)
    for way in dict.fromkeys([*ways, *_ways(text[:_WORK])] if disguises else ways):
        for offset, block in _shingles(way):
            starts = np.flatnonzero(index.sieve[block & mask])
            at = _positions(index.hashes, block[starts])
            telling = [len(set(way[i : i + SHINGLE])) >= _VARIETY for i in (starts + offset).tolist()]
            kept = np.array(telling, bool) & (at >= 0)
            if kept.any():
                starts, at = starts[kept], at[kept]
                found.append(Sighting(starts + offset, block[starts], index.owners[at]))
    return tuple(found)


def matches(index: Index, seen: Sequence[Sighting], innocent: Hashes | None = None) -> tuple[Match, ...]:
    """Sum sightings up by document, without the shingles that `innocent` (sorted hashes) excuses.

    Overlapping shingles count once; of several readings the one that agrees most counts.
    """
    import numpy as np

    excused = np.empty(0, np.uint64) if innocent is None else innocent
    most: dict[int, int] = {}
    for sighting in seen:
        guilty = _positions(excused, sighting.hashes) < 0
        for owner in np.unique(sighting.owners[guilty]).tolist():
            starts = sighting.starts[guilty & (sighting.owners == owner)]
            count = SHINGLE + int(np.minimum(np.diff(starts), SHINGLE).sum())
            most[owner] = max(most.get(owner, 0), count)
    ranked = sorted(most.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Match(index.names[owner], count) for owner, count in ranked)


def among(seen: Sequence[Sighting], texts: Iterable[bytes]) -> Hashes:
    """Return which shingles of some sightings also occur in other texts, sorted.

    `texts` is read only as far as needed, and not at all without sightings.
    """
    import numpy as np

    wanted = np.unique(np.concatenate([np.empty(0, np.uint64), *(sighting.hashes for sighting in seen)]))
    found = np.zeros(len(wanted), bool)
    if len(wanted):
        for text in texts:
            for reading in _readings(text):
                for _, block in _shingles(normalise(reading)):
                    at = _positions(wanted, block)
                    found[at[at >= 0]] = True
            if found.all():
                break
    return wanted[found]


def _positions(hashes: Hashes, wanted: Hashes) -> NDArray[np.int64]:
    """Return where each wanted hash stands in a sorted array, -1 for none."""
    import numpy as np

    if not len(hashes):
        return np.full(len(wanted), -1, np.int64)
    at = np.searchsorted(hashes, wanted).clip(max=len(hashes) - 1)
    return np.where(hashes[at] == wanted, at, -1)


def _shingles(text: str) -> Iterator[tuple[int, Hashes]]:
    """Yield offset and hash of every shingle, block by block.

    The hash of twice as many characters is mixed from those of its two halves, five times over.
    """
    import numpy as np

    for start in range(0, len(text) - SHINGLE + 1, _BLOCK):
        piece = text[start : start + _BLOCK + SHINGLE - 1]
        hashes = np.frombuffer(piece.encode("utf-32-le"), np.uint32).astype(np.uint64)
        for width in (1, 2, 4, 8, 16):  # up to half of SHINGLE
            # The odd multipliers are those of the finaliser of MurmurHash3.
            hashes = hashes[:-width] * np.uint64(0xFF51AFD7ED558CCD) + hashes[width:]
            hashes ^= hashes >> np.uint64(32)
            hashes *= np.uint64(0xC4CEB9FE1A85EC53)
        yield start, hashes


def _ways(data: bytes) -> Iterator[str]:
    """Yield every normalised text that can be read from some bytes: decoded, rotated, from either end."""
    waiting, seen, left = [(data, 0)], {data}, _WORK
    for item, depth in waiting:  # grows while it is read
        for text in dict.fromkeys((*_readings(item), _literals(item))):
            for spelled in (text, codecs.encode(text, "rot13")):
                yield normalise(spelled)
                yield normalise(spelled[::-1])
            for decoded in _decoded(item, text) if depth < _DEPTH else ():
                kept = decoded[:left]
                left -= len(kept)
                if len(kept) >= SHINGLE and kept not in seen:
                    seen.add(kept)
                    waiting.append((kept, depth + 1))


def _readings(data: bytes) -> tuple[str, ...]:
    """Return a text as it stands and, where that makes a difference, without its tags and escapes."""
    text = data.decode("utf-8", "replace")
    plain = _unescaped(html.unescape(_TAG.sub(" ", text)))
    return (text,) if plain == text else (text, plain)


def _unescaped(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match[5]:
            return match[5].translate(_CONTROL)
        digits, base = (match[4], 8) if match[4] else (match[1] or match[2] or match[3], 16)
        return chr(min(int(digits, base), 0x10FFFF))

    return _ESCAPE.sub(character, text)


def _literals(data: bytes) -> str:
    """Return what stands in quotation marks in a source, joined: no prefix, name or call in between."""
    found = _LITERAL.finditer(data.decode("utf-8", "replace"))
    return _unescaped("".join(match[match.lastindex] for match in found if match.lastindex))


def _decoded(data: bytes, text: str) -> Iterator[bytes]:
    """Yield what is legible of a text taken for base64, hex or numbers, and what is compressed there or in `data`."""
    yield from _inflated(data)
    # Escapes may have stood for the bytes of an encoding.
    octets = () if text.isascii() else (text.encode("latin-1", "ignore"),)
    for decoded in (*octets, *_from_base64(text), *_from_hex(text), *_from_numbers(text)):
        yield from _inflated(decoded)
        # Taken for what it is not, a text becomes noise; only what has no noise in it is worth another look.
        legible = decoded.replace(b"\0", b"").decode("utf-8", "replace")
        yield "\n".join(run for run in _ILLEGIBLE.split(legible) if len(run) >= SHINGLE).encode()


def _from_base64(text: str) -> Iterator[bytes]:
    chunks = text.encode("utf-8", "replace").translate(_URLSAFE, _NO_BASE64).split(b"=")
    for phase in range(4):  # nobody knows how many letters before it are not part of it
        shifted = (chunk[phase:] for chunk in chunks)  # padded below; an A makes a lone last letter a byte
        yield b"".join(base64.b64decode(c + b"A==="[len(c) % 4 != 1 :][: -len(c) % 4]) for c in shifted)


def _from_hex(text: str) -> Iterator[bytes]:
    digits = _NO_HEX.sub("", text)
    for phase in range(2):
        yield bytes.fromhex(digits[phase : len(digits) - (len(digits) - phase) % 2])


def _from_numbers(text: str) -> Iterator[bytes]:
    points = [int(number, 16 if "x" in number.lower() else 10) for number in _NUMBER.findall(text)]
    characters = "".join(chr(point) for point in points if point < 0x110000)
    yield from (characters.encode(encoding, "ignore") for encoding in ("utf-8", "latin-1"))


def _inflated(data: bytes) -> Iterator[bytes]:
    """Yield what the first zlib and gzip streams in some bytes hold."""
    for _, header in zip(range(64), _ZLIB.finditer(data), strict=False):
        with contextlib.suppress(zlib.error):  # two bytes that only look like a header
            yield zlib.decompressobj(wbits=47).decompress(data[header.start() :], _WORK)
