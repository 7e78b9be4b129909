"""Every published objective trains from rows of its structure, whole: `luce train` on a tiny model.

Then what single ones need: a reference in memory, an earlier iterate, a grade of each response."""

import json
import math
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from luce.data.pack import pack
from luce.errors import DataError, LuceError, RecipeError
from luce.models.policy import load_policy
from luce.models.reference import ReferenceCache
from luce.objectives import OBJECTIVES, make_objective
from luce.recipe.check import check
from luce.recipe.load import load_recipe
from luce.recipe.logps import build_cache
from luce.recipe.prepare import open_recipe
from luce.recipe.reference import prepare_reference
from luce.recipe.run import train_run
from luce.train.distributed import World
from luce.train.learners import PolicyLearner
from luce.train.trainer import Trainer

from .conftest import WORDS

GRADED = {"score_chosen": 4.0, "score_rejected": 1.5, "reference_sample": "chosen"}


def words(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(2, 6)))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def graded(tmp_path) -> Path:
    draw = random.Random(1)
    return write(
        tmp_path / "graded.jsonl",
        [
            {"prompt": f"say {i}", "chosen": words(draw), "rejected": words(draw), **GRADED}
            for i in range(14)
        ],
    )


@pytest.fixture
def rankings(tmp_path) -> Path:
    draw = random.Random(2)
    return write(
        tmp_path / "rankings.jsonl",
        [
            {
                "prompt": f"say {i}",
                "responses": [words(draw) for _ in range(2 + i % 3)],
                "scores": [draw.randint(0, 3) for _ in range(1 + i % 3)] + [4],
            }
            for i in range(14)
        ],
    )


@pytest.fixture
def small(tmp_path, tiny_model_dir, graded) -> dict[str, Any]:
    return {
        "name": "small",
        "output_dir": str(tmp_path / "run"),
        "model": {"path": str(tiny_model_dir)},
        "data": {"path": str(graded), "eval": 0.2, "max_length": 64},
        "objective": "dpo",
        "train": {
            "learning_rate": 0.002,
            "batch_size": 4,
            "max_steps": 2,
            "max_tokens_per_batch": 80,
        },
        "evaluate": {"sample_prompts": 0},
    }


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def recipe_of(name: str, small: Mapping[str, Any], rankings: Path) -> dict[str, Any]:
    """The recipe of a run by this objective: data of its structure, and the models it asks for."""
    objective = make_objective(name, {})
    recipe = {**small, "objective": name}
    if objective.structure == "list":
        recipe["data"] = {**small["data"], "path": str(rankings)}
    if "reward" in objective.needs:
        recipe["model"] = {**small["model"], "kind": "reward"}
    if "history" in objective.needs:
        recipe["history"] = "initial"
    return recipe


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "mixture"])
def test_every_objective_trains(name, small, rankings):
    folder = train_run(recipe_of(name, small, rankings))
    found = records(folder)
    trained = [r for r in found if r["split"] == "train"]
    assert len(trained) == 2 and all(math.isfinite(r["loss"]) for r in trained)
    assert trained[0]["grad_norm"] > 0
    assert all(math.isfinite(r["eval_loss"]) for r in found if r["split"] == "eval")
    model = manifest(folder)["model"]
    assert model["hash"] != model["initial_hash"]


def test_a_mixture_is_refused_with_what_it_takes(small):
    with pytest.raises(
        RecipeError, match="'mixture' trains a policy for each .*or take `of: reward`"
    ):
        train_run({**small, "objective": "mixture"})


def test_a_mixture_of_rewards_trains_its_heads_and_their_shares(small):
    model = {**small["model"], "kind": "reward"}
    objective = {"mixture": {"K": 3, "of": "reward"}}
    folder = train_run({**small, "model": model, "objective": objective})
    trained = [r for r in records(folder) if r["split"] == "train"]
    assert all(math.isfinite(r["loss"]) and r["grad_norm"] > 0 for r in trained)
    config = json.loads((folder / "model" / "config.json").read_text())
    shares = config["reward_heads"]["numbers"]
    assert len(shares) == 3 and abs(sum(shares) - 1) < 1e-6 and len(set(shares)) == 3


def test_pairs_are_read_as_lists_of_two(small):
    """Of two responses, Plackett and Luce's model is Bradley and Terry's: what dpo costs."""
    small["train"] |= {"max_steps": 3}
    folders = [
        train_run({**small, "objective": {name: {"beta": 0.1}}, "output_dir": f"{folder}-{name}"})
        for folder in [small["output_dir"]]
        for name in ("plackett_luce", "dpo")
    ]
    lists, pairs = (
        [r["loss"] if r["split"] == "train" else r["eval_loss"] for r in records(folder)]
        for folder in folders
    )
    assert lists == pytest.approx(pairs, rel=1e-5)
    assert manifest(folders[0])["objective"]["structure"] == "list"
    assert "14 pair rows read as 14 list groups." in (folders[0] / "rows.jsonl").read_text()


def test_luce_check_shows_rankings_as_the_model_sees_them(small, rankings):
    findings = check(load_recipe(recipe_of("plackett_luce", small, rankings)))
    assert findings.violations == [] and findings.counts["groups"] == 14


@pytest.mark.parametrize("lora", [None, {"r": 4, "alpha": 8.0}], ids=["full", "lora"])
@pytest.mark.parametrize("reference", ["initial", "other"])
def test_kl_is_that_from_the_reference_at_every_step(
    small, rankings, tmp_path, tiny_model_dir, lora, reference
):
    """A reference in memory is not trained along: after some steps the column is KL(π_ref ‖ π)."""
    before = load_policy(str(tiny_model_dir))
    if reference == "other":
        for parameter in before.trainable().values():
            parameter.data.mul_(0.9)
        before.inner.save_pretrained(tmp_path / "other")
        before.tokenizer.save_pretrained(tmp_path / "other")
        small["reference"] = str(tmp_path / "other")
    if lora is not None:
        small["model"] = {**small["model"], "lora": lora}
    resolved = load_recipe(recipe_of("tdpo2", small, rankings))
    model, _, data = open_recipe(resolved)
    made = prepare_reference(
        resolved.recipe, resolved.objective, model, data, tmp_path / "run", World(), silent()
    )
    needs = resolved.objective.needs
    learner = PolicyLearner(model, made.cache, made.history, needs, made.resident, made.online)
    for parameter in model.trainable().values():
        parameter.data.add_(0.02)
    found = learner.respond(data.train[:5])
    assert set(found.columns) == {"kl"}
    with before.plain_attention(), model.plain_attention():
        expected = full_kl(before.inner, model.inner, data.train[:5])
    torch.testing.assert_close(found.columns["kl"], expected, rtol=1e-3, atol=1e-5)
    assert float(expected.max()) > 1e-3 and found.columns["kl"].requires_grad


def silent():
    from rich.console import Console

    return Console(quiet=True)


@torch.no_grad()
def full_kl(reference, model, groups) -> torch.Tensor:
    """KL(π_ref ‖ π) of every scored token, every response by itself through a whole softmax."""
    found = []
    for group in groups:
        for branch in group.branches:
            ids = torch.tensor([[*group.prompt.tolist(), *branch.ids.tolist()]])
            q, p = (m(ids).logits[0].double().log_softmax(-1) for m in (reference, model))
            kl = (q.exp() * (q - p)).sum(-1)
            start = len(group.prompt) - 1
            found += [kl[start + t] for t in range(len(branch)) if branch.scored[t]]
    return torch.stack(found).float()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("tdpo2", marks=pytest.mark.slow),
        "beta_dpo",
        pytest.param("sampo", marks=pytest.mark.slow),
        "inpo",
    ],
)
def test_a_run_that_broke_off_goes_on_to_the_same_bytes(name, small, rankings, monkeypatch):
    """Reference in memory, running statistics and draws are those of the first start."""
    recipe = recipe_of(name, small, rankings)
    recipe["train"] = small["train"] | {"max_steps": 6, "save_steps": 2}
    calm = train_run({**recipe, "output_dir": small["output_dir"] + "-calm"})
    plain = Trainer._one_step

    def breaks(self: Trainer, *ahead: Any) -> dict[str, Any]:
        if self.step == 3:
            raise LuceError("broken off")
        return plain(self, *ahead)

    with monkeypatch.context() as patch, pytest.raises(LuceError, match="broken off"):
        patch.setattr(Trainer, "_one_step", breaks)
        train_run(recipe)
    resumed = train_run(recipe, resume=True)
    for file in ("metrics.jsonl", "model/model.safetensors"):
        assert (resumed / file).read_bytes() == (calm / file).read_bytes()


def test_at_step_0_kl_is_zero_so_tdpo_starts_where_dpo_does(small, rankings):
    folder = train_run(recipe_of("tdpo2", small, rankings))
    assert records(folder)[0]["eval_loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_the_earlier_iterate_is_the_model_that_history_names(small, tmp_path):
    """Its log-probabilities are that model's, and the manifest names it."""
    first = train_run({**small, "output_dir": str(tmp_path / "first")})
    recipe = {**small, "objective": "inpo", "history": str(first / "model")}
    folder = train_run(recipe)
    said = manifest(folder)
    assert said["history"]["kind"] == "path" and said["history"]["path"] == recipe["history"]
    assert said["history"]["hash"] != said["reference"]["hash"]
    _, _, data = open_recipe(load_recipe(recipe))
    cache = ReferenceCache(folder / "history", said["history"]["hash"], "float32")
    expected = load_policy(recipe["history"]).plain_log_probs(pack(data.train[:5]))
    torch.testing.assert_close(cache.lookup(data.train[:5]), expected, rtol=0, atol=1e-4)


def test_in_the_first_iteration_reference_and_history_are_one_cache(small, rankings):
    folder = train_run(recipe_of("inpo", small, rankings))
    said = manifest(folder)
    assert said["history"] == said["reference"] and not (folder / "history").exists()


def test_a_resume_with_other_weights_under_historys_path_is_refused(
    small, tmp_path, tiny_model_dir
):
    shutil.copytree(tiny_model_dir, tmp_path / "earlier")
    recipe = {**small, "objective": "inpo", "history": str(tmp_path / "earlier")}
    train_run(recipe)
    other = load_policy(str(tiny_model_dir)).inner
    next(other.parameters()).data.mul_(0.5)
    other.save_pretrained(tmp_path / "earlier")
    with pytest.raises(LuceError, match=r"this run has changed since: history \(weights\)"):
        train_run(recipe, resume=True)


def test_logps_computes_both(small, tmp_path):
    first = train_run({**small, "output_dir": str(tmp_path / "first")})
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps({**small, "objective": "inpo", "history": str(first / "model")}))
    made = build_cache(str(path), (), silent())
    assert made["responses"] == made["history"]["responses"] == 28
    assert Path(made["history"]["folder"]).name == "history"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "inpo"}, "recipe.history: 'inpo' looks at an earlier iterate"),
        ({"objective": "inpo", "history": "none"}, "recipe.history: 'inpo' looks at an earlier"),
        ({"history": "initial"}, "recipe.history: 'dpo' looks at no earlier iterate"),
        ({"objective": "inpo", "history": "./nothing"}, "^history: ./nothing: no such model"),
        ({"objective": "tdpo1", "reference": "none"}, "'tdpo1' compares with a reference policy"),
    ],
)
def test_models_that_do_not_fit_the_objective_are_refused(small, change, message):
    with pytest.raises(LuceError, match=message):
        train_run({**small, **change})


@pytest.mark.parametrize(
    ("objective", "column"), [("modpo", "score_chosen"), ("xpo", "reference_sample")]
)
def test_a_row_without_what_the_objective_reads_is_named_before_training(
    small, tmp_path, objective, column
):
    rows = [{"prompt": f"q{i}", "chosen": f"a{i}", "rejected": "b", **GRADED} for i in range(8)]
    del rows[3][column]
    small["data"] |= {"path": str(write(tmp_path / "some.jsonl", rows))}
    with pytest.raises(DataError, match=f"some.jsonl:4: no {column}"):
        train_run({**small, "objective": objective})
    assert not (tmp_path / "run" / "reference").exists()


def test_the_memory_of_a_copied_reference_is_counted(small):
    plain, copied, adapter = (
        check(load_recipe(recipe)).memory
        for recipe in (
            small,
            {**small, "objective": "tdpo2"},
            {**small, "objective": "tdpo2", "model": {**small["model"], "lora": {"r": 4}}},
        )
    )
    assert plain.reference == adapter.reference == 0
    assert copied.reference == copied.weights and copied.total > plain.total
    assert "reference" in [part for part, _ in copied.lines()]
