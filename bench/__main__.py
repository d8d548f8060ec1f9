"""Run bench scripts (all, or those that are named) and write RESULTS.md, with machine and commit of each."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from bench.figure import Figure

FOLDER = Path(__file__).parent
TITLES = {
    "plugin_cost": "What the plugin costs",
    "train_throughput": "Training and scoring the default model",
    "audit_cost": "What audit and sandbox cost",
    "main_job": "The default loop",
    "broken": "Candidates that are broken, in the default job",
    "decisions": "Decisions under noise, simulated with recorded noise",
    "pairing": "What common seeds are worth, over the recorded table",
    "racing": "What racing saves and loses, replayed over recorded curves",
    "search_compute": "Compute to reach a bpb, against other searches, replayed over the recorded table",
    "live": "Replay and reality: recorded runs made anew, and a loop beside its replay",
    "equal_compute": "Compute of granted budgets",
    "coverage": "Coverage of corrected rates",
    "review": "The review page, in a real browser with 10,000 traces",
}
SCRIPTS = tuple(TITLES)


def machine() -> str:
    """Describe the machine that the figures are from."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        known = dict(re.findall(r"^([^\t\n]+)\t*: (.*)$", info.read_text(), re.MULTILINE))
        cpu = known.get("model name", cpu)
        if "flags" in known and not {"avx512_bf16", "amx_bf16"} & set(known["flags"].split()):
            cpu += ", no bfloat16"  # which the default job trains in where it can
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def measure(script: str) -> None:
    """Run one script and keep its figures as JSON beside it."""
    head = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True
    )
    figures: Sequence[Figure] = importlib.import_module(f"bench.{script}").figures()
    found = {
        "machine": machine(),
        "commit": head.stdout.strip(),
        "date": f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}",
        "figures": [asdict(figure) for figure in figures],
    }
    (FOLDER / f"{script}.json").write_text(json.dumps(found, indent=1) + "\n")


def render() -> str:
    """Return RESULTS.md from the figures that every script left when it last ran."""
    lines = [
        "# Results",
        "",
        "Written by `make bench`; `python -m bench plugin_cost` measures one script anew. Ratios are measured",
        "side by side in one run; seconds are those of the machine that is named.",
    ]
    for script in SCRIPTS:
        kept = FOLDER / f"{script}.json"
        if not kept.is_file():
            continue
        found = json.loads(kept.read_text())
        lines += [
            "",
            f"## {TITLES[script]}",
            "",
            f"`bench/{script}.py` at commit {found['commit']}, {found['date']}, on {found['machine']}.",
            "",
            "| figure | measured | bound | kept |",
            "|---|---|---|---|",
            *(Figure(**figure).line() for figure in found["figures"]),
        ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, print and write."""
    names = sys.argv[1:] or SCRIPTS
    unknown = set(names) - set(SCRIPTS)
    if unknown:
        raise SystemExit(
            f"there is no bench script {', '.join(sorted(unknown))}; choose from {', '.join(SCRIPTS)}"
        )
    for script in names:
        measure(script)
    (FOLDER / "RESULTS.md").write_text(render())
    print(render())


if __name__ == "__main__":
    main()
