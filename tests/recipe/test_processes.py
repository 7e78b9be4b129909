"""`luce train` under torchrun: two processes leave what one leaves, up to rounding."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from luce.errors import RecipeError
from luce.recipe.run import train_run
from luce.train.fit import locked


def run_processes(recipe, *more: str, processes: int = 1, timeout: int = 300):
    command = [sys.executable, "-m", "luce", "train", str(recipe), *more]
    if processes > 1:
        options = ["--standalone", f"--nproc-per-node={processes}"]
        command[1:1] = ["-m", "torch.distributed.run", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout)


def launch(recipe, *more: str, processes: int = 1):
    done = run_processes(recipe, *more, processes=processes)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("strategy", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp2"])
def test_a_run_on_two_processes_equals_a_run_on_one(recipe, tmp_path, strategy):
    recipe["train"] |= {"batch_size": 5}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    one, two = tmp_path / "one", tmp_path / "two"
    launch(path, f"output_dir={one}")
    launch(path, f"output_dir={two}", f"train.strategy={strategy}", processes=2)
    first, second = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (one, two)
    )
    assert len(first) == len(second) == 8
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert b[key] == (value if key == "split" else pytest.approx(value, rel=1e-4, abs=1e-5))
    assert json.loads((two / "manifest.json").read_text())["status"] == "finished"
    (ours,), (theirs,) = ([*(folder / "model").glob("*.safetensors")] for folder in (one, two))
    weights, others = load_file(ours), load_file(theirs)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        np.testing.assert_allclose(others[name], value, rtol=0, atol=2e-4)
    samples = [(folder / "samples.jsonl").read_text() for folder in (one, two)]
    assert samples[0].count("\n") == samples[1].count("\n") == 4


def test_fsdp2_on_one_process_is_an_error_not_another_strategy(recipe):
    recipe["train"] |= {"strategy": "fsdp2"}
    with pytest.raises(RecipeError, match="there is one. Start with `torchrun"):
        train_run(recipe)


def test_a_folder_in_use_is_refused_by_all_processes_at_once(recipe, tmp_path):
    """The first process refuses; the others end with its words, and do not wait for it."""
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    with locked(tmp_path / "run"):
        done = run_processes(path, processes=2, timeout=90)
    assert done.returncode != 0
    assert done.stderr.count("another process is using this folder") >= 1
    assert not (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_killed_process_is_started_again_and_the_run_ends_the_same(recipe, tmp_path, strategy):
    recipe["train"] |= {"max_steps": 60, "save_steps": 3, "strategy": strategy}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    launch(path, f"output_dir={tmp_path / 'calm'}", processes=2)
    folder = tmp_path / "run"
    options = ["--standalone", "--nproc-per-node=2", "--max-restarts=2"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "luce", "train"]
    process = subprocess.Popen(
        [*command, str(path), "--resume"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    metrics = folder / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < 12:
        assert process.poll() is None
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    assert process.wait(timeout=300) == 0
    for name in ("metrics.jsonl", "samples.jsonl", "evaluation.json", "model/model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "calm" / name).read_bytes(), name
