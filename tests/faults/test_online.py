"""Rounds of sampling, judging and training that are killed, cut and judged badly."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fault_bench import ANSWERED, COUNTED, SAME, Bench, Ended, case, ended, lines, pair

JUDGE = """
import os
import time

def brevity(prompt, responses):
    time.sleep(float(os.environ.get("FAULT_SLOWLY", "0")))
    return [-float(len(r)) for r in responses]

def broken(prompt, responses):
    odd = [float("nan"), float("inf"), 1.0, 0.0]
    return odd[: len(responses)]
"""
SETTINGS = {
    "rounds": 1, "n": 4, "prompts_per_round": 16, "annotator": "fault_judge:brevity",
    "max_new_tokens": 6, "block": 2,
}  # fmt: skip


def prepare(bench: Bench, **online: Any) -> Path:
    (bench.folder / "fault_judge.py").write_text(JUDGE)
    bench.put([pair(i) for i in range(24)])
    bench.set(online=SETTINGS | online, data={"eval": 0.2}, train={"max_steps": 2, "save_steps": 1})
    return bench.write()


@pytest.fixture
def online(bench, monkeypatch):
    """A recipe of one short round, its judge in the working folder."""
    monkeypatch.delitem(sys.modules, "fault_judge", raising=False)
    prepare(bench)
    return bench


def start(bench: Bench, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "luce", "online", str(bench.folder / "recipe.yaml"), *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=bench.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "FAULT_SLOWLY": "0.05"},
    )  # fmt: skip


def go(bench: Bench, *more: str) -> Ended:
    return bench.ask(["online", str(bench.write()), *more])


def kill_when(process: subprocess.Popen, ready) -> None:
    while not ready():
        assert process.poll() is None, ended(process)
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def result(bench: Bench) -> dict[str, bytes]:
    inner = bench.run_folder / "rounds" / "001"
    names = ("samples.jsonl", "verdicts.jsonl", "pairs.jsonl", "train/metrics.jsonl")
    found = {name: (inner / name).read_bytes() for name in names}
    return found | {"model": (bench.run_folder / "model" / "model.safetensors").read_bytes()}


def undisturbed(bench: Bench) -> dict[str, bytes]:
    """What a run leaves that nothing happens to."""
    bench.set(output_dir=str(bench.folder / "calm"))
    go(bench).done()
    return result(bench)


def once_each(found: dict[str, bytes]) -> bool:
    prompts = [json.loads(line)["prompt"] for line in found["samples.jsonl"].splitlines()]
    return len(prompts) == len(set(map(str, prompts))) == 16


@pytest.mark.slow
@case(103, what="kill -9 of a process that helps to sample", answer=SAME)
def test_a_helper_is_killed(online: Bench, says) -> None:
    run = online.run_folder
    leader = start(online)
    while not (run / "manifest.json").exists():
        assert leader.poll() is None, ended(leader)
        time.sleep(0.01)
    doomed = start(online, "--worker")

    def at_work() -> bool:
        for path in run.glob("rounds/*/*/*.lease"):
            try:
                if f'"pid": {doomed.pid}}}' in path.read_text():
                    return True
            except FileNotFoundError:  # the work is done already
                continue
        return leader.poll() is not None

    kill_when(doomed, lambda: at_work() or doomed.poll() is not None)
    ended(leader).done()
    found = result(online)
    assert once_each(found) and found == undisturbed(online)
    says("its blocks are taken over: every prompt is sampled once, and the model is the same")


@case(104, what="a half-written shard of samples", answer=SAME)
def test_a_half_written_shard(online: Bench, says) -> None:
    blocks = online.run_folder / "rounds" / "001" / "samples"
    kill_when(start(online), lambda: len(list(blocks.glob("block-*.jsonl"))) > 1)
    first = sorted(blocks.glob("block-*.jsonl"))[0]
    first.write_bytes(first.read_bytes()[:-40])
    go(online, "--resume").done()
    found = result(online)
    assert once_each(found) and found == undisturbed(online)
    says("the block is made again, from its number alone: the same samples")


@case(105, what="kill -9 between judging and training", answer=SAME)
def test_killed_between_stages(online: Bench, says) -> None:
    inner = online.run_folder / "rounds" / "001"
    kill_when(start(online), lambda: (inner / "verdicts.jsonl").exists())
    kept = (inner / "verdicts.jsonl").read_bytes()
    go(online, "--resume").done()
    found = result(online)
    assert found["verdicts.jsonl"] == kept and found == undisturbed(online)
    says("the round goes on from its last whole stage: the same rows and weights")


@case(106, what="samples of a prompt that are all equal", answer=ANSWERED)
def test_equal_samples(online: Bench, says) -> None:
    prepare(online, temperature=0.0)
    says(go(online).refused("no prompt gave a row to train on (16 ", "online.n"))


@case(107, what="rewards that are nan or infinite", answer=COUNTED)
def test_rewards_that_are_none(online: Bench, says) -> None:
    prepare(online, annotator="fault_judge:broken")
    go(online).done()
    (line,) = lines(online.run_folder / "rounds.jsonl")
    rows = lines(online.run_folder / "rounds" / "001" / "pairs.jsonl")
    assert line["left_out"]["reward_not_finite"] >= 2 * len(rows) > 0
    assert {(row["score_chosen"], row["score_rejected"]) for row in rows} == {(1.0, 0.0)}
    says(f"left out: {line['left_out']}; neither is ever the best response")
