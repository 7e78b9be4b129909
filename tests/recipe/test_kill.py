"""`kill -9` a real run of `luce train` and resume it: the same weights and metrics, to the bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

ADAPTER = {"lora": {"r": 4, "alpha": 8.0}}
DRAW = random.Random(11)


def command(recipe: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "luce", "train", str(recipe), *more]


def start(recipe: Path, *more: str) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(recipe, *more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()


def result(folder: Path) -> dict:
    weights = {}
    for path in sorted((folder / "model").glob("*.safetensors")):
        weights |= {name: value.tobytes() for name, value in load_file(path).items()}
    return {
        "weights": weights,
        "metrics": (folder / "metrics.jsonl").read_text(),
        "samples": (folder / "samples.jsonl").read_text(),
        "evaluation": (folder / "evaluation.json").read_text(),
    }


def written(folder: Path) -> int:
    metrics = folder / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def kill_when(process: subprocess.Popen, ready) -> bool:
    """SIGKILL as soon as `ready()`; False where the run was over before."""
    while process.poll() is None:
        if ready():
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            return True
        time.sleep(0.001)
    process.communicate()
    return False


@pytest.mark.parametrize(
    "model",
    [pytest.param({}, id="full"), pytest.param(ADAPTER, id="lora", marks=pytest.mark.slow)],
)
def test_a_killed_and_resumed_run_is_the_undisturbed_one(recipe, tmp_path, model):
    recipe["model"] |= model
    recipe["train"] |= {"max_steps": 30, "save_steps": 3, "eval_steps": 10}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    calm = start(path, f"output_dir={tmp_path / 'calm'}")
    at_step = DRAW.randint(4, 28)
    folder = tmp_path / "run"
    assert kill_when(start(path), lambda: written(folder) > at_step)
    # then once more, while a checkpoint is being written
    saving = folder / "checkpoints"
    kill_when(start(path, "--resume"), lambda: any(saving.glob(".partial-*")))
    finish(start(path, "--resume"))
    finish(calm)
    assert result(folder) == result(tmp_path / "calm")


def test_sigterm_leaves_a_checkpoint_to_resume_from(recipe, tmp_path):
    recipe["train"] |= {"max_steps": 400, "save_steps": 1000}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    process = start(path)
    folder = tmp_path / "run"
    while written(folder) < 5 and process.poll() is None:
        time.sleep(0.01)
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 143
    assert len(list((folder / "checkpoints").glob("step-*"))) == 1
