"""Runs of reinforcement learning from a recipe."""

import json

import pytest

from luce.errors import RecipeError
from luce.recipe.load import load_recipe
from luce.recipe.online_rl import rl_run

SCORER = '''
def vowels(prompt, responses):
    """The share of vowels."""
    return [sum(c in "aeiou" for c in r) / max(1, len(r)) for r in responses]
'''


@pytest.fixture
def recipe(recipe, tmp_path, monkeypatch) -> dict:
    (tmp_path / "rules.py").write_text(SCORER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe["objective"] = {"rloo": {"beta": 0.01}}
    recipe["online"] = {
        "rounds": 3, "prompts_per_round": 6, "n": 4, "max_new_tokens": 8,
        "annotator": "rules:vowels", "block": 4,
    }  # fmt: skip
    recipe["train"] = {"learning_rate": 0.01, "batch_size": 3, "save_steps": 2}
    return recipe


def run(recipe, **options):
    return rl_run(load_recipe(recipe), **options)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_what_runs_leave(recipe):
    folder = run(recipe)
    left = {p.name for p in folder.iterdir()}
    assert left >= {
        "model", "recipe.yaml", "manifest.json", "metrics.jsonl", "timing.jsonl", "rounds.jsonl",
        "samples.jsonl", "evaluation.json", "report.html", "README.md", "prompts.jsonl", "rounds",
    }  # fmt: skip
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["steps"] == 6
    steps = lines(folder / "metrics.jsonl")
    assert [r["step"] for r in steps] == [1, 2, 3, 4, 5, 6]
    assert [r["round"] for r in steps] == [1, 1, 2, 2, 3, 3]
