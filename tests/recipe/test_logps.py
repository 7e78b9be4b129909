import json

import pytest

from luce.cli.main import run


@pytest.fixture
def recipe(tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"say {n}", "chosen": f"{n}", "rejected": "no"} for n in range(8)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = f"model: {tiny_model_dir}\ndata: {{path: pairs.jsonl, eval: 0.25}}\nobjective: dpo\n"
    (tmp_path / "r.yaml").write_text(text)
    return tmp_path / "r.yaml"


def test_the_cache_holds_every_response_and_is_read_again(recipe, capsys):
    assert run(["logps", "r.yaml", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["groups"], made["kind"], made["folder"]) == (8, "initial", "runs/r/reference")
    assert made["responses"] == 16
    files = {p: p.stat().st_mtime_ns for p in recipe.parent.glob("runs/r/reference/**/*.*")}
    assert files
    assert run(["logps", "r.yaml"]) == 0
    assert {p: p.stat().st_mtime_ns for p in files} == files


def test_an_objective_without_a_reference_has_nothing_to_compute(recipe, capsys):
    assert run(["logps", "r.yaml", "objective=simpo"]) == 2
    assert "uses no reference" in capsys.readouterr().err
