"""What a killed process left half-written is gone after the resume, however large it was."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from luce.errors import LuceError
from luce.train.fit import locked


def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left_behind(folder: Path, pid: int, host: str = "") -> list[Path]:
    """Half of a model, and half of two files, as `save_model` and `write_atomic` leave them."""
    model, name = folder / f".model.partial-{pid}", f"partial-{host or platform.node()}-{pid}"
    files = [
        folder / f".evaluation.json.{name}",
        folder / "rounds" / "001" / f".pairs.jsonl.{name}",
    ]
    model.mkdir(parents=True)
    for path in (model / "config.json", *files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{")
    return [model, *files]


def test_a_run_takes_away_what_a_killed_one_left_half_written(tmp_path) -> None:
    folder = tmp_path / "run"
    left = [*left_behind(folder, ended()), *left_behind(folder, os.getpid())]
    (folder / "evaluation.json").write_text("{}")
    with locked(folder):
        assert not any(path.exists() for path in left)
        assert (folder / "evaluation.json").read_text() == "{}"


def test_what_others_are_writing_stays(tmp_path) -> None:
    """A page that is written while the run starts, and a helper on another host."""
    folder = tmp_path / "run"
    _, *ours = left_behind(folder, os.getppid())
    _, *theirs = left_behind(folder, ended(), "another-host")
    with locked(folder):
        assert all(path.exists() for path in [*ours, *theirs])


def test_what_another_process_is_writing_stays(tmp_path) -> None:
    folder = tmp_path / "run"
    with locked(folder):
        left = left_behind(folder, ended())
        with pytest.raises(LuceError, match="another process is using"), locked(folder):
            pass
        assert all(path.exists() for path in left)
