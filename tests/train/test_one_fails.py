"""An error on one process ends all of them, soon, and with its words."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

RANKS = Path(__file__).with_name("failing_ranks.py")
SOON_S = 300
"""Gloo alone would wait for 30 minutes; a process takes ten seconds to start, and a minute on a
machine that is busy with other things."""


def run(kind: str, rank: int) -> tuple[str, float]:
    """What the processes said, and how long it took, in seconds."""
    options = ["--standalone", "--nproc-per-node=2"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, str(RANKS), kind, str(rank)]
    began = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode != 0
    return done.stderr, time.monotonic() - began


def test_an_error_on_one_process_is_told_by_the_other():
    said, seconds = run("tell", 1)
    assert "rank 1 said: toy.jsonl:7: a row that only this rank has seen." in said
    assert "rank 0 said: rank 1 of 2 stopped: toy.jsonl:7: a row that only this rank" in said
    assert seconds < SOON_S


@pytest.mark.slow
def test_every_process_names_the_row_whose_gradient_overflows():
    said, _ = run("overflow", 0)
    lines = [line for line in said.splitlines() if " said: " in line]
    assert lines  # torchrun may end one before it speaks
    for line in lines:
        assert "toy.jsonl:5: the gradient of this row alone is not finite (1 such rows" in line


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("kind", ["tell", "alone", "bug", "die"])
def test_nobody_waits_for_a_process_that_is_gone(kind, rank):
    said, seconds = run(kind, rank)
    other = 1 - rank
    words = {
        "tell": f"rank {other} said: rank {rank} of 2 stopped: toy.jsonl:7",
        "alone": f"rank {other} said: rank {rank} of 2 stopped: a folder",
        "bug": f"rank {other} said: rank {rank} of 2 stopped: KeyError: 'a bug'",
        "die": "SIGKILL",  # torchrun's own words: it may end the other before that can speak
    }
    assert words[kind] in said
    assert seconds < SOON_S
