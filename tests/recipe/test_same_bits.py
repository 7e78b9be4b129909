"""The same recipe and seed give the same bits: every objective, every kind of model, every method
of reinforcement learning, and every file in recipes/. Twice in a process whose own random numbers
differ, and in processes that order their sets differently.

Of what goes the same ways through the program (objectives of one class, structure, scope and needs;
methods with a critic, and without; recipes of one such family and kind of model) the first is tried
by default, the others with `-m slow`.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from luce.objectives import OBJECTIVES, Objective, make_objective
from luce.online.rl import METHODS, Ppo
from luce.recipe.load import Resolved, load_recipe, read_recipe, written
from luce.recipe.manifest import recipe_fingerprint
from luce.recipe.online import online_run
from luce.recipe.run import train_run
from luce.recipe.schema import DiagnosticName, Model

from .stand_ins import SMALL, differences, left, stand_in, write_rows

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))
ADAPTER = {"r": 2, "alpha": 4.0, "dropout": 0.2}


def family(name: str) -> Any:
    """What decides which ways of the program an objective, or a method, takes."""
    if name in METHODS:
        return "critic" if METHODS[name] is Ppo else "no critic"
    made = make_objective(name, {})
    return made.structure, made.scope, "reward" in made.needs


def family_of_recipe(path: Path) -> Any:
    recipe = read_recipe(path)[0]
    return recipe.online is not None, recipe.model.kind


def firsts(items: Iterable[Any], family: Callable[[Any], Any]) -> list[Any]:
    """Parameters of a test; all but the first of each family are slow."""
    every, seen = [], set()
    for item in items:
        known = family(item) in seen
        seen.add(family(item))
        name = item.stem if isinstance(item, Path) else item
        every.append(pytest.param(item, id=name, marks=[pytest.mark.slow] if known else []))
    return every


def kinds_of_models() -> dict[str, dict[str, Any]]:
    """Every way to train something else than a policy on log-probabilities."""
    reward: dict[str, Any] = {"kind": "reward", "lora": ADAPTER}
    annotators = [a for a in get_args(Model.model_fields["annotators"].annotation) if a]
    annotators = [a for kinds in annotators for a in get_args(kinds)]
    found = {f"annotators-{a}": {"model": reward | {"annotators": a}} for a in annotators}
    for how in get_args(Model.model_fields["pairwise"].annotation):
        model = {"kind": "pairwise", "pairwise": how, "lora": ADAPTER}
        found[f"pairwise-{how}"] = {"model": model}
    found["ensemble"] = {"model": reward | {"ensemble": 2}}
    mixture = {"mixture": {"K": 2, "of": "reward"}}
    return found | {"mixture-of-rewards": {"model": reward, "objective": mixture}}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> None:
    """Rows in the current folder; no pages, which are drawn from files that are compared."""
    write_rows(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for room in ("run", "online_rl"):
        for page in ("write_report", "write_card"):
            monkeypatch.setattr(f"luce.recipe.{room}.{page}", lambda folder: None)
    monkeypatch.setattr("luce.report.online_page.write_online_report", lambda folder: None)


def small_tree(weights: Path, objective: Any, rows: str) -> dict[str, Any]:
    return {
        "name": "small",
        "output_dir": "run",
        "model": {"path": str(weights), "lora": ADAPTER},
        "data": {"path": f"{rows}.jsonl"},
        "objective": objective,
        "diagnose": [],
    }


def small(weights: Path, objective: Any, rows: str = "pair", **sections: Any) -> Resolved:
    tree = small_tree(weights, objective, rows) | sections
    tree["model"] = {"path": str(weights)} | tree["model"]
    return load_recipe(tree, [*SMALL, "evaluate.sample_prompts=0"])


def twice(resolved: Resolved, run: Callable[..., Path] = train_run) -> list[str]:
    """What differs between two runs of the same recipe into the same folder."""
    found = []
    for number in range(2):
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)
        folder = Path(run(resolved))
        found.append(left(folder))
        assert {"manifest.json", "model/tokenizer.json"} <= found[0].keys()
        folder.rename(f"{folder.name}-{number}")
    return differences(*found)


@pytest.mark.parametrize("name", firsts(OBJECTIVES, family))
def test_every_objective_gives_the_same_bits(name, tiny_model_dir):
    made = make_objective(name, {})
    given: dict[str, Any] = {}
    if "reward" in made.needs:
        given["model"] = {"kind": "reward", "lora": ADAPTER}
    if "history" in made.needs:
        given["history"] = "initial"
    assert twice(small(tiny_model_dir, name, made.structure, **given)) == []


@pytest.mark.parametrize("kind", firsts(kinds_of_models(), lambda kind: kind.split("-")[0]))
def test_every_kind_of_model_gives_the_same_bits(kind, tiny_model_dir):
    given = {"objective": "bradley_terry", "rows": "judged"} | kinds_of_models()[kind]
    assert twice(small(tiny_model_dir, **given)) == []


def learning(model: Path, objective: Any) -> Resolved:
    """Two rounds of an online recipe."""
    online = {"rounds": 2, "prompts_per_round": 4, "n": 2, "max_new_tokens": 6, "block": 2}
    online |= {"annotator": "grader:residue"}
    return small(model, objective, "prompts", online=online)


@pytest.mark.parametrize("name", firsts(METHODS, family))
def test_every_method_of_reinforcement_learning_gives_the_same_bits(name, tiny_model_dir):
    assert twice(learning(tiny_model_dir, name), online_run) == []


@pytest.mark.parametrize("path", firsts(RECIPES, family_of_recipe))
def test_every_recipe_of_the_repository_gives_the_same_bits(path, tiny_model_dir):
    resolved = stand_in(path, Path("run"), tiny_model_dir)
    run = train_run if resolved.recipe.online is None else online_run
    assert twice(resolved, run) == []


def test_what_is_diagnosed_changes_no_bit_and_not_whether_a_run_goes_on(tiny_model_dir):
    found, plans = [], []
    for asked in ([], list(get_args(DiagnosticName))):
        sections = {"diagnose": asked, "evaluate": {"sample_prompts": 2, "max_new_tokens": 6}}
        resolved = load_recipe(small_tree(tiny_model_dir, "dpo", "judged") | sections, SMALL)
        folder = train_run(resolved)
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        files = left(folder)
        steps = [line for line in lines if '"split": "train"' in line]
        found.append((steps, files["model/adapter_model.safetensors"], files["samples.jsonl"]))
        plans.append(recipe_fingerprint(written(resolved.recipe)))
        folder.rename(f"run-{len(asked)}")
    assert found[0] == found[1] and len(found[0][0]) == 3
    assert plans[0] == plans[1]


CHILD = """
import json, os, sys
sys.path.insert(0, os.getcwd())
from pathlib import Path
from luce.cli.main import run
for verb, recipe in json.load(sys.stdin):
    Path("recipe.yaml").write_text(json.dumps(recipe))
    code = run([verb, "recipe.yaml"])
    assert code == 0, (verb, code)
"""


@pytest.mark.slow
def test_another_order_of_sets_gives_the_same_bits(tiny_model_dir, tmp_path):
    """Python draws an order of sets for each process."""
    mixture = {"mixture": {"K": 2, "of": "reward"}}
    pages = {"evaluate": {"sample_prompts": 2, "max_new_tokens": 6}}
    reward = {"model": {"path": str(tiny_model_dir), "kind": "reward"}, "objective": mixture}
    online = {"rounds": 1, "n": 2, "max_new_tokens": 6, "annotator": "grader:residue"}
    base = {
        "name": "small",
        "model": {"path": str(tiny_model_dir), "lora": ADAPTER},
        "objective": {"dpo": {}},
        "data": {"path": "pair.jsonl", "eval": 0.25},
        "train": {"batch_size": 4, "max_steps": 3, "learning_rate": 0.01},
    } | pages
    jobs = [
        ("train", base | {"output_dir": "dpo"}),
        ("train", base | reward | {"output_dir": "mixture", "data": {"path": "judged.jsonl"}}),
        ("online", base | {"output_dir": "online", "online": online, "data": "prompts.jsonl"}),
    ]
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        write_rows(folder)
        done = subprocess.run(
            [sys.executable, "-c", CHILD], input=json.dumps(jobs), text=True, cwd=folder,
            capture_output=True, timeout=600,
            env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(left(folder))
    assert differences(*found) == [] and len(found[0]) > 40


@pytest.mark.parametrize("plant", ["counter", "draw"])
def test_an_objective_that_does_not_repeat_itself_is_found(plant, tiny_model_dir, monkeypatch):
    """The check of this file fails where it should: one cost looks at how often the process has
    asked for it, another draws without a seed."""
    asked, draws = [0], np.random.default_rng()
    plain = Objective.__call__

    def planted(self, batch):
        asked[0] += 1
        off = 1e-3 * asked[0] if plant == "counter" else float(draws.uniform(0, 1e-3))
        return plain(self, batch) * (1 + off)

    monkeypatch.setattr(Objective, "__call__", planted)
    found = twice(small(tiny_model_dir, "simpo"))
    assert {"metrics.jsonl", "model/adapter_model.safetensors"} <= set(found)
