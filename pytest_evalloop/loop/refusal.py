"""Why a loop cannot judge, or cannot go on judging: findings about the suite, not defects."""

from __future__ import annotations

from collections.abc import Sequence


class CannotGate(Exception):  # noqa: N818 - it is a finding about the suite, not a defect
    """The baseline fails, or the suite cannot judge it; the message says how, in several lines."""


class Tampered(CannotGate):
    """What judges candidates is no longer what it was, so nothing more can be judged."""

    def __init__(self, number: int, found: Sequence[str], beside: Sequence[int] = ()) -> None:
        """`beside` are the candidates that were tried at the same time, so that one of them may have done it."""
        also = ", ".join(str(other) for other in beside)
        blame = f", beside which others ran: {also}" if beside else ""
        listed = "\n".join(f"  {sentence}" for sentence in found[:20])
        super().__init__(
            f"What judges the candidates has changed, so the loop stops at candidate {number}{blame}:\n"
            f"{listed}\n"
            "Look at the candidate's diff, restore the data if it is among these, and run the same command again: "
            "it goes on from the run's own snapshot of the suite."
        )
