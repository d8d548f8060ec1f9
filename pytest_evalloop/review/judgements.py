"""Verdicts of a judge, asked for once: kept by fingerprint, content of the trace, and repeat."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_evalloop.review.endpoint import Endpoint, EndpointError, is_local
from pytest_evalloop.review.judges import Judge, JudgeError
from pytest_evalloop.review.traces import StoredTrace
from pytest_evalloop.review.wording import SCHEMA, AnswerError, Verdict, enclosed, messages, parse
from pytest_evalloop.store.home import disk, write_atomically

Progress = Callable[[int, int], None]
"""Hears how many are done, and of how many."""
AT_ONCE: Final = 4
"""How many requests an endpoint gets at the same time."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of one trace; `reused` tells that it was asked before."""

    trace: str
    passed: bool
    critique: str
    reused: bool = False


def judgements(
    judge: Judge,
    traces: Iterable[StoredTrace],
    cache: Path,
    *,
    repeat: int = 0,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Judgement]:
    """Return what a judge says of each trace, by trace id, asking only for what the folder `cache` lacks.

    Every `repeat` is asked for on its own, so that repeats tell how steady a judge is. An endpoint is needed only
    if something has to be asked; `progress` hears how many traces of all are judged by then, before the first
    answer and after each. Raises `JudgeError`, naming judge and trace, when there is no verdict; those that
    came in until then are kept.
    """
    asked = list(traces)
    environment = os.environ if environment is None else environment
    files = _files(judge, asked, cache, repeat)
    found = {each.id: _kept(files[each.id], each.id) for each in asked}
    missing = [each for each in asked if found[each.id] is None]
    if missing:
        told = _teller(progress, len(asked) - len(missing), len(asked))
        with ExitStack() as stack:
            endpoint = stack.enter_context(_endpoint(judge, environment))
            pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
            # Called before the pool is waited for: whoever is in the queue when one fails is not asked.
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            ask = _asker(judge, endpoint, files, told)
            waiting = [pool.submit(ask, each) for each in missing]
            for each, result in zip(missing, waiting, strict=True):
                found[each.id] = result.result()
    return {trace: judgement for trace, judgement in found.items() if judgement is not None}


def kept(judge: Judge, traces: Iterable[StoredTrace], cache: Path) -> dict[str, Judgement]:
    """Return what a judge said before of traces, by trace id; nothing is asked."""
    asked = list(traces)
    files = _files(judge, asked, cache, 0)
    found = {each.id: _kept(files[each.id], each.id) for each in asked}
    return {trace: judgement for trace, judgement in found.items() if judgement is not None}


def _files(judge: Judge, traces: Iterable[StoredTrace], cache: Path, repeat: int) -> dict[str, Path]:
    folder = cache / judge.fingerprint
    return {each.id: folder / f"{_key(each, repeat)}.json" for each in traces}


def _teller(progress: Progress | None, done: int, of: int) -> Callable[[], None]:
    """Return what the threads call after each answer, and tell where it begins."""
    if progress is None:
        return lambda: None
    lock, numbers = threading.Lock(), itertools.count(done)

    def told() -> None:
        with lock:
            progress(next(numbers), of)

    told()
    return told


def _endpoint(judge: Judge, environment: Mapping[str, str]) -> Endpoint:
    key = environment.get(judge.key, "") or ("none" if is_local(judge.base_url) else "")
    if not key:
        raise JudgeError(
            f"Judge {judge.mode} has no key for {judge.base_url}. Set {judge.key} in the environment."
        )
    try:
        return Endpoint(judge.base_url, key, timeout=judge.timeout, retries=judge.retries)
    except EndpointError as error:
        raise JudgeError(f"Judge {judge.mode} cannot be asked: {error}") from error


def _asker(
    judge: Judge, endpoint: Endpoint, files: Mapping[str, Path], told: Callable[[], None]
) -> Callable[[StoredTrace], Judgement]:
    shown = [(example.trace.trace, example.verdict) for example in judge.examples]

    def ask(stored: StoredTrace) -> Judgement:
        request = messages(judge.prompt, shown, stored.trace)
        try:
            verdict = parse(endpoint.ask(judge.model, request, SCHEMA, judge.parameters))
        except AnswerError as error:
            raise JudgeError(
                f"Judge {judge.mode} gave no verdict on trace {stored.id}: {error}. Nothing was counted. "
                f"Use a model that keeps to a JSON schema, or make the prompt of {judge.mode}.toml plainer."
            ) from error
        except EndpointError as error:
            raise JudgeError(
                f"Judge {judge.mode} gave no verdict on trace {stored.id}: {error} "
                "What was judged so far is kept; run the same command again."
            ) from error
        _keep(files[stored.id], verdict)
        told()
        return Judgement(stored.id, verdict.passed, verdict.critique)

    return ask


def _key(stored: StoredTrace, repeat: int) -> str:
    text = f"{repeat}\n{enclosed(stored.trace)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _keep(file: Path, verdict: Verdict) -> None:
    import msgspec

    with disk(f"the verdict {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, msgspec.json.encode(verdict), durable=False)


def _kept(file: Path, trace: str) -> Judgement | None:
    """Return a verdict that was given before; one that cannot be read is asked for again."""
    import msgspec

    try:
        verdict = msgspec.json.decode(file.read_bytes(), type=Verdict)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Judgement(trace, verdict.passed, verdict.critique, reused=True)
