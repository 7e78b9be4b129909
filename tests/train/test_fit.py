"""A run killed anywhere and resumed leaves the same bytes as one that was never disturbed."""

import json
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from luce.errors import CheckpointError, LuceError
from luce.objectives.build import make_objective
from luce.train.checkpoint import latest_checkpoint
from luce.train.fit import fit, locked
from luce.train.lines import RunFolder
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer

from .child import SETTINGS
from .conftest import TableLearner, make_groups

CHILD = Path(__file__).with_name("child.py")


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["luce.train.fit", "luce.objectives.build"])


def child(folder, kill="never:0", objective="dpo"):
    """The exit code of a run in a process of its own; -9 where it killed itself."""
    given = {"ARGUMENTS": [str(folder), kill, objective]}
    process = PROCESSES.Process(
        target=runpy.run_path, args=(str(CHILD), given), kwargs={"run_name": "__main__"}
    )
    process.start()
    process.join(120)
    return process.exitcode


def result(folder):
    found, _ = latest_checkpoint(folder / "checkpoints")
    weights = (found.path / "weights.safetensors").read_bytes()
    return found.step, weights, (folder / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert child(folder) == 0
    return result(folder)


DRAW = random.Random(5)
KILLS = [f"step:{DRAW.randint(1, 9)}" for _ in range(2)] + [
    f"operation:{n}" for n in DRAW.sample(range(1, 60), 4)
]


@pytest.mark.parametrize("kill", KILLS)
def test_kill_and_resume_gives_the_same_bytes(tmp_path, undisturbed, kill):
    assert child(tmp_path, kill) == -signal.SIGKILL
    assert child(tmp_path) == 0
    assert result(tmp_path) == undisturbed


def test_a_cost_of_the_whole_batch_with_running_statistics_resumes_to_the_same_bytes(tmp_path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert child(calm, objective="beta_dpo") == 0
    assert child(killed, "step:5", "beta_dpo") == -signal.SIGKILL
    assert child(killed, "operation:4", "beta_dpo") == -signal.SIGKILL
    assert child(killed, objective="beta_dpo") == 0
    assert result(killed) == result(calm)
    state = json.loads(next((calm / "checkpoints").glob("*/state.json")).read_text())
    assert state["running"].keys() == {"margin", "margin_squared"}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 61))
def test_kill_before_every_file_operation(tmp_path, undisturbed, number):
    child(tmp_path, f"operation:{number}")
    assert child(tmp_path) == 0
    assert result(tmp_path) == undisturbed


def trainer(**changes):
    settings = TrainSettings(**{**SETTINGS.__dict__, **changes})
    return Trainer(TableLearner(), make_objective("dpo", {}), make_groups(18), settings)


def test_sigterm_saves_the_step_it_is_in_and_exits_143(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    records = fit(trainer(save_steps=1000), RunFolder(tmp_path), [], {})
    next(records)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        list(records)
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert latest_checkpoint(tmp_path / "checkpoints")[0].step == 1


def test_a_changed_run_does_not_resume_unless_the_key_is_named(tmp_path):
    list(fit(trainer(), RunFolder(tmp_path), [], {"train.seed": 0, "data": "a"}))
    changed = {"train.seed": 1, "data": "a"}
    with pytest.raises(CheckpointError, match="this run has changed since: train.seed: 0 → 1"):
        list(fit(trainer(), RunFolder(tmp_path), [], changed, resume=True))
    notes = list(fit(trainer(), RunFolder(tmp_path), [], changed, True, ["train.seed"]))
    assert [r["split"] for r in notes] == ["note"]


def test_metrics_hold_no_times_and_timing_holds_them(tmp_path):
    list(fit(trainer(), RunFolder(tmp_path), make_groups(3, seed=2), {}))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["split"] for r in lines][:2] == ["eval", "train"] and lines[-1]["split"] == "eval"
    assert not any("second" in key for record in lines for key in record)
    timing = [json.loads(line) for line in (tmp_path / "timing.jsonl").read_text().splitlines()]
    assert len(timing) == 9 and timing[0]["tokens_per_second"] > 0


def test_a_torn_last_line_is_cut_off_on_resume(tmp_path):
    records = fit(trainer(save_steps=1), RunFolder(tmp_path), [], {})
    for _ in range(3):
        next(records)
    records.close()
    with open(tmp_path / "metrics.jsonl", "a") as stream:
        stream.write('{"split": "tra')
    list(fit(trainer(), RunFolder(tmp_path), [], {}, resume=True))
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, 10))


def test_a_second_process_on_one_folder_is_refused(tmp_path):
    with locked(tmp_path):
        taken = subprocess.run(
            [sys.executable, str(CHILD), str(tmp_path)], capture_output=True, text=True
        )
    assert taken.returncode != 0 and "another process is using this folder" in taken.stderr


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LuceError, match="cannot be written"), locked(tmp_path / "file" / "run"):
        pass


def test_rows_that_cost_nan_are_written_out(tmp_path):
    broken = trainer()
    respond = broken.learner.respond
    broken.learner.respond = lambda groups: _nan(respond(groups))
    with pytest.raises(LuceError, match="nonfinite.jsonl"):
        list(fit(broken, RunFolder(tmp_path), [], {}))
    rows = [json.loads(line) for line in (tmp_path / "nonfinite.jsonl").read_text().splitlines()]
    assert rows[0]["file"] == "toy.jsonl" and rows[0]["step"] == 1 and rows[0]["cost"] == "nan"


def _nan(responses):
    return type(responses)(responses.policy * float("nan"), responses.lengths, responses.reference)
