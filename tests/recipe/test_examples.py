from pathlib import Path

import pytest

from luce.recipe.load import load_recipe
from luce.recipe.prepare import check_fit

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


def test_there_are_examples():
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_recipe_is_a_recipe(path):
    resolved = load_recipe(path)
    assert resolved.recipe.name == path.stem
    check_fit(resolved.recipe, resolved.objective)
