"""A short soak: what is killed ends as what is not."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_two_minutes(tmp_path) -> None:
    out = tmp_path / "soak"
    command = [sys.executable, "-m", "tests.soak", "--minutes", "2", "--out", str(out)]
    done = subprocess.run(
        [*command, "--only", "reward,annotate,sample"], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=3000,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    counts = Counter(event["event"] for event in events)
    assert counts["fault"] == 0 and counts["done"] == 1
    assert counts["kill"] >= 2 and counts["checked"] >= 1 and counts["step"] >= 10
    assert (out / "memory.jsonl").read_text().count("\n") > 20
