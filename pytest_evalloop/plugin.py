"""The pytest door: options, ini values, markers, and which plugin object a session gets.

Imports pytest and the standard library only; everything else is imported by the sessions that use it.
"""

from __future__ import annotations

from typing import Literal

import pytest

# name, flag's metavar (None: ini only), ini type, help
_OPTIONS: tuple[tuple[str, str | None, Literal["args", "string"], str], ...] = (
    ("run", "NAME", "string", "name of the run; it is resumed when it exists (default: main)"),
    (
        "mutator",
        "NAME",
        "args",
        "search, prompt, agent or a project's own; repeatable (default: prompt search)",
    ),
    ("candidates", "N", "string", "stop when the run has tried this many candidates"),
    ("aa", "N", "string", "run the loop on N candidates that change nothing: none may be accepted"),
    ("time", "8h", "string", "stop after this much wall-clock time"),
    ("target", "BPB", "string", "stop when the incumbent's bits per byte are this low"),
    ("patience", "N", "string", "stop after this many rejections in a row"),
    (
        "parallel",
        "N",
        "string",
        "how many trainings run at once (default: one per accelerator, else one per core)",
    ),
    (
        "budget",
        "450steps",
        "string",
        "what one training may use: steps, tokens, flops, cpu-s or s (wall clock)",
    ),
    ("mutable", None, "args", "globs of the files that a candidate may change"),
    ("train", None, "string", "the train command"),
    ("load", None, "string", "module:function that loads a candidate, called in its own process only"),
    ("prepare", None, "string", "command that prepares the data splits, run before anything else"),
    ("evals", None, "args", "folders of the eval suite (default: evals)"),
    ("data", None, "string", "folder that training may read"),
    ("hidden", None, "args", "folders and files that no candidate may read, such as validation and vault"),
    ("hidden_packages", None, "args", "installed packages that no candidate may read, such as the corpus"),
    ("readable", None, "args", "further folders outside of the project that candidates may read"),
    ("environment", None, "args", "further environment variables that candidates are given (globs)"),
    ("prompt", None, "string", "file of the primer, which stands before every document"),
    ("space", None, "string", "file whose annotated types are the search space"),
    ("agent", None, "string", "command of the agent mutator"),
    ("agent_time", None, "string", "how long the agent may work on one candidate (default: 10m)"),
    ("memory", None, "string", "memory of one process tree (default: 80 % of the machine)"),
    ("disk", None, "string", "what one candidate's process tree may write (default: 10GB)"),
    ("processes", None, "string", "how many processes one candidate may run at once (default: 512)"),
    (
        "sandbox",
        None,
        "string",
        "auto, bubblewrap, landlock or watchdog (default: auto, the first that works)",
    ),
    ("audit", None, "string", "how many positions of a score the blind audit checks (default: 512)"),
    (
        "audit_tolerance",
        None,
        "string",
        "nats by which an audited position may differ (default: 1e-4 on a CPU)",
    ),
    ("seeds", None, "string", "fresh seeds that an incumbent is measured under, for the noise (default: 8)"),
    ("most_seeds", None, "string", "seeds that a candidate is given at most (default: 8)"),
    ("level", None, "string", "chance to accept a candidate that changes nothing (default: 0.01)"),
    ("race", None, "string", "chance of winning below which a training is stopped; 0: never (default: 0.03)"),
    (
        "defer",
        None,
        "string",
        "candidates for which one that looks better waits for its verdict (default: 3)",
    ),
    (
        "tryout",
        None,
        "string",
        "changed code is tried out for two steps where the baseline's training takes as long (default: 20s)",
    ),
    ("vault_seeds", None, "string", "fresh seeds for the honest gain at the end of a run (default: 2)"),
    ("min_effect", None, "string", "smallest fall in bits per byte that counts (default: any)"),
    ("train_limit", None, "string", "wall-clock limit of the baseline's training (default: 2h)"),
    (
        "prd",
        "PATH",
        "string",
        "write the requirements document to this .md or .html file, from the evals and their last results",
    ),
    ("labels", None, "string", "folder of labels and failure modes (default: evals/labels)"),
    ("grade_limit", None, "string", "wall-clock limit of one grading (default: 30m)"),
)
_SWITCHES = (
    ("canary", "plant faults and show which failure modes catch them, instead of running the loop"),
    ("unsafe", "run candidates that an agent wrote also where no sandbox works"),
)
_MARKER = (
    "failure_mode(id, title, severity=None, traces=(), tolerate=0.0, false_alarms=0.05): names the failure mode that "
    "a test checks; all cases of one id form one rate, which passes if its upper 95 % bound is at most tolerate; "
    "a mode that fails more than a share of false_alarms of human texts cannot gate"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare every flag with the default None, and its ini value beside it."""
    group = parser.getgroup("evalloop", "evals as tests, and a loop that improves a model under them")
    group.addoption("--evalloop", action="store_true", default=None, help="run the loop instead of tests")
    for name, text in _SWITCHES:
        group.addoption(f"--evalloop-{name}", action="store_true", default=None, help=text)
    for name, metavar, kind, text in _OPTIONS:
        if metavar is not None:
            action = "append" if kind == "args" else "store"
            group.addoption(f"--evalloop-{name}", metavar=metavar, action=action, default=None, help=text)
        parser.addini(f"evalloop_{name}", text, type=kind, default=None)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks of hookspec.py."""
    from pytest_evalloop import hookspec

    pluginmanager.add_hookspecs(hookspec)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the loop's controller under `--evalloop`, and what eval authors use otherwise."""
    config.addinivalue_line("markers", _MARKER)
    if config.getoption("evalloop_prd") and (
        config.getoption("evalloop") or config.getoption("evalloop_canary")
    ):
        raise pytest.UsageError(
            "--evalloop-prd writes what a session of evals finds out, and a loop leaves your files as they are. "
            "Run it on its own: pytest evals --evalloop-prd docs/REQUIREMENTS.md"
        )
    if config.getoption("evalloop_canary") and not hasattr(config, "workerinput"):
        from pytest_evalloop.shell.canary import CanarySession

        config.pluginmanager.register(CanarySession.from_config(config, *_values(config)), "evalloop-canary")
        return
    if config.getoption("evalloop") and not hasattr(config, "workerinput"):
        from pytest_evalloop.shell.controller import Controller

        config.pluginmanager.register(Controller.from_config(config, *_values(config)), "evalloop-controller")
        return
    from pytest_evalloop.suite import fixtures, living, session

    requirements = living.Living(config, lambda: _values(config))
    suite = session.SuiteSession(config, lambda: _values(config), requirements)
    config.pluginmanager.register(fixtures, "evalloop-fixtures")
    config.pluginmanager.register(suite, "evalloop-suite")
    config.pluginmanager.register(requirements, "evalloop-requirements")


def _values(config: pytest.Config) -> tuple[dict[str, object], dict[str, object]]:
    """Return the flags (None where absent) and the ini values (None where absent) by short name."""
    names = [name for name, *_ in _OPTIONS] + [name for name, _ in _SWITCHES]
    flags = {name: config.getoption(f"evalloop_{name}", None) for name in names}
    return flags, {name: config.getini(f"evalloop_{name}") for name, *_ in _OPTIONS}
