"""`kill -9` at random instants of a whole run, from the loading of the model to the last file: the
resumed run leaves the bytes of one that was never disturbed. Policies, reward models, online rounds
and reinforcement learning; see `lives.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .stand_ins import write_rows

ADAPTER = {"r": 2, "alpha": 4.0, "dropout": 0.2}
TRAIN = {"learning_rate": 0.01, "batch_size": 4, "max_tokens_per_batch": 120, "save_steps": 2}
ONLINE = {
    "rounds": 2, "prompts_per_round": 6, "n": 3, "max_new_tokens": 6, "block": 2,
    "annotator": "grader:residue",
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "policy": {
        "objective": "dpo",
        "train": TRAIN | {"max_steps": 10, "eval_steps": 4},
        "evaluate": {"sample_prompts": 2, "max_new_tokens": 6, "sample_steps": 4},
    },
    "reward": {
        "model": {"kind": "reward", "annotators": "offsets", "lora": ADAPTER},
        "data": "judged.jsonl",
        "objective": "bradley_terry",
        "train": TRAIN | {"max_steps": 10, "eval_steps": 4},
    },
    "online": {
        "data": "prompts.jsonl",
        "objective": "dpo",
        "train": TRAIN | {"max_steps": 4},
        "online": ONLINE | {"gold": "grader:residue"},
    },
    "ppo": {
        "data": "prompts.jsonl",
        "objective": "ppo",
        "train": TRAIN | {"batch_size": 3},
        "online": ONLINE,
    },
}


def recipe_of(kind: str, model: Path) -> dict[str, Any]:
    given = KINDS[kind]
    recipe = {
        "name": kind,
        "output_dir": "run",
        "data": "pair.jsonl",
        "evaluate": {"sample_prompts": 2, "max_new_tokens": 6},
        "diagnose": ["divergence", "saturation"],
    } | given
    recipe["model"] = {"path": str(model)} | given.get("model", {"lora": ADAPTER})
    recipe["data"] = {"path": recipe["data"], "eval": 0.25}
    return recipe


def killed(kinds: list[str], kills: int, model: Path, folder: Path) -> None:
    """Let `lives.py` kill runs of each kind so many times, and find nothing different."""
    write_rows(folder)
    jobs = [
        {
            "verb": "online" if "online" in KINDS[kind] else "train",
            "recipe": recipe_of(kind, model),
            "kills": kills,
            "seed": number,
        }
        for number, kind in enumerate(kinds)
    ]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("lives.py"))],
        input=json.dumps(jobs), text=True, cwd=folder, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    for kind, found in zip(kinds, json.loads(done.stdout.splitlines()[-1]), strict=True):
        print(f"{kind}: {len(found['kills'])} kills in {found['runs']} runs of "
              f"{found['lifetime']:.1f} s: {'; '.join(found['kills'])}")  # fmt: skip
        assert found["different"] == {}, found
        assert len(found["kills"]) == kills


@pytest.mark.slow
def test_runs_that_are_killed_now_and_then(tiny_model_dir, tmp_path):
    killed(["policy", "reward", "online"], 2, tiny_model_dir, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_runs_that_are_killed_at_20_instants(kind, tiny_model_dir, tmp_path):
    killed([kind], 20, tiny_model_dir, tmp_path)
