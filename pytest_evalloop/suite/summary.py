"""What a session of evals says about the objective when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pytest_evalloop.metric.audit import sentence
from pytest_evalloop.records import Audit, Rate
from pytest_evalloop.review.counts import count
from pytest_evalloop.suite.failure_modes import sentence as rate_sentence


def lines(
    measured: tuple[Sequence[Sequence[Any]], Sequence[Any]] | None,
    samples: Sequence[Any] | None,
    rates: Sequence[Rate],
    validation: Callable[[str], Iterable[str]],
    unfit_judges: Mapping[str, tuple[int, str]],
) -> Iterator[tuple[str, str]]:
    """Yield the lines of the section, each with its colour or none: objective, audits, failure modes, judges.

    `measured` are scores and audit, `samples` what the audit of samples found, as plain lists that reports carry.
    `validation` says of a failure mode how its check was measured. `unfit_judges` are, by failure mode, how many
    cases have no verdict, and why.
    """
    for line in objective(*measured) if measured is not None else ():
        yield line, ""
    if samples is not None:
        yield sampling(*samples), ""
    for rate in rates:
        yield f"{'PASS' if rate.passed else 'FAIL'} {rate_sentence(rate)}", "green" if rate.passed else "red"
        for line in validation(rate.id):
            yield f"     {line}", ""
    for mode, (cases, problem) in sorted(unfit_judges.items()):
        yield unfit(mode, cases, problem), "red"


def objective(scores: Sequence[Sequence[Any]], audit: Sequence[Any]) -> list[str]:
    """Return the bits per byte and what its audit, if any, found, from the plain lists that reports carry."""
    bits, size = sum(score[1] for score in scores), sum(score[2] for score in scores)
    value = f"val_bpb {bits / size:.4f} over {len(scores)} documents, {size:,} bytes"
    return [value, sentence(Audit(*audit))] if audit else [value]


def unfit(mode: str, cases: int, problem: str) -> str:
    """Say why a judge may not speak, once for all the cases that have no verdict because of it."""
    return f"ERROR judge {mode}: {count(cases, 'case has', 'cases have')} no verdict. {problem}"


def sampling(excess: float, error: float, positions: int) -> str:
    """Say how much what `generate` wrote surprises the model."""
    return (
        f"audit: what generate wrote costs the model {excess:+.2f} ± {2 * error:.2f} nats a token more than its own "
        f"samples would, over {positions} tokens"
    )
