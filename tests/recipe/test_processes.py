"""`luce train` under torchrun: two processes leave what one leaves, up to rounding."""

import json
import os
import subprocess
import sys

import pytest


def launch(recipe, *more: str, processes: int = 1):
    command = [sys.executable, "-m", "luce", "train", str(recipe), *more]
    if processes > 1:
        options = ["--standalone", f"--nproc-per-node={processes}"]
        command[1:1] = ["-m", "torch.distributed.run", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_run_on_two_processes_equals_a_run_on_one(recipe, tmp_path):
    recipe["train"] |= {"batch_size": 5}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    one, two = tmp_path / "one", tmp_path / "two"
    launch(path, f"output_dir={one}")
    launch(path, f"output_dir={two}", processes=2)
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
