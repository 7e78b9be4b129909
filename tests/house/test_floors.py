"""Imports go down only: the contract of pyproject.toml, and a violation that it catches."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "src"), "PATH": "", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(root, tmp_path):
    shutil.copytree(
        root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_floors_hold(copy):
    found = lint(copy)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "1 kept, 0 broken" in found.stdout


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ("types.rows", "luce.objectives.losses"),
        ("objectives.losses", "luce.data.rows"),
        ("data.rows", "luce.models.policy"),
        ("models.policy", "luce.data.rows"),
        ("train.settings", "luce.report.run"),
        ("report.run", "luce.recipe.schema"),
        ("diagnostics.length", "luce.report.run"),
        ("annotate.rank", "luce.diagnostics.length"),
        ("recipe.schema", "luce.cli.main"),
    ],
)
def test_an_import_that_goes_up_or_sideways_is_caught(copy, below, above):
    file = copy / "src/luce" / (below.replace(".", "/") + ".py")
    file.write_text(f"{file.read_text()}\n\ndef planted():\n    import {above}\n")
    found = lint(copy)
    assert found.returncode == 1, found.stdout + found.stderr
    assert f"luce.{below} -> {above}" in found.stdout
