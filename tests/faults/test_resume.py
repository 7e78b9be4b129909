"""Runs that are killed, stopped, started twice, and gone on with after something changed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_bench import ANSWERED, SAME, Bench, Ended, case, ended, pairs
from safetensors.torch import load_file

LONG = {"max_steps": 400, "save_steps": 3, "batch_size": 4}


def steps(bench: Bench) -> int:
    path = bench.run_folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for(process: subprocess.Popen, ready) -> None:
    while not ready():
        assert process.poll() is None, ended(process)
        time.sleep(0.002)


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def left(bench: Bench) -> tuple[bytes, str]:
    weights = (bench.run_folder / "model" / "model.safetensors").read_bytes()
    return weights, (bench.run_folder / "metrics.jsonl").read_text()


@case(72, what="kill -9 between checkpoints, in the second epoch", answer=SAME)
def test_killed_between_checkpoints(bench: Bench, says) -> None:
    bench.set(train={"max_steps": 40, "save_steps": 3, "max_tokens_per_batch": 100})
    run = bench.run_folder
    process = bench.start()
    at = random.Random(3).randint(5, 30)
    wait_for(process, lambda: steps(bench) > at)
    kill(process)
    found = steps(bench)
    bench.train("--resume").done()
    killed = left(bench)
    bench.set(output_dir=str(bench.folder / "calm"))
    bench.train().done()
    assert killed == left(bench)
    says(f"killed after step {found if found < 40 else at} of 40 (20 epochs, micro-batches): the "
         "same weights and metrics to the bit")  # fmt: skip
    assert run.exists()


@case(73, what="a reference that moves", answer=ANSWERED)
def test_a_reference_does_not_move(bench: Bench, says) -> None:
    """luce has no moving reference; a key that asks for one is refused, not passed over."""
    bench.set(train={"sync_ref_model": True})
    says(bench.train().refused("recipe.train: no key 'sync_ref_model'"))


@case(73, what="a reference that has changed on disk before the resume", answer=ANSWERED)
def test_a_reference_that_changed(bench: Bench, says) -> None:
    import shutil

    other = Path(shutil.copytree(bench.model, bench.folder / "other"))
    bench.set(reference=str(other))
    bench.train().done()
    from safetensors.torch import save_file

    tensors = load_file(other / "model.safetensors")
    tensors["model.norm.weight"] += 0.5
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    says(bench.train("--resume").refused("run/reference: holds log-probabilities of"))


@case(74, what="SIGTERM", answer=SAME)
def test_sigterm(bench: Bench, says) -> None:
    bench.set(train=LONG | {"save_steps": 1000})
    process = bench.start()
    wait_for(process, lambda: steps(bench) > 3)
    process.terminate()
    assert ended(process).code == 143
    (checkpoint,) = (bench.run_folder / "checkpoints").glob("step-*")
    step = int(checkpoint.name[5:])
    assert step == json.loads((bench.run_folder / "metrics.jsonl").read_text().splitlines()[-1])[
        "step"
    ]  # fmt: skip
    says("exit code 143; the step it was in is saved, and none is lost")


@case(84, what="two processes and one run folder", answer=ANSWERED)
def test_two_processes(bench: Bench, says) -> None:
    bench.set(train=LONG)
    process = bench.start()
    try:
        wait_for(process, lambda: steps(bench) > 0)
        for more in ([], ["--resume"]):
            said = bench.train(*more).refused(str(bench.run_folder))
        assert "another process is using this folder" in said
        says(said)
    finally:
        kill(process)


CHANGES = {
    "β": ({"objective": {"dpo": {"beta": 0.5}}}, "objective.dpo.beta: 0.1 → 0.5"),
    "objective": ({"objective": {"ipo": {}}}, "objective.ipo"),
    "learning rate": (
        {"train": {"learning_rate": 0.5}}, "train.learning_rate: 0.002 → 0.5"),
    "seed": ({"train": {"seed": 7}}, "train.seed: 0 → 7"),
    "batch size": ({"train": {"batch_size": 2}}, "train.batch_size: 4 → 2"),
    "number of steps": ({"train": {"max_steps": 9}}, "train.max_steps: 1 → 9"),
    "max_length": ({"data": {"max_length": 99}}, "data.max_length: 128 → 99"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(change, said, id=name,
                     marks=case(85, what=f"resumed with another {name}", answer=ANSWERED))
        for name, (change, said) in CHANGES.items()
    ],
)  # fmt: skip
def test_resumed_with_a_change(bench: Bench, says, change, said: str) -> None:
    bench.train().done()
    before = left(bench)
    bench.set(**change)
    found = bench.train("--resume").refused("this run has changed since", said, "--allow-change")
    says(found)
    assert left(bench) == before


@case(85, what="resumed with other data or another model", answer=ANSWERED)
def test_resumed_with_other_content(bench: Bench, says) -> None:
    bench.train().done()
    rows = pairs()
    rows[0]["chosen"][0]["content"] = "another"
    whole = bench.data.read_bytes()
    bench.put(rows)
    says(bench.train("--resume").refused("data (content)", "→"))
    bench.put(whole)
    from safetensors.torch import save_file

    tensors = load_file(bench.model / "model.safetensors")
    tensors["model.norm.weight"] += 0.5
    save_file(tensors, bench.model / "model.safetensors", {"format": "pt"})
    bench.train("--resume").refused("run/reference: holds log-probabilities of")


@case(85, what="resumed with a change that is allowed by name", answer=ANSWERED)
def test_a_change_that_is_allowed(bench: Bench, says) -> None:
    bench.set(model={"lora": {"r": 2, "target_modules": ["q_proj", "v_proj"]}})
    bench.train().done()
    bench.train("--resume").done()  # a list in the recipe is no change
    bench.set(train={"learning_rate": 0.004, "max_steps": 3})
    allowed = ("--allow-change", "train.learning_rate", "--allow-change", "train.max_steps")
    said = bench.train("--resume", allowed[0], allowed[1]).refused("train.max_steps: 1 → 3")
    assert "learning_rate:" not in said
    bench.train("--resume", *allowed).done()
    assert [record["step"] for record in bench.metrics] == [1, 2, 3]
    says(said)


@case(87, what="an older run in the folder", answer=ANSWERED)
def test_an_older_run_in_the_folder(bench: Bench, says) -> None:
    bench.train().done()
    before = left(bench)
    bench.set(objective={"ipo": {}})
    says(bench.train().refused(f"{bench.run_folder}: holds a run already", "--resume"))
    assert left(bench) == before


@case(87, what="checkpoints of an older run without its manifest", answer=ANSWERED)
def test_checkpoints_of_an_older_run(bench: Bench, says) -> None:
    bench.train().done()
    (bench.run_folder / "manifest.json").unlink()
    bench.set(objective={"ipo": {}})
    says(bench.train().refused(f"{bench.run_folder}: holds a run already"))


LIMITED = """
import resource, sys
import luce.recipe.run
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (100 << 20),) * 2)
from luce.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
@case(88, what="a limit on memory that a batch exceeds", answer=ANSWERED)
def test_a_limit_on_memory(bench: Bench, says) -> None:
    rows = pairs(12)
    rows[10]["chosen"][0]["content"] = "dog " * 50_000
    bench.put(rows)
    config = json.loads((bench.model / "config.json").read_text())
    config["max_position_embeddings"] = 1_000_000
    (bench.model / "config.json").write_text(json.dumps(config))
    bench.set(data={"max_length": 500_000}, train={"max_tokens_per_batch": 1000})
    command = [sys.executable, "-c", LIMITED, "train", str(bench.write())]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=bench.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    said = ended(process).refused(f"{bench.data}:11: memory ran out", "(id r10)", "data.max_length")
    says(said)


@case(90, what="--resume where there is no run", answer=SAME)
def test_resume_without_a_run(bench: Bench, says) -> None:
    bench.train().done()
    whole = left(bench)
    bench.set(output_dir=str(bench.folder / "none"))
    bench.train("--resume").done()
    assert left(bench) == whole
    says("the run starts from the beginning")


def torchrun(bench: Bench, processes: int, *more: str) -> subprocess.Popen:
    options = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *options, "-m", "luce", "train", str(bench.write()), *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=bench.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
@case(91, what="resumed on another number of processes", answer=SAME)
def test_resumed_on_two_processes(bench: Bench, says) -> None:
    bench.set(train={"max_steps": 4, "save_steps": 2})
    bench.train().done()
    whole = [record["loss"] for record in bench.metrics]
    import shutil

    shutil.rmtree(bench.run_folder / "checkpoints" / "step-00000004")
    assert ended(torchrun(bench, 2, "--resume")).code == 0
    assert [record["loss"] for record in bench.metrics] == pytest.approx(whole, abs=1e-6)
    says("the same losses to 1e-6")


@pytest.mark.slow
@case(92, what="one process of two is killed", answer=ANSWERED)
def test_one_process_dies(bench: Bench, says) -> None:
    bench.set(train=LONG)
    process = torchrun(bench, 2)
    wait_for(process, lambda: steps(bench) > 3)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    found: Ended = ended(process)
    assert found.code != 0 and "local_rank: 1" in found.err and "SIGKILL" in found.err
    bench.train("--resume", "train.max_steps=30", "--allow-change", "train.max_steps").done()
    says("torchrun names rank 1 and SIGKILL, and ends the others; the run resumes")
