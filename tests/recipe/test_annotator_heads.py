"""Annotators that nobody named, found by the heads of a reward model."""

import json
import random

import pytest
import torch

from luce.data.pack import micro_batches
from luce.data.template import Renderer
from luce.diagnostics import calibration
from luce.errors import RecipeError
from luce.intervals import bootstrap
from luce.models.reward import load_reward_model
from luce.objectives import Mixture, make_objective
from luce.recipe.load import load_recipe
from luce.recipe.prepare import check_fit
from luce.recipe.run import train_run
from luce.train.batch import collate
from luce.train.learners import RewardLearner
from luce.types import Group, Place, Preference

SHARE = 0.4
"""Of the annotators who look for `plus`; the others look for `star`."""


def world(n: int, seed: int) -> tuple[list[dict], list[int]]:
    """Pairs, each judged by one of two tastes, and by which; a tie is a coin."""
    draw = random.Random(seed)
    rows, who = [], []
    while len(rows) < n:
        sides = [[draw.random() < 0.5 for _ in range(2)] for _ in range(2)]
        if sides[0] == sides[1]:
            continue
        annotator = 0 if draw.random() < SHARE else 1
        apart = sides[0][annotator] - sides[1][annotator]
        first = apart > 0 if apart else draw.random() < 0.5
        texts = [
            f"{'plus' if plus else 'none'} {'star' if star else 'none'}" for plus, star in sides
        ]
        chosen, rejected = texts if first else texts[::-1]
        rows.append({"prompt": "which", "chosen": chosen, "rejected": rejected})
        who.append(annotator)
    return rows, who


def groups_of(rows: list[dict], renderer: Renderer) -> list[Group]:
    return [
        renderer.group(Preference(**row, place=Place("x", i), id=str(i)))
        for i, row in enumerate(rows)
    ]


@pytest.fixture
def tastes(recipe, tmp_path):
    rows, _ = world(900, 0)
    (tmp_path / "tastes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe["data"] = {"path": str(tmp_path / "tastes.jsonl"), "eval": None}
    recipe["model"] |= {"kind": "reward"}
    recipe["train"] |= {
        "batch_size": 64,
        "max_steps": 140,
        "learning_rate": 3e-3,
        "save_steps": 500,
    }
    return recipe


def judged(folder, objective, rows):
    """The mixture's margins on rows, and who judged each according to it."""
    model = load_reward_model(str(folder / "model"))
    learner, groups = RewardLearner(model), groups_of(rows, Renderer(model.tokenizer))
    margins, shares = {}, {}
    with torch.no_grad():
        for part in micro_batches(groups, 4096):
            chosen = [groups[i] for i in part]
            batch = collate(learner.respond(chosen), chosen, "pair")
            found = objective.margin(batch)
            margins |= dict(zip(part, found.tolist(), strict=True))
            if isinstance(objective, Mixture):
                shares |= dict(zip(part, objective.responsibilities(batch).tolist(), strict=True))
    order = range(len(rows))
    return model, [margins[i] for i in order], [shares.get(i) for i in order]


@pytest.mark.slow
def test_two_tastes_are_found_with_their_shares(tastes, tmp_path):
    rows, who = world(600, 1)
    tastes["objective"] = {"mixture": {"K": 2, "of": "reward"}}
    mixture = make_objective("mixture", {"K": 2, "of": "reward"})
    model, margins, shares = judged(train_run(tastes), mixture, rows)
    weights = sorted(model.weights.tolist())
    assert model.heads == 2 and weights == pytest.approx([SHARE, 1 - SHARE], abs=0.07)

    tastes["objective"], tastes["output_dir"] = "bradley_terry", str(tmp_path / "single")
    _, alone, _ = judged(train_run(tastes), make_objective("bradley_terry", {}), rows)
    gain = torch.nn.functional.softplus(-torch.tensor(alone))
    gain -= torch.nn.functional.softplus(-torch.tensor(margins))
    better = bootstrap(lambda i: float(gain[torch.as_tensor(i)].mean()), len(rows))
    assert better.low > 0
    assert calibration(margins, resamples=2).nll.value < calibration(alone, resamples=2).nll.value

    first = 0 if model.weights[0] < model.weights[1] else 1
    apart = [i for i, row in enumerate(rows) if tells(row)]
    right = [(shares[i][first] > 0.5) == (who[i] == 0) for i in apart]
    assert len(apart) > 50 and sum(right) / len(right) > 0.8


def tells(row: dict) -> bool:
    """Whether the two tastes disagree on the pair."""
    a, b = [(word in row["chosen"]) - (word in row["rejected"]) for word in ("plus", "star")]
    return a * b < 0


def test_a_mixture_of_policies_is_not_trained_by_a_recipe(tastes):
    for objective, kind in (("mixture", "policy"), ({"mixture": {"of": "reward"}}, "policy")):
        tastes["objective"], tastes["model"]["kind"] = objective, kind
        resolved = load_recipe(tastes)
        with pytest.raises(RecipeError, match="reward"):
            check_fit(resolved.recipe, resolved.objective)
