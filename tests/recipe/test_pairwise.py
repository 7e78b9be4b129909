"""A pairwise model can go in circles, and a reward model cannot."""

import json

import pytest

from luce.annotate import luce_choice
from luce.annotate.pairwise import pairwise_annotator
from luce.annotate.scorers import reward_scorer
from luce.data.ledger import RowError
from luce.data.ordered import ordered
from luce.data.template import Renderer
from luce.errors import RecipeError
from luce.models.reward import load_reward_model
from luce.recipe.load import load_recipe
from luce.recipe.prepare import check_fit
from luce.recipe.run import train_run
from luce.types import Comparison, Feedback, Place, Preference

CYCLE = (("rock", "scissors"), ("scissors", "paper"), ("paper", "rock"))
PROMPT = "Which hand wins?"


@pytest.fixture
def game(recipe, tmp_path):
    """A recipe of rock, paper, scissors: each beats one and loses to the other."""
    rows = [{"prompt": PROMPT, "chosen": a, "rejected": b} for a, b in CYCLE]
    (tmp_path / "game.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe["data"] = {"path": str(tmp_path / "game.jsonl"), "eval": str(tmp_path / "game.jsonl")}
    recipe["objective"] = "bradley_terry"
    recipe["train"] |= {"batch_size": 3, "max_steps": 80, "learning_rate": 3e-3, "save_steps": 500}
    return recipe


def trained(game, kind):
    game["model"] |= {"kind": kind}
    folder = train_run(game)
    model = load_reward_model(str(folder / "model"))
    return folder, model, Renderer(model.tokenizer)


def test_a_pairwise_model_learns_a_circle(game):
    folder, model, renderer = trained(game, "pairwise")
    annotator = pairwise_annotator(model, renderer)
    comparisons = [Comparison(PROMPT, a, b) for a, b in CYCLE]
    found = annotator(comparisons)
    assert min(found) > 0.9
    swapped = annotator([c.swap() for c in comparisons])
    assert [a + b for a, b in zip(found, swapped, strict=True)] == pytest.approx([1] * 3)
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["held_out"]["accuracy"] == 1 and evaluation["calibration"]["n"] == 3
    assert evaluation["baselines"] is None and evaluation["length_dependence"] is None
    assert "pairwise model" in (folder / "report.html").read_text()
    assert "pairwise preference model" in (folder / "README.md").read_text()


def test_a_reward_model_does_not(game):
    folder, model, renderer = trained(game, "reward")
    found = luce_choice(reward_scorer(model, renderer))(
        [Comparison(PROMPT, a, b) for a, b in CYCLE]
    )
    assert not all(p > 0.5 for p in found) and min(found) < 0.6
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["held_out"]["accuracy"] < 1


def test_both_responses_stand_in_both_texts():
    row = Preference(
        prompt=PROMPT,
        chosen=({"role": "assistant", "content": "rock"},),
        rejected="scissors",
        label=0.8,
        place=Place("a", 1),
        id="a",
    )
    made = ordered(row)
    assert made.chosen == "First response:\nrock\n\nSecond response:\nscissors"
    assert made.rejected == "First response:\nscissors\n\nSecond response:\nrock"
    assert (made.label, made.prompt, made.id) == (0.8, PROMPT, "a")


def test_rows_that_cannot_be_set_side_by_side_are_named():
    turns = tuple({"role": r, "content": "x"} for r in ("assistant", "user", "assistant"))
    row = Preference(prompt="p", chosen=turns, rejected="b", place=Place("a", 7), id="a")
    with pytest.raises(RowError, match=r"a:7: .*more than one turn"):
        ordered(row)
    with pytest.raises(RowError, match="a:7.*pairs"):
        ordered(Feedback(prompt="p", completion="c", label=True, place=Place("a", 7), id="a"))


@pytest.mark.parametrize("objective", ["dpo", "kto", "sft"])
def test_an_objective_that_a_pairwise_model_cannot_have(game, objective):
    game["model"] |= {"kind": "pairwise"}
    game["objective"] = objective
    resolved = load_recipe(game)
    with pytest.raises(RecipeError, match="bradley_terry"):
        check_fit(resolved.recipe, resolved.objective)
