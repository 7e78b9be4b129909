"""A small set of judged pairs and the recipe of a run on it."""

import json
import random
from pathlib import Path

import pytest

WORDS = "the cat sat on a mat and saw the dog run to its red house by the sea".split()


def write_pairs(path: Path, n: int, seed: int = 0) -> Path:
    """Pairs whose chosen response ends politely; every prompt is another one."""
    draw = random.Random(seed)
    with open(path, "w") as stream:
        for i in range(n):
            text = " ".join(draw.choices(WORDS, k=draw.randint(2, 7)))
            row = {
                "prompt": f"say {i} {' '.join(draw.choices(WORDS, k=draw.randint(1, 6)))}",
                "chosen": f"{text} thanks",
                "rejected": " ".join(draw.choices(WORDS, k=draw.randint(2, 9))),
            }
            stream.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def pairs(tmp_path) -> Path:
    return write_pairs(tmp_path / "pairs.jsonl", 40)


@pytest.fixture
def recipe(tmp_path, pairs, tiny_model_dir) -> dict:
    """A recipe that trains in a second or two."""
    return {
        "name": "small",
        "output_dir": str(tmp_path / "run"),
        "model": {"path": str(tiny_model_dir)},
        "data": {"path": str(pairs), "eval": 0.2, "max_length": 128},
        "objective": {"dpo": {"beta": 0.5}},
        "train": {"learning_rate": 0.002, "batch_size": 4, "save_steps": 2, "max_steps": 6},
        "evaluate": {"sample_prompts": 4, "max_new_tokens": 8},
    }
