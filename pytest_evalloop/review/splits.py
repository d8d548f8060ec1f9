"""Which labelled traces a judge may learn from, be tuned on, and be tested on."""

from __future__ import annotations

import enum
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from pytest_evalloop.review.events import Label
from pytest_evalloop.review.journal import Journal, ReviewError, read_lines


class Split(enum.StrEnum):
    """What the labelled traces of a failure mode are for: examples, tuning, and one look at the end."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


SHARES: Final = {Split.TRAIN: 0.15, Split.DEV: 0.425, Split.TEST: 0.425}
"""What each split gets of the passes and of the fails."""

_SEEN: Final = tuple(Split)  # from the most to the least that is seen of a trace


def human(labels: Iterable[Label], mode: str) -> dict[str, bool]:
    """Return what people say of a failure mode, by trace: True where it does not occur, which is a pass."""
    return {label.trace: not label.modes[mode] for label in labels if mode in label.modes}


def assign(
    verdicts: Mapping[str, bool], known: Mapping[str, Split], examples: Collection[str] = ()
) -> dict[str, Split]:
    """Return the split of every trace that has a verdict, passes and fails apart.

    Who is `known` stays where he is, whatever becomes of his label or of other traces. New examples of a judge go
    to train. Other new traces come in the order of a hash of their ids, and each goes to the split that is
    furthest behind its share. The order in which `verdicts` are given does not matter.
    """
    found = {trace: known[trace] for trace in verdicts if trace in known}
    new = [trace for trace in verdicts if trace not in found]
    found |= dict.fromkeys((trace for trace in new if trace in examples), Split.TRAIN)
    counts = {passed: Counter[Split]() for passed in (True, False)}
    for trace, split in found.items():
        counts[verdicts[trace]][split] += 1
    for trace in sorted(new, key=_hash):
        if trace not in found:
            split = _furthest_behind(counts[verdicts[trace]], trace)
            counts[verdicts[trace]][split] += 1
            found[trace] = split
    return found


def _furthest_behind(counts: Counter[Split], trace: str) -> Split:
    """Return the split that one more trace brings closest to its share; the hash decides between equals."""
    total = counts.total() + 1
    first = (Split.TEST, Split.DEV) if _hash(trace)[0] % 2 else (Split.DEV, Split.TEST)
    # Rounding must not tell apart what is equal.
    return max((*first, Split.TRAIN), key=lambda split: round(SHARES[split] * total - counts[split], 9))


def _hash(trace: str) -> bytes:
    return hashlib.sha256(trace.encode("utf-8", "surrogatepass")).digest()


def read_splits(folder: Path, mode: str) -> dict[str, Split]:
    """Return where the traces of a mode were put once and for all, from `splits.jsonl`.

    Where two branches put a trace into different splits, it counts as the one of which more was seen. Raises
    ReviewError, naming the line, for one that cannot be read.
    """
    import msgspec

    path = folder / "splits.jsonl"
    found: dict[str, Split] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=dict[str, str])
            of, trace, split = row["mode"], row["trace"], Split(row["split"])
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError) as error:
            raise ReviewError(
                f"{path}, line {number} says of no trace in which split it is ({error}). "
                "Take the line back from version control: a trace that changes its split spoils the test."
            ) from error
        if of == mode:
            found[trace] = min(split, found.get(trace, split), key=_SEEN.index)
    return found


def settle(
    folder: Path, mode: str, verdicts: Mapping[str, bool], examples: Collection[str] = ()
) -> dict[str, Split]:
    """Return the split of every trace that has a verdict, and keep it in `splits.jsonl` for good.

    Raises StoreError if that cannot be written.
    """
    import msgspec

    path = folder / "splits.jsonl"
    known = read_splits(folder, mode)
    if verdicts.keys() <= known.keys():
        return {trace: known[trace] for trace in verdicts}
    with Journal.open(path, wait=True) as journal:
        known = read_splits(folder, mode)  # somebody else may have settled them while we waited
        found = assign(verdicts, known, examples)
        new = [trace for trace in sorted(found) if trace not in known]
        lines = [msgspec.json.encode({"mode": mode, "trace": each, "split": found[each]}) for each in new]
        if lines:
            journal.append(b"\n".join(lines) + b"\n")
    return found
