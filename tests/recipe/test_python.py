from pathlib import Path

import pytest

import luce
from luce.errors import RecipeError
from luce.recipe.load import load_recipe
from luce.recipe.provenance import dump_resolved
from luce.recipe.python import flat_keywords, python_recipe


def test_keywords_go_to_their_sections():
    recipe = python_recipe(
        model=Path("m"), data="d", objective="dpo", learning_rate=1e-4, lora={"r": 4}, eval=None
    ).recipe
    assert (recipe.model.path, recipe.train.learning_rate, recipe.data.eval) == ("m", 1e-4, None)
    assert recipe.model.lora is not None and recipe.model.lora.r == 4


def test_an_objective_object_keeps_its_name_and_parameters():
    resolved = python_recipe(model="m", data="d", objective=luce.simpo(gamma_beta_ratio=0.25))
    assert resolved.recipe.objective.name == "simpo"
    assert resolved.recipe.objective.parameters == {"beta": 2.0, "gamma": 0.5}
    assert resolved.provenance["objective.simpo.gamma"] == "python"


def test_a_composed_objective_is_used_as_it_is_and_its_recipe_says_so(tmp_path):
    mine = luce.Objective(
        score=luce.mean_log_ratio(beta=2.0), loss=luce.LOSSES["savage"], target_margin=0.5
    )
    resolved = python_recipe(model="m", data="d", objective=mine)
    assert resolved.objective is mine
    assert resolved.recipe.objective.parameters == {"formula": mine.formula}
    (tmp_path / "recipe.yaml").write_text(dump_resolved(resolved))
    with pytest.raises(RecipeError, match="composed in Python"):
        load_recipe(tmp_path / "recipe.yaml")


def test_an_objective_that_borrows_a_presets_name_is_not_taken_for_it():
    mine = luce.Objective(
        score=luce.log_ratio(0.1),
        loss=luce.LOSSES["savage"],
        name="dpo",
        parameters={"beta": 0.1},
    )
    resolved = python_recipe(model="m", data="d", objective=mine)
    assert resolved.recipe.objective.name == "composed" and resolved.objective is mine


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"lr": 1}, "no keyword 'lr'. Did you mean 'learning_rate'"),
        ({"learnin_rate": 1}, "no keyword 'learnin_rate'. Did you mean 'learning_rate'"),
        ({"model_name_or_path": "m"}, "Did you mean 'model'"),
        ({"batch_size": 1.5}, "recipe.train.batch_size: expected int, got 1.5"),
        ({"model": 3}, "luce.train: model: expected a path, a name or a mapping, got int"),
        ({"seed": 1, "train": {"seed": 2}}, "'seed' is given twice, also in 'train'"),
        ({"objective": 3}, "recipe.objective: expected a name"),
    ],
)
def test_an_error_names_the_keyword(keywords, message):
    with pytest.raises(RecipeError, match=message):
        python_recipe(**({"model": "m", "data": "d", "objective": "dpo"} | keywords))


def test_a_key_that_two_sections_have_is_no_keyword():
    assert "path" not in flat_keywords()
    assert flat_keywords()["max_length"] == "data.max_length"
