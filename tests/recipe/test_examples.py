from pathlib import Path

import pytest

from luce.errors import RecipeError
from luce.recipe.load import load_recipe
from luce.recipe.online_loop import check_online
from luce.recipe.prepare import check_fit

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


def test_there_are_examples():
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_recipe_is_a_recipe(path):
    resolved = load_recipe(path)
    assert resolved.recipe.name == path.stem
    if resolved.recipe.online is not None:
        check_online(resolved)
        with pytest.raises(RecipeError, match="luce online"):
            check_fit(resolved.recipe, load_recipe(EXAMPLES[0]).objective)
    else:
        check_fit(resolved.recipe, resolved.objective)
