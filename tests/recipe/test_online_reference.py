"""A reference that is the network in training, asked in the step."""

import json
import shutil

import numpy as np
import pytest
from rich.console import Console

from luce.models.reference import ReferenceCache
from luce.recipe.logps import build_cache
from luce.recipe.run import train_run


@pytest.fixture
def adapted(recipe) -> dict:
    """32 rows for training, seen once."""
    recipe["model"] |= {"lora": {"r": 4}}
    recipe["train"] |= {"batch_size": 4, "max_steps": 8, "save_steps": 3}
    return recipe


def losses(folder) -> list[float]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [r["loss"] for r in records if r["split"] == "train"]


def cached(folder) -> int:
    kept = json.loads((folder / "reference" / "identity.json").read_text())
    return len(ReferenceCache(folder / "reference", kept["reference"], kept["dtype"]))


@pytest.mark.parametrize("reference", ["initial", "base"])
def test_rows_that_are_seen_once_are_not_cached_and_cost_the_same(adapted, tmp_path, reference):
    adapted |= {"reference": reference}
    once = train_run({**adapted, "output_dir": str(tmp_path / "once")})
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps({**adapted, "output_dir": str(tmp_path / "before")}))
    build_cache(str(path), [], Console(quiet=True))
    before = train_run(path)
    assert cached(once) == 2 * 8 and cached(before) == 2 * 40
    np.testing.assert_allclose(losses(once), losses(before), rtol=0, atol=1e-5)
    assert len(set(losses(once))) == 8


def test_rows_that_are_seen_again_are_cached(adapted):
    adapted["train"] |= {"max_steps": 9}
    assert cached(train_run(adapted)) == 2 * 40


def test_weights_that_are_trained_are_no_reference(recipe):
    recipe["train"] |= {"batch_size": 4, "max_steps": 8}
    assert cached(train_run(recipe)) == 2 * 40


def test_a_resumed_run_asks_again_and_gets_the_same_bits(adapted):
    adapted["train"] |= {"save_total_limit": 9}
    folder = train_run(adapted)
    before = (folder / "metrics.jsonl").read_bytes()
    weights = (folder / "model" / "adapter_model.safetensors").read_bytes()
    for step in (6, 8):
        shutil.rmtree(folder / "checkpoints" / f"step-{step:08d}")
    train_run(adapted, resume=True)
    assert cached(folder) == 2 * 8
    assert (folder / "metrics.jsonl").read_bytes() == before
    assert (folder / "model" / "adapter_model.safetensors").read_bytes() == weights
