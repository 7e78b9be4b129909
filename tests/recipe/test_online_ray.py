"""Blocks shared by Ray: the files of one process, also where a worker or the driver is killed."""

import builtins
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from luce.errors import LuceError, RecipeError
from luce.files import read_jsonl
from luce.online.blocks import Blocks
from luce.recipe.load import load_recipe
from luce.recipe.online_command import help_run
from luce.recipe.online_loop import check_online
from luce.recipe.online_ray import TRIES, BlockActor, check_room, ray_blocks
from luce.recipe.schema import RayJob

JUDGE = """
import os
import signal
import sys
import time
from pathlib import Path

FLAG, WRONG = (Path(__file__).with_name(name) for name in ("kill-me", "wrong"))


def brevity(prompt, responses):
    if "default_worker" in sys.argv[0]:  # one of Ray's processes
        if WRONG.exists():
            raise ValueError("no such judge today")
        if FLAG.exists():
            FLAG.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return [-float(len(r)) for r in responses]
"""


@pytest.fixture
def online(recipe, tmp_path) -> dict:
    (tmp_path / "ray_judge.py").write_text(JUDGE)
    recipe["output_dir"] = "run"
    recipe["data"] = {"path": recipe["data"]["path"], "eval": 0.2, "max_length": 128}
    recipe["train"] |= {"max_steps": 2, "batch_size": 4}
    recipe["evaluate"]["sample_prompts"] = 0
    recipe["online"] = {
        "rounds": 1, "n": 3, "prompts_per_round": 24, "annotator": "ray_judge:brevity",
        "max_new_tokens": 8, "block": 4, "scale": "ray", "ray": {"num_cpus": 0.5},
    }  # fmt: skip
    return recipe


def start(recipe: dict, folder: Path, *more: str) -> subprocess.Popen:
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return subprocess.Popen(
        [sys.executable, "-m", "luce", "online", str(path), *more],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output.decode()
    return output.decode()


def result(folder: Path) -> dict[str, bytes]:
    names = [f"rounds/001/{n}.jsonl" for n in ("samples", "verdicts", "pairs", "rows", "train")]
    names += ["rounds/001/train/metrics.jsonl", "model/model.safetensors", "prompts.jsonl"]
    return {name: (folder / name).read_bytes() for name in names}


def same_as_alone(recipe: dict, folder: Path) -> None:
    """The run of a folder is what one process without Ray makes."""
    plain = recipe["online"] | {"scale": "none"}
    del plain["ray"]
    finish(start(recipe | {"online": plain}, folder, "output_dir=alone"))
    ours, theirs = result(folder / "run"), result(folder / "alone")
    for name in theirs:
        assert ours[name].replace(b"alone", b"run") == theirs[name].replace(b"alone", b"run"), name
    for name in ("samples", "verdicts"):
        numbers = [r["prompt"] for r in read_jsonl(folder / f"run/rounds/001/{name}.jsonl")]
        assert len(numbers) == len(set(numbers)) == 24


@pytest.mark.slow
def test_a_worker_is_killed(online, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'luce[ray]'")
    (tmp_path / "kill-me").touch()
    said = finish(start(online, tmp_path))
    assert not (tmp_path / "kill-me").exists()  # it was
    assert "sampled 6 of 6 blocks" in said and "judged 6 of 6 blocks" in said
    same_as_alone(online, tmp_path)


@pytest.mark.slow
def test_the_driver_is_killed_and_the_run_resumed(online, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'luce[ray]'")
    inner = tmp_path / "run" / "rounds" / "001"
    options: list[str] = []
    for stage in ("samples", "verdicts"):
        process = start(online, tmp_path, *options)
        while not any((inner / stage).glob("block-*.jsonl")):
            assert process.poll() is None, process.communicate()[0].decode()
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        assert not (inner / f"{stage}.jsonl").exists()
        options = ["--resume"]
    finish(start(online, tmp_path, *options))
    same_as_alone(online, tmp_path)


@pytest.mark.slow
def test_what_an_actor_raises_is_said(online, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'luce[ray]'")
    (tmp_path / "wrong").touch()
    process = start(online, tmp_path)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 2
    last = output.decode().strip().splitlines()[-1]
    assert last.startswith("luce: Ray: verdicts of round 1: "), output.decode()
    assert "no such judge today" in last


def test_an_actor_counts_the_workers_that_a_block_killed(online, tmp_path, monkeypatch):
    """The same class in this process, as Ray calls it."""
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(json.dumps(online))
    recipe = str(tmp_path / "recipe.yaml")
    task = {"number": [1], "name": ["samples"], "recipe": [recipe], "here": [str(tmp_path)]}
    actor, folder = BlockActor(), tmp_path / "run" / "rounds" / "001" / "samples"
    folder.mkdir(parents=True)
    tries = folder / "block-000002.tries"
    tries.write_bytes(b"." * (TRIES - 1))
    assert actor(task | {"block": [2]}) == {"block": [2], "failed": [""]}
    assert not tries.exists()
    written = folder / "block-000002.jsonl"
    assert len(read_jsonl(written)) == 4
    content = written.read_bytes()
    assert actor(task | {"block": [2]})["failed"] == [""]  # it is there: nothing is made again
    tries = folder / "block-000003.tries"
    tries.write_bytes(b"." * TRIES)
    failed = actor(task | {"block": [3]})["failed"][0]
    assert "block-000003.jsonl: 4 workers died of this block" in failed
    assert sorted(p.name for p in folder.glob("*.jsonl")) == ["block-000002.jsonl"]
    assert written.read_bytes() == content


def test_actors_that_would_not_fit_are_refused():
    there = {"CPU": 4.0, "GPU": 1.0}
    check_room(RayJob(concurrency=3, num_cpus=1.0), there)
    check_room(RayJob(concurrency=1, num_gpus=1.0), there)
    with pytest.raises(RecipeError, match="4 actors of 1 CPUs take 4 of 4, and reads need one"):
        check_room(RayJob(concurrency=4, num_cpus=1.0), there)
    with pytest.raises(RecipeError, match="2 actors of 1 GPUs take 2, and the cluster has 1"):
        check_room(RayJob(concurrency=2, num_cpus=0.5, num_gpus=1.0), there)


def test_without_ray_the_remedy_is_said(online, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] == "ray":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    recipe = load_recipe(online).recipe
    with pytest.raises(LuceError, match=r"not installed. Install it: pip install 'luce\[ray\]'"):
        ray_blocks(recipe, 1, "samples", Blocks(tmp_path / "samples", 2))
    # nothing is missing: nothing is needed
    full = Blocks(tmp_path / "samples", 1)
    full.write(0, [{"a": 1}])
    ray_blocks(recipe, 1, "samples", full)


def test_helpers_and_objects_do_not_go_with_ray(online, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/manifest.json").write_text("{}")
    with pytest.raises(LuceError, match="Ray shares this run's work"):
        help_run(load_recipe(online), Console(quiet=True))
    online["online"]["annotator"] = "python"
    with pytest.raises(RecipeError, match="scale: Ray's processes cannot be given"):
        check_online(load_recipe(online))
