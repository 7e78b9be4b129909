import pytest

from luce.recipe.load import load_recipe
from luce.recipe.provenance import dump_resolved

PLAIN = {"model": "m", "data": "d.jsonl", "objective": "dpo"}


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["objective=simpo", "train.learning_rate=1e-6", "name=1e-6"],
        ["model.lora={r: 4, target_modules: [q_proj, v_proj]}", "data.columns.prompt=the question"],
        ["data.path=odd: #name", "data.eval=null", "reference=none", "train.max_steps=3"],
        ["data.columns={}", "objective=sft", "output_dir=~/runs/日本 語"],
        ["objective={simpo: {gamma_beta_ratio: 0.3}}"],
        ["objective={cpo: {nll: sum, alpha: 0}}"],
    ],
)
def test_a_written_recipe_reads_back_equal(tmp_path, overrides):
    resolved = load_recipe(PLAIN, overrides)
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_resolved(resolved), encoding="utf-8")
    again = load_recipe(path)
    assert again.recipe == resolved.recipe
    assert again.objective.parameters == resolved.objective.parameters
    assert "default" not in again.provenance.values()


def test_every_value_says_where_it_came_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("model: m\ndata: d\nobjective: dpo\ntrain: {seed: 4}\n")
    lines = dump_resolved(load_recipe("a.yaml", ["train.epochs=2.0"])).splitlines()
    assert "  seed: 4  # a.yaml:4" in lines
    assert "  epochs: 2.0  # command line" in lines
    assert "    beta: 0.1  # default" in lines
    assert all("  # " in line or line.endswith(":") for line in lines[1:])
