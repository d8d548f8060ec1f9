"""What the plugin costs a project that has it installed and does not use it, and one with 1,000 checks."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.figure import Figure, cpu_seconds, paired, show

_PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
_WITHOUT = ["-p", "no:evalloop"]
_CHECKS = """
import pytest

@pytest.mark.failure_mode("FM-01", "never happens", tolerate=0.1)
@pytest.mark.parametrize("case", range(1000))
def test_case(case):
    assert case >= 0
"""
_PLAIN = _CHECKS.replace('@pytest.mark.failure_mode("FM-01", "never happens", tolerate=0.1)\n', "")


def unused(pairs: int = 15) -> Figure:
    """Return the cost of `pytest --collect-only` in an empty project, with the plugin over without it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_one.py").write_text("def test_one():\n    pass\n")
        command = [*_PYTEST, "--collect-only"]
        ratios = paired(
            lambda: cpu_seconds(command, folder),
            lambda: cpu_seconds([*command, *_WITHOUT], folder),
            pairs,
        )
    return Figure("unused plugin, `pytest --collect-only`, CPU", str(ratios), "≤ 1.05", ratios.median <= 1.05)


def imports() -> Figure:
    """Return which heavy packages an unused plugin imports."""
    code = (
        "import sys, pytest; pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider']); "
        "print(sorted({'numpy', 'torch', 'scipy', 'msgspec', 'rich', 'optuna'} & set(sys.modules)))"
    )
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-P", "-c", code]
        done = subprocess.run(command, cwd=name, check=True, capture_output=True, text=True)
    found = done.stdout.strip().splitlines()[-1]
    return Figure("unused plugin, heavy imports", found, "none", found == "[]")


def checks(pairs: int = 7) -> Figure:
    """Return the cost of 1,000 trivial checks with markers over the same tests in plain pytest."""
    with tempfile.TemporaryDirectory() as marked, tempfile.TemporaryDirectory() as plain:
        Path(marked, "test_checks.py").write_text(_CHECKS)
        Path(plain, "test_checks.py").write_text(_PLAIN)
        ratios = paired(
            lambda: cpu_seconds(_PYTEST, Path(marked)),
            lambda: cpu_seconds([*_PYTEST, *_WITHOUT], Path(plain)),
            pairs,
        )
    return Figure(
        "1,000 checks with markers over plain pytest, CPU", str(ratios), "≤ 1.2", ratios.median <= 1.2
    )


def figures() -> list[Figure]:
    """Return all figures of this script."""
    return [unused(), imports(), checks()]


if __name__ == "__main__":
    show(figures())
