"""`kill -9` a real `luce online` at every stage, and its helpers: the same rows and weights."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luce.files import read_jsonl

JUDGE = """
import time

def brevity(prompt, responses):
    time.sleep(0.02)
    return [-float(len(r)) for r in responses]
"""


@pytest.fixture
def online(recipe, tmp_path) -> Path:
    (tmp_path / "slow_judge.py").write_text(JUDGE)
    recipe["data"] = {"path": recipe["data"]["path"], "eval": 0.2, "max_length": 128}
    recipe["train"] |= {"max_steps": 6, "batch_size": 4, "save_steps": 2}
    recipe["online"] = {
        "rounds": 2, "n": 3, "prompts_per_round": 24, "annotator": "slow_judge:brevity",
        "max_new_tokens": 8, "block": 4,
    }  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path


def start(recipe: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "luce", "online", str(recipe), *more],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=recipe.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()
    return output.decode()


def kill_when(process: subprocess.Popen, ready) -> None:
    """SIGKILL once something is there. What `ready` looks for must stay once it has come, or be
    followed by what stays: on a busy machine this looks seldom."""
    while not ready():
        assert process.poll() is None, process.communicate()[0].decode()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def names(folder: Path) -> list[str]:
    """What lies in a folder, which may come or go meanwhile: `glob` fails then."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def begun(folder: Path, stage: str) -> bool:
    """A block of the stage is there, or all are and have become one file."""
    blocks = any(name.startswith("block-") for name in names(folder / stage))
    return blocks or (folder / f"{stage}.jsonl").exists()


def text_of(path: Path) -> str:
    """What a file says; nothing once it is gone."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def result(folder: Path) -> dict[str, bytes]:
    inner = ("samples", "verdicts", "pairs", "rows", "train", "answers")
    names = ["rounds.jsonl"]
    names += [f"rounds/{n}/{name}.jsonl" for n in ("001", "002") for name in inner]
    names += [f"rounds/{n}/train/metrics.jsonl" for n in ("001", "002")]
    names += ["model/model.safetensors"]
    here = str(folder).encode()
    return {name: (folder / name).read_bytes().replace(here, b"") for name in names}


@pytest.mark.slow
def test_killed_at_every_stage(online, tmp_path):
    calm = start(online, f"output_dir={tmp_path / 'calm'}")
    run = tmp_path / "run"
    first, second = run / "rounds" / "001", run / "rounds" / "002"
    kill_when(start(online), lambda: begun(first, "samples"))
    kill_when(start(online, "--resume"), lambda: begun(first, "verdicts"))
    steps = first / "train" / "checkpoints" / "step-00000002"
    kill_when(start(online, "--resume"), steps.exists)
    kill_when(start(online, "--resume"), (run / "rounds.jsonl").exists)
    kill_when(start(online, "--resume"), lambda: begun(second, "samples"))
    finish(start(online, "--resume"))
    finish(calm)
    ours, theirs = result(run), result(tmp_path / "calm")
    for name in theirs:
        assert ours[name] == theirs[name], name
    for number in ("001", "002"):
        rows = [r["prompt"] for r in read_jsonl(run / "rounds" / number / "samples.jsonl")]
        assert len(rows) == len(set(rows)) == 24


def test_helpers_share_the_work_and_one_is_killed(online, tmp_path):
    run = tmp_path / "run"
    leader = start(online)
    while not (run / "manifest.json").exists():
        assert leader.poll() is None
        time.sleep(0.01)
    helper, doomed = start(online, "--worker"), start(online, "--worker")

    def at_work() -> bool:
        rounds = [run / "rounds" / number for number in ("001", "002")]
        stages = [one / stage for one in rounds for stage in ("samples", "verdicts")]
        leases = [s / name for s in stages for name in names(s) if name.endswith(".lease")]
        return any(f'"pid": {doomed.pid}}}' in text_of(path) for path in leases)

    kill_when(doomed, lambda: at_work() or leader.poll() is not None or doomed.poll() is not None)
    finish(leader)
    told = finish(helper)
    assert "finished;" in told
    alone = start(online, f"output_dir={tmp_path / 'alone'}")
    finish(alone)
    ours, theirs = result(run), result(tmp_path / "alone")
    for name in theirs:
        assert ours[name] == theirs[name], name


def test_a_helper_without_a_run(online):
    process = start(online, "--worker")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and b"no run to help" in output
