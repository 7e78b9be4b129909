import json

import pytest

from luce.cli.main import run
from luce.objectives.losses import LOSSES
from luce.objectives.presets import OBJECTIVES
from luce.recipe.load import load_recipe
from luce.recipe.yaml12 import parse_yaml


@pytest.mark.parametrize("kind", ["objectives", "losses", "scores", "regularizers", "formats"])
def test_every_entry_of_a_table_has_a_line(capsys, kind):
    assert run(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and all(row["name"] and row["what"] for row in rows)
    assert run(["list", kind]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 1


def test_the_lists_are_the_tables(capsys):
    for kind, table in (("objectives", OBJECTIVES), ("losses", LOSSES)):
        run(["list", kind, "--json"])
        assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(table)


def test_without_a_kind_the_objectives_are_listed(capsys):
    run(["list"])
    assert "simpo" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_a_card_names_formula_and_source_and_its_recipe_line_works(capsys, name):
    assert run(["show", name, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["formula"] and card["source"] and card["text"]
    run(["show", name])
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("recipe "))
    written = parse_yaml(line.removeprefix("recipe").strip(), "card").value
    assert load_recipe({"model": "m", "data": "d"} | written).objective.name == name


def test_an_unknown_objective_is_named_with_the_nearest(capsys):
    assert run(["show", "smpo"]) == 2
    assert "Did you mean 'simpo'?" in capsys.readouterr().err
