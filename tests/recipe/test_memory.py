"""The memory that training takes: what is said before, against what is seen."""

import pytest

from luce.data.pack import pack
from luce.models.footprint import Peak
from luce.models.reference import compute_reference, open_reference
from luce.recipe import memory
from luce.recipe.check import check, memory_lines
from luce.recipe.load import load_recipe
from luce.recipe.memory import MemoryEstimate, resident_bytes
from luce.recipe.prepare import open_recipe, train_settings
from luce.recipe.run import train_command
from luce.train.learners import PolicyLearner
from luce.train.trainer import Trainer

SETTINGS = {
    "all weights": {},
    "an adapter": {"model": {"lora": {"r": 4}}},
    "checkpointed": {"train": {"gradient_checkpointing": True}},
    "mixed precision": {"train": {"bf16": True}},
    "many micro-batches": {"train": {"max_tokens_per_batch": 200}},
    "further columns": {"objective": "wpo"},
}


def changed(recipe: dict, settings: dict) -> dict:
    return recipe | {
        key: {**recipe[key], **value} if isinstance(value, dict) else value
        for key, value in settings.items()
    }


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_what_is_said_is_what_is_seen(recipe, settings, tmp_path):
    """Within a quarter. Every step takes all rows that there are."""
    recipe["train"] |= {"batch_size": 32, "max_steps": 3}
    resolved = load_recipe(changed(recipe, settings))
    said = check(resolved).memory
    model, _, data = open_recipe(resolved)
    assert len(data.train) == 32 and said.how == ""
    objective = resolved.objective
    reference = open_reference("initial", model)
    assert reference is not None
    cache = compute_reference(reference, data.train, pack, tmp_path / "reference")
    learner = PolicyLearner(model, cache, needs=objective.needs)
    trainer = Trainer(learner, objective, data.train, train_settings(resolved.recipe))
    with Peak([*model.module.parameters(), *model.module.buffers()]) as seen:
        assert len(list(trainer.steps())) == 3
    assert said.optimizer + said.step == pytest.approx(seen.peak, rel=0.25)


def test_what_takes_less_is_said_to_take_less(recipe):
    recipe["train"] |= {"batch_size": 32}
    steps = {
        name: check(load_recipe(changed(recipe, settings))).memory
        for name, settings in SETTINGS.items()
    }
    whole = steps["all weights"]
    assert steps["checkpointed"].step < whole.step
    assert steps["many micro-batches"].step < whole.step
    assert steps["an adapter"].optimizer < whole.optimizer / 2
    assert whole.optimizer == 2 * whole.weights


def test_a_network_that_looks_at_its_numbers_is_put_at_a_formula(recipe, monkeypatch):
    def refuse(model, run):
        raise RuntimeError("the routing depends on the numbers\nand more")

    recipe["train"] |= {"batch_size": 32}
    ran = check(load_recipe(recipe)).memory
    monkeypatch.setattr(memory, "peak_bytes", refuse)
    plain = check(load_recipe(recipe)).memory
    assert plain.how == "RuntimeError: the routing depends on the numbers"
    assert memory_lines(plain)[-1] == f"  by a formula: {plain.how}"
    assert plain.step == pytest.approx(ran.step, rel=1.0)
    checkpointed = check(load_recipe(changed(recipe, SETTINGS["checkpointed"]))).memory
    assert checkpointed.step < plain.step


def test_a_reward_model_has_a_step_too(recipe):
    recipe |= {"objective": "bradley_terry", "reference": "none"}
    recipe["model"] |= {"kind": "reward"}
    found = check(load_recipe(recipe)).memory
    assert found.how == "" and found.step > found.weights


def test_the_parts_add_up():
    found = MemoryEstimate(weights=1, optimizer=2, step=5, saving=4, reference=8, program=16)
    assert found.total == 1 + 2 + 5 + 8 + 16
    assert [part for part, _ in found.lines()] == [
        "weights", "optimizer", "step", "reference", "program", "total"
    ]  # fmt: skip
    written = MemoryEstimate(weights=1, optimizer=2, step=5, saving=6)
    assert written.total == 1 + 2 + 6
    assert [part for part, _ in written.lines()] == ["weights", "optimizer", "saving", "total"]


def test_the_program_itself_is_counted_on_a_cpu(recipe):
    found = check(load_recipe(recipe)).memory
    assert found.program > 50 * 2**20
    assert found.program == pytest.approx(resident_bytes(), rel=0.25)


def test_a_dry_run_says_the_memory(recipe, tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"model: {recipe['model']['path']}\ndata: {recipe['data']['path']}\n"
        f"output_dir: {tmp_path / 'run'}\nobjective: dpo\n"
    )
    train_command(str(path), (), dry_run=True)
    shown = capsys.readouterr()
    assert "objective:" in shown.out and "memory of" not in shown.out
    assert shown.err.splitlines()[0] == "memory of training at its highest, estimated:"
    assert shown.err.splitlines()[-1].endswith("total")
    assert not (tmp_path / "run").exists()
