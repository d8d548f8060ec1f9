"""Run every bench script and write RESULTS.md, with machine and commit."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from pathlib import Path

import psutil

from bench import main_job, plugin_cost, train_throughput

RESULTS = Path(__file__).with_name("RESULTS.md")


def machine() -> str:
    """Describe the machine that the figures are from."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0] if names else cpu
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    """Measure, print and write everything."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True
    )
    dirty = subprocess.run(
        ["git", "status", "--porcelain"], check=True, capture_output=True, text=True
    ).stdout
    rows = [*plugin_cost.figures(), *train_throughput.figures(), *main_job.figures()]
    lines = [
        "# Results",
        "",
        "Written by `make bench`. Ratios are measured side by side in one run; seconds are this machine's.",
        "",
        f"- machine: {machine()}",
        f"- commit: {commit.stdout.strip()}{' with uncommitted changes' if dirty else ''}",
        f"- date: {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}",
        "",
        "| figure | measured | bound | kept |",
        "|---|---|---|---|",
        *(row.line() for row in rows),
        "",
    ]
    RESULTS.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
