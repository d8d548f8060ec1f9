"""What a project asks for, read once from flags and ini and checked before anything runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_evalloop.records import Budget

SANDBOXES = ("auto", "bubblewrap", "landlock", "watchdog")
BUDGET_UNITS = ("steps", "tokens", "flops", "cpu-s", "s")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_BYTES = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class SettingsError(ValueError):
    """A flag or an ini value cannot be used; the message names value, option and remedy."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a loop or a plain `pytest evals` needs to know about the project.

    Paths in `evals`, `labels`, `mutable`, `data`, `hidden`, `prompt` and `space` are POSIX paths relative to
    `root`, and so is `prd` unless it is absolute; times are seconds, sizes bytes. `overdraft` is the share by
    which a training may use more compute than the baseline before it is stopped. `aa` says that all candidates
    change nothing but a comment and their seeds. `defer` is for how many candidates one
    that looks better waits for its verdict. `parallel` is how many trainings run at once, None for as many
    as the machine has accelerators or cores. `audit` is how many positions of a score are audited;
    `readable`, `environment` and `hidden_packages` widen and narrow what a candidate's sandbox shows.
    """

    root: Path
    train: tuple[str, ...]
    load: str
    budget: Budget
    mutable: tuple[str, ...]
    evals: tuple[str, ...] = ("evals",)
    prepare: tuple[str, ...] = ()
    data: str = "data/train"
    hidden: tuple[str, ...] = ()
    prompt: str | None = None
    space: str | None = None
    agent: tuple[str, ...] = ()
    agent_seconds: float = 600.0
    run: str | None = None
    mutators: tuple[str, ...] = ("prompt", "search")
    candidates: int | None = None
    seconds: float | None = None
    target: float | None = None
    patience: int | None = None
    parallel: int | None = None
    seeds: int = 8
    most_seeds: int = 8
    level: float = 0.01
    min_effect: float = 0.0
    race: float = 0.03
    defer: int = 3
    vault_seeds: int = 2
    tryout: float = 20.0
    memory_bytes: int | None = None
    train_seconds: float = 7200.0
    grade_seconds: float = 1800.0
    overdraft: float = 0.25
    workers: str | None = None
    audit: int = 512
    audit_tolerance: float | None = None
    sandbox: str = "auto"
    unsafe: bool = False
    canary: bool = False
    aa: bool = False
    readable: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    hidden_packages: tuple[str, ...] = ()
    disk_bytes: int = 10 * 10**9
    processes: int = 512
    labels: str = "evals/labels"
    prd: str | None = None


def parse_budget(text: str) -> Budget:
    """Read a budget such as `450steps`, `5e6tokens`, `1e13flops`, `40cpu-s` or `300s`."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-z-]+)\s*", text)
    if match is None or match[2] not in BUDGET_UNITS or not 0 < float(match[1]) < float("inf"):
        raise SettingsError(
            f"evalloop_budget is {text!r}, which is no budget. "
            "Write a positive amount and a unit: 450steps, 5e6tokens, 1e13flops, 40cpu-s or 300s (wall clock)."
        )
    return Budget(float(match[1]), match[2])


def parse_seconds(text: str, option: str) -> float:
    """Read a length of time such as `8h`, `1h30m`, `90s` or `90` in seconds."""
    cleaned = text.strip().lower()
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([hms])", cleaned)
    if parts and "".join(number + unit for number, unit in parts) == cleaned:
        total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    elif re.fullmatch(r"[0-9]+(\.[0-9]+)?", cleaned):
        total = float(cleaned)
    else:
        total = 0.0
    if not 0 < total < float("inf"):
        raise SettingsError(
            f"{option} is {text!r}, which is no length of time. Write for example 8h, 1h30m or 90s."
        )
    return total


def parse_bytes(text: str, option: str) -> int:
    """Read a size such as `2GB` or `512MiB` in bytes."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmg]i?b)\s*", text.lower())
    size = float(match[1]) * _BYTES[match[2].upper()] if match is not None else 0.0
    if not 1 <= size < float("inf"):
        raise SettingsError(f"{option} is {text!r}, which is no size. Write for example 2GB or 512MiB.")
    return int(size)


def parse_command(text: str, option: str) -> tuple[str, ...]:
    """Split a command as a POSIX shell would; nothing is expanded and no shell is started."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise SettingsError(
            f"{option} is {text!r}, which cannot be split into words ({error}). Close the quotation."
        ) from error
    return words


def relative(root: Path, value: str, option: str) -> str:
    """Return `value` as a POSIX path below `root`, or raise when it leads outside of it."""
    path = PurePosixPath(value)
    if path.is_absolute():
        try:
            path = PurePosixPath(Path(value).relative_to(root).as_posix())
        except ValueError:
            raise SettingsError(
                f"{option} names {value!r}, which lies outside of the project {root}. Use a path inside of it."
            ) from None
    if ".." in path.parts:
        raise SettingsError(
            f"{option} names {value!r}, which leads out of the project. Use a path without '..'."
        )
    return path.as_posix()


def read(options: Mapping[str, object], ini: Mapping[str, object], root: Path) -> Settings:
    """Build the settings from flags (None where absent) and ini values (empty where absent).

    Raises `SettingsError` for the first value that cannot be used.
    """

    def text(name: str) -> str:
        flag = options.get(name)
        return str(flag if flag is not None else ini.get(name) or "").strip()

    def words(name: str) -> list[str]:
        value = options.get(name) or ini.get(name) or ()
        return [str(item) for item in value] if isinstance(value, Sequence) else []

    def number(name: str, least: int, option: str) -> int | None:
        value = text(name)
        if not value:
            return None
        if not value.isdecimal() or int(value) < least:
            raise SettingsError(f"{option} is {value!r}. Give a whole number of at least {least}.")
        return int(value)

    def seconds(name: str, default: float) -> float:
        value = text(name)
        return parse_seconds(value, f"evalloop_{name}") if value else default

    def path(name: str) -> str | None:
        value = text(name)
        return relative(root, value, f"evalloop_{name}") if value else None

    nulls = number("aa", 1, "--evalloop-aa")
    return Settings(
        root=root,
        train=parse_command(text("train"), "evalloop_train"),
        load=text("load"),
        budget=parse_budget(text("budget") or "450steps"),
        mutable=tuple(words("mutable")),
        evals=tuple(relative(root, item, "evalloop_evals") for item in words("evals")) or ("evals",),
        prepare=parse_command(text("prepare"), "evalloop_prepare"),
        data=path("data") or "data/train",
        hidden=tuple(relative(root, item, "evalloop_hidden") for item in words("hidden")),
        prompt=path("prompt"),
        space=path("space"),
        agent=parse_command(text("agent"), "evalloop_agent"),
        agent_seconds=seconds("agent_time", 600.0),
        run=text("run") or ("aa" if nulls else None),
        mutators=("null",) if nulls else tuple(dict.fromkeys(words("mutator"))) or ("prompt", "search"),
        candidates=nulls or number("candidates", 1, "--evalloop-candidates"),
        seconds=seconds("time", 0.0) or None,
        target=_positive(
            text("target"),
            "--evalloop-target",
            "Give the bits per byte at which the loop may stop, such as 2.2.",
        ),
        patience=number("patience", 1, "--evalloop-patience"),
        parallel=number("parallel", 1, "--evalloop-parallel"),
        seeds=number("seeds", 2, "evalloop_seeds") or 8,
        most_seeds=number("most_seeds", 1, "evalloop_most_seeds") or 8,
        level=_level(text("level")),
        tryout=seconds("tryout", 20.0),
        vault_seeds=number("vault_seeds", 1, "evalloop_vault_seeds") or 2,
        race=_share(text("race")),
        defer=3 if (defer := number("defer", 0, "evalloop_defer")) is None else defer,
        min_effect=_positive(text("min_effect"), "evalloop_min_effect") or 0.0,
        memory_bytes=parse_bytes(text("memory"), "evalloop_memory") if text("memory") else None,
        train_seconds=seconds("train_limit", 7200.0),
        grade_seconds=seconds("grade_limit", 1800.0),
        workers=text("workers") or None,
        audit=number("audit", 32, "evalloop_audit") or 512,
        audit_tolerance=_positive(text("audit_tolerance"), "evalloop_audit_tolerance"),
        sandbox=_sandbox(text("sandbox") or "auto"),
        unsafe=bool(options.get("unsafe")),
        canary=bool(options.get("canary")),
        aa=bool(nulls),
        readable=tuple(str(Path(item).expanduser()) for item in words("readable")),
        environment=tuple(words("environment")),
        hidden_packages=tuple(words("hidden_packages")),
        disk_bytes=parse_bytes(text("disk"), "evalloop_disk") if text("disk") else 10 * 10**9,
        processes=number("processes", 1, "evalloop_processes") or 512,
        labels=path("labels") or "evals/labels",
        prd=_document(text("prd")),
    )


def _document(path: str) -> str | None:
    if path and not path.lower().endswith((".md", ".html")):
        raise SettingsError(
            f"--evalloop-prd is {path!r}, which names no document. Give a file that ends in .md or .html, such as "
            "docs/REQUIREMENTS.md."
        )
    return path or None


def _sandbox(name: str) -> str:
    if name not in SANDBOXES:
        raise SettingsError(f"evalloop_sandbox is {name!r}. Choose from {', '.join(SANDBOXES)}.")
    return name


def _positive(text: str, option: str, advice: str = "Give a positive number, such as 1e-4.") -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise SettingsError(f"{option} is {text!r}. {advice}")
    return value


def _share(text: str) -> float:
    if text == "0":
        return 0.0
    value = _positive(text, "evalloop_race") or 0.03
    if value > 0.5:
        raise SettingsError(
            f"evalloop_race is {text!r}: a training that is as likely to win as not would be stopped. Give a chance "
            "such as 0.03, or 0 to let every training run to its end."
        )
    return value


def _level(text: str) -> float:
    value = _positive(text, "evalloop_level") or 0.01
    if value > 0.1:
        raise SettingsError(
            f"evalloop_level is {text!r}: more than one in ten candidates that change nothing would be accepted. "
            "Give a chance of at most 0.1, such as 0.01."
        )
    return value


def require(settings: Settings, *, loop: bool) -> None:
    """Raise `SettingsError` when a value that grading (or the loop) cannot do without is missing."""
    if not settings.load:
        raise SettingsError(
            "evalloop_load is not set, so the candidate cannot be loaded. "
            'Set it in [tool.pytest] to a module and a function: evalloop_load = "model.adapter:load".'
        )
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", settings.load):
        raise SettingsError(
            f"evalloop_load is {settings.load!r}, which names no function. "
            "Write a module and a function with a colon between them: model.adapter:load."
        )
    if not settings.train:
        raise SettingsError(
            "evalloop_train is not set, so nothing can be trained. "
            'Set it in [tool.pytest] to a command: evalloop_train = "python -m model.train".'
        )
    if loop and not settings.mutable:
        raise SettingsError(
            "evalloop_mutable is not set, so no candidate may change anything. "
            'List the files that a candidate may change in [tool.pytest]: evalloop_mutable = ["model/*.py"].'
        )
