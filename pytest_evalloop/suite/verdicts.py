"""What the fixture `judge` does: a validated judge's verdict on a trace; one that was not validated errors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalloop.records import Trace
    from pytest_evalloop.review.judgements import Judgement
    from pytest_evalloop.review.judges import Judge


class Court:
    """Knows the judges of a project, and lets none speak that was not measured against labels."""

    def __init__(self, root: Path, labels: Path, told: Callable[[str, str], None] | None = None) -> None:
        """`labels` is the folder of labels in the tree that the suite runs from, `root` where verdicts are kept.

        `told` hears, at every case that has no verdict because of it, of which judge and why.
        """
        self._labels = labels
        self._cache = root / ".evalloop/judgements"
        self._told = told
        self._judges: dict[str, Judge] = {}
        self._unfit: dict[str, str] = {}

    def __call__(self, mode: str, trace: Trace, *, repeat: int = 0) -> Judgement:
        """Return the verdict on a trace: `.passed`, and why in `.critique`; another `repeat` asks once more.

        Raises `JudgeError` when there is no judge of that failure mode, when it may not gate, or when it does not
        answer as it should. That is an error, never a pass.
        """
        __tracebackhide__ = True
        from pytest_evalloop.review.judgements import judgements
        from pytest_evalloop.review.traces import StoredTrace, content_id

        judge = self._judge(mode)
        stored = StoredTrace(content_id(trace), "eval", time.time(), trace)
        return judgements(judge, [stored], self._cache, repeat=repeat)[stored.id]

    def _judge(self, mode: str) -> Judge:
        """Return a judge that may speak; why one may not is said in full the first time."""
        __tracebackhide__ = True
        from pytest_evalloop.review.judges import JudgeError
        from pytest_evalloop.review.traces import ReviewError

        if mode in self._judges:
            return self._judges[mode]
        reason = f"No verdict: judge {mode} may not speak. Why is said once, at the end of the report."
        if mode not in self._unfit:
            try:
                self._judges[mode] = self._admitted(mode)
            except ReviewError as error:
                reason = self._unfit[mode] = str(error)
            else:
                return self._judges[mode]
        if self._told is not None:
            self._told(mode, self._unfit[mode])
        raise JudgeError(reason)

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
