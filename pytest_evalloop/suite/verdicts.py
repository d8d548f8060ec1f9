"""What the fixture `judge` does: a validated judge's verdict on a trace; one that was not validated errors."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalloop.records import Trace
    from pytest_evalloop.review.judgements import Judgement
    from pytest_evalloop.review.judges import Judge


class Court:
    """Knows the judges of a project, and lets none speak that was not measured against labels."""

    def __init__(self, root: Path, labels: Path) -> None:
        """`labels` is the folder of labels in the tree that the suite runs from, `root` where verdicts are kept."""
        self._labels = labels
        self._cache = root / ".evalloop/judgements"
        self._judge = functools.cache(self._admitted)

    def __call__(self, mode: str, trace: Trace, *, repeat: int = 0) -> Judgement:
        """Return the verdict on a trace: `.passed`, and why in `.critique`; another `repeat` asks once more.

        Raises `JudgeError` when there is no judge of that failure mode, when it may not gate, or when it does not
        answer as it should. That is an error, never a pass.
        """
        from pytest_evalloop.review.judgements import judgements
        from pytest_evalloop.review.traces import StoredTrace, content_id

        stored = StoredTrace(content_id(trace), "eval", time.time(), trace)
        found = judgements(self._judge(mode), [stored], self._cache, repeat=repeat)
        return found[stored.id]

    def _admitted(self, mode: str) -> Judge:
        from pytest_evalloop.review.judges import JudgeError, judge_files, read_judge
        from pytest_evalloop.review.labels import Labels
        from pytest_evalloop.review.looks import read_looks
        from pytest_evalloop.review.traces import Library
        from pytest_evalloop.review.validation import gate_problem

        files = judge_files(self._labels)
        if mode not in files:
            known = ", ".join(sorted(files)) or "there are none"
            raise JudgeError(f"There is no judge of {mode} in {self._labels / 'judges'} ({known}).")
        library = Library.load(self._labels / "none", self._labels)
        with Labels.open(self._labels) as labels:
            judge = read_judge(files[mode], library.traces, labels.all(), os.environ)
        if problem := gate_problem(judge, read_looks(self._labels)):
            raise JudgeError(problem)
        return judge
