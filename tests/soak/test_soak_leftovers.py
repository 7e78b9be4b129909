"""What a killed process left half-written is gone after the resume, however large it was."""

from pathlib import Path

import pytest

from luce.errors import LuceError
from luce.train.fit import locked


def left_behind(folder: Path) -> tuple[Path, Path]:
    """Half of a model, and half of a file, as `save_model` and `write_atomic` leave them."""
    model = folder / ".model.partial-4711"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{")
    file = folder / ".evaluation.json.partial-host-4711"
    file.write_text("{")
    return model, file


def test_a_run_takes_away_what_a_killed_one_left_half_written(tmp_path) -> None:
    folder = tmp_path / "run"
    left = left_behind(folder)
    (folder / "evaluation.json").write_text("{}")
    with locked(folder):
        assert not any(path.exists() for path in left)
        assert (folder / "evaluation.json").read_text() == "{}"


def test_what_another_process_is_writing_stays(tmp_path) -> None:
    folder = tmp_path / "run"
    with locked(folder):
        left = left_behind(folder)
        with pytest.raises(LuceError, match="another process is using"), locked(folder):
            pass
        assert all(path.exists() for path in left)
