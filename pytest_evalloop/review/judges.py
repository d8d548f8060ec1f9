"""Judges: one TOML file for one failure mode, and the fingerprint of everything that makes its verdicts."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_evalloop.review.endpoint import OWN, is_local
from pytest_evalloop.review.events import Label
from pytest_evalloop.review.journal import ReviewError
from pytest_evalloop.review.traces import StoredTrace, plain
from pytest_evalloop.review.wording import FRAME, SCHEMA, Verdict

TIMEOUT: Final = 60.0
RETRIES: Final = 2
KEY: Final = "OPENAI_API_KEY"
BASE_URL: Final = "OPENAI_BASE_URL"

# A date, a month and day or a version at the end, or the digest of weights.
_PINNED: Final = re.compile(r"20\d\d-?[01]\d-?[0-3]\d|[-@](\d{3,4}|\d{6})$|@(sha256:)?[0-9a-f]{7,64}$")
_KEYS: Final = {
    "mode": str,
    "prompt": str,
    "model": str,
    "examples": list,
    "base_url": str,
    "key": str,
    "timeout": (int, float),
    "retries": int,
    "parameters": dict,
}


class JudgeError(ReviewError):
    """A judge that cannot be used, or that gave no verdict; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Example:
    """A trace that a judge is shown, and what people say of it."""

    trace: StoredTrace
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that decides for one failure mode whether it occurs in a trace.

    `key` is the name of the environment variable that holds the key; `timeout` is seconds for one try, and
    `retries` are further tries.
    """

    mode: str
    prompt: str
    model: str
    base_url: str
    examples: tuple[Example, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    key: str = KEY
    timeout: float = TIMEOUT
    retries: int = RETRIES

    @property
    def parts(self) -> Mapping[str, str]:
        """A digest of each part that makes the verdicts, `wording` being what every judge is told."""
        shown = [
            [each.trace.trace.input, each.trace.trace.steps, each.trace.trace.output, _row(each.verdict)]
            for each in self.examples
        ]
        return {
            "prompt": _digest(self.prompt),
            "examples": _digest(shown),
            "model": _digest(self.model),
            "parameters": _digest(self.parameters),
            "wording": _digest([FRAME, SCHEMA]),
        }

    @property
    def fingerprint(self) -> str:
        """What changes with any of `parts`."""
        return "j-" + _digest(self.parts)


def _row(verdict: Verdict) -> list[object]:
    return [verdict.passed, verdict.critique]


def _digest(value: object) -> str:
    text = json.dumps(plain(value), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def judge_files(folder: Path) -> Mapping[str, Path]:
    """Return the file of every judge below a folder of labels, by failure mode."""
    return {path.stem: path for path in sorted((folder / "judges").glob("*.toml"))}


def read_judge(
    path: Path,
    traces: Mapping[str, StoredTrace],
    labels: Mapping[str, Label],
    environment: Mapping[str, str],
) -> Judge:
    """Read a judge, whose file is named after its failure mode, with the traces that it is shown.

    `environment` may give the endpoint (`OPENAI_BASE_URL`) where the file does not. Raises `JudgeError`, naming
    the key, for what cannot be used: an example that has no label, or a model that may change under its name.
    """
    values = _values(path)
    mode, model = path.stem, str(values["model"]).strip()
    base_url = str(values.get("base_url") or environment.get(BASE_URL, "")).strip()
    if not base_url.startswith(("http://", "https://")):
        raise JudgeError(
            f"{path} has the base_url {base_url!r}, which is no address of an endpoint. Set base_url there, or "
            f"{BASE_URL} in the environment: nothing is sent anywhere that was not named."
        )
    if not _PINNED.search(model) and not is_local(base_url):
        raise JudgeError(
            f"{path} asks for the model {model!r}, which may become another one under the same name. "
            "Name a pinned snapshot, such as one that ends with a date."
        )
    return Judge(
        mode=mode,
        prompt=values["prompt"],
        model=model,
        base_url=base_url,
        examples=tuple(_example(path, mode, each, traces, labels) for each in values.get("examples", [])),
        parameters=values.get("parameters", {}),
        key=values.get("key") or KEY,
        timeout=float(values.get("timeout", TIMEOUT)),
        retries=values.get("retries", RETRIES),
    )


def _values(path: Path) -> Mapping[str, Any]:
    values = _table(path)
    for name, value in values.items():
        if name not in _KEYS:
            raise JudgeError(f"{path} sets {name!r}, which no judge has. It has {', '.join(_KEYS)}.")
        if not isinstance(value, _KEYS[name]) or isinstance(value, bool):  # type: ignore[arg-type]
            raise JudgeError(f"{path} sets {name} to {value!r}, which is of the wrong kind.")
    for name in ("prompt", "model"):
        if not str(values.get(name, "")).strip():
            raise JudgeError(f"{path} has no {name}. A judge needs a prompt and a model.")
    if values.get("mode", path.stem) != path.stem:
        raise JudgeError(
            f"{path} is for the mode {values['mode']!r}. Name the file {values['mode']}.toml, or correct the mode: "
            "a judge has one failure mode, which its file is named after."
        )
    if not 0 < values.get("timeout", TIMEOUT) <= 3600 or not 0 <= values.get("retries", RETRIES) <= 10:
        raise JudgeError(f"{path} needs a timeout of up to 3600 seconds and up to 10 retries.")
    _check_parameters(path, values.get("parameters", {}))
    return values


def _table(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise JudgeError(
            f"{path} cannot be read: {error.strerror or error}. A judge is a TOML file there."
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise JudgeError(f"{path} is no TOML: {error}. Mend that line.") from error


def _check_parameters(path: Path, parameters: Mapping[str, object]) -> None:
    owned = ", ".join(sorted(parameters.keys() & OWN))
    if owned:
        raise JudgeError(f"{path} sets {owned} in [parameters], which is not a judge's to choose. Remove it.")
    try:
        json.dumps(parameters, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise JudgeError(f"{path} has [parameters] that cannot be sent as JSON: {error}.") from error


def _example(
    path: Path,
    mode: str,
    trace: object,
    traces: Mapping[str, StoredTrace],
    labels: Mapping[str, Label],
) -> Example:
    if not isinstance(trace, str) or trace not in traces:
        raise JudgeError(
            f"{path} shows the trace {trace!r}, which is not known. Name a trace that was labelled."
        )
    label = labels.get(trace)
    if label is None or mode not in label.modes:
        raise JudgeError(
            f"{path} shows the trace {trace!r}, and no label says whether {mode} occurs in it. Label it first."
        )
    occurs = label.modes[mode]
    said = label.note.strip() or ("The failure mode occurs here." if occurs else "It does not occur here.")
    return Example(traces[trace], Verdict(not occurs, said))
