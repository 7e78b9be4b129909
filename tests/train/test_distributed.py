"""Two processes give what one gives: the mean is over the global batch, however it is spread."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

RANKS = Path(__file__).with_name("ranks.py")


def train(out: Path, processes: int) -> dict:
    run = [sys.executable, str(RANKS), str(out)]
    if processes > 1:
        run[1:1] = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(run, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def test_two_processes_equal_one(tmp_path):
    one, two = (train(tmp_path / f"{n}.json", n) for n in (1, 2))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name]["table"], one[name]["table"], rtol=0, atol=1e-12)
        for a, b in zip(one[name]["records"], two[name]["records"], strict=True):
            assert a.keys() == b.keys()
            for key, value in a.items():
                assert b[key] == (pytest.approx(value, rel=1e-9) if key != "split" else value)
