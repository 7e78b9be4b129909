"""The example of docs/extending.md, from its code blocks to a finished run."""

import json
import re
import sys
from pathlib import Path

import pytest

from luce.cli.main import run
from luce.objectives import make_objective
from luce.objectives.conformance import check_objective
from luce.recipe.load import load_recipe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the files of the page, as the current one; its modules are forgotten after."""
    example, further, _ = blocks("python")
    (tmp_path / "mine.py").write_text(example, encoding="utf-8")
    (tmp_path / "further.py").write_text(further, encoding="utf-8")
    (recipe,) = blocks("yaml")
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    y = {"policy": [-1.0, -2.0], "reference": [-1.5, -2.5]}
    z = {"policy": [-3.0], "reference": [-2.0]}
    (tmp_path / "rows.jsonl").write_text(json.dumps({"chosen": y, "rejected": z}) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("mine", "further"):
        sys.modules.pop(name, None)


def test_the_example_has_ten_lines():
    assert len(blocks("python")[0].splitlines()) == 10


def test_the_commands_of_the_page_run_and_a_changed_file_is_not_resumed(
    here, pairs, tiny_model_dir, capsys
):
    small = [f"model={tiny_model_dir}", f"data={pairs}", "evaluate.sample_prompts=0"]
    check, cost, train = (
        line.removeprefix("$ luce ").split() for line in blocks("console")[0].splitlines()
    )
    assert run([*check, *small]) == 0, capsys.readouterr().err
    assert "mine:loss: loss(0.5·[log π/π_ref(chosen)" in capsys.readouterr().out

    assert run([*cost, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["margin"] == pytest.approx(0.5 * (1.0 + 1.0))
    assert row["cost"] == pytest.approx(1.3132616875)  # log(1 + e^(2 − 1))
    assert row["grad"]["rejected"] == pytest.approx([0.5 * 0.7310585786])

    assert run([*train, *small]) == 0, capsys.readouterr().err
    manifest = json.loads(Path("runs/recipe/manifest.json").read_text())
    assert manifest["steps"] == 2
    said = manifest["objective"]
    assert (said["name"], said["parameters"]) == ("mine:loss", {"beta": 0.5, "delta": 2.0})
    assert said["code"]["module"] == "mine" and said["code"]["file"] == "mine.py"
    assert len(said["code"]["sha256"]) == 64
    resolved = load_recipe("runs/recipe/recipe.yaml")
    assert resolved.objective.formula == said["formula"]

    capsys.readouterr()
    with open("mine.py", "a") as stream:
        stream.write("\nloss.changed = True\n")
    assert run([*train, *small, "--resume"]) == 2
    assert "this run has changed since: objective (code): " in capsys.readouterr().err
    changed = ["--allow-change", "objective (code)"]
    assert run([*train, *small, "--resume", *changed]) == 0


def test_what_the_page_shows_keeps_the_laws(here):
    for name in ("mine:loss", "further:objective", "further:score"):
        assert check_objective(make_objective(name, {})) == []


def test_a_recipe_names_it_on_the_command_line_too(here):
    names = ["objective=mine:loss", "objective.mine:loss.delta=3"]
    tree = {"model": "m", "data": "d", "objective": "dpo"}
    resolved = load_recipe(tree, names)
    assert resolved.recipe.objective.parameters == {"delta": 3.0, "beta": 0.1}
    assert resolved.provenance["objective.mine:loss.delta"] == "command line"
    assert resolved.provenance["objective.mine:loss.beta"] == "default"


def test_an_error_of_a_recipe_says_where_the_name_stands(here, capsys):
    Path("bad.yaml").write_text("model: m\ndata: d\nobjective:\n  mine:loss:\n    betta: 1\n")
    assert run(["train", "bad.yaml", "--dry-run"]) == 2
    message = "recipe.objective.mine:loss: no parameter 'betta'. Did you mean 'beta'?"
    assert f"{message} (bad.yaml:5)" in capsys.readouterr().err
    Path("bad.yaml").write_text("model: m\ndata: d\nobjective: mine:lost\n")
    assert run(["train", "bad.yaml", "--dry-run"]) == 2
    message = "recipe.objective: mine has no 'lost'. Did you mean 'loss'?"
    assert f"{message} (bad.yaml:3)" in capsys.readouterr().err


def test_what_is_raised_on_the_rows_of_a_file_is_named(here, capsys):
    code = "def loss(z):\n    if len(z) == 1:\n        raise ValueError('alone')\n    return -z\n"
    Path("mine.py").write_text(code)
    assert run(["cost", "rows.jsonl", "--objective", "mine:loss"]) == 2
    message = "objective.mine:loss: raised ValueError: alone (mine.py:3, in loss)"
    assert message in capsys.readouterr().err
