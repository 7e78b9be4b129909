"""What evaluation.json says of held-out pairs besides their accuracy."""

import json

import pytest

from luce.recipe.run import train_run


def test_a_reward_model_stands_beside_what_needs_no_model(recipe):
    recipe["model"] |= {"kind": "reward"}
    recipe["objective"] = "bradley_terry"
    recipe["train"] |= {"max_steps": 2}
    folder = train_run(recipe)
    found = json.loads((folder / "evaluation.json").read_text())
    n = found["held_out"]["n"]
    assert found["calibration"]["n"] == found["length_dependence"]["n"] == n > 0
    assert found["calibration"]["verdict"] and found["calibration"]["nll"] > 0
    length, words = found["baselines"].values()
    assert set(found["baselines"]) & {"longer wins", "shorter wins"}
    for entry in (length, words):
        assert entry["n"] == n and entry["accuracy_low"] <= entry["accuracy"]
        accuracy = found["held_out"]["accuracy"] - entry["accuracy"]
        assert abs(accuracy - entry["gain"]) < 1e-9
    assert "Rules that need no model" in (folder / "report.html").read_text()


def test_a_margin_that_is_no_log_odds_is_not_called_one(recipe):
    recipe["objective"] = "ipo"
    recipe["train"] |= {"max_steps": 1}
    found = json.loads((train_run(recipe) / "evaluation.json").read_text())
    assert found["calibration"] is None and found["length_dependence"]["n"] > 0


@pytest.mark.parametrize(
    ("objective", "row"),
    [
        ("dpo", {"chosen": "yes", "rejected": "no"}),
        ("kto", {"completion": "yes", "label": True}),
        ("plackett_luce", {"responses": ["a", "b", "c"], "scores": [1, 3, 2]}),
        ("sft", {"completion": "yes"}),
    ],
)
def test_every_held_out_row_is_listed_whatever_it_is(recipe, tmp_path, objective, row):
    """Listed and trained-on lines are all of the file."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"say {i}"} | row) + "\n" for i in range(12)))
    recipe["data"] = {"path": str(path), "eval": 0.25, "max_length": 128}
    recipe["objective"] = objective
    recipe["train"] |= {"max_steps": 1}
    folder = train_run(recipe)
    lines = [json.loads(x) for x in (folder / "held_out.jsonl").read_text().splitlines()]
    evaluated = json.loads((folder / "manifest.json").read_text())["data"]["eval"]
    assert len(lines) == evaluated["groups"] == 3
    assert {line["file"] for line in lines} == {str(path)}
    assert len({(line["line"], line["prompt"]) for line in lines}) == 3
    assert all(("margin" in line) == (objective == "dpo") for line in lines)
    assert (folder / "report.html").exists()
