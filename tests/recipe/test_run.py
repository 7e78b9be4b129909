"""The main job, whole: a recipe in, a run folder out that plain transformers can load."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

import luce
from luce.errors import LuceError, RecipeError
from luce.recipe.run import train_run

FILES = (
    "model recipe.yaml manifest.json metrics.jsonl timing.jsonl rows.jsonl samples.jsonl "
    "evaluation.json report.html README.md checkpoints"
).split()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_every_file_and_a_model_that_transformers_loads(recipe):
    folder = train_run(recipe)
    assert {f for f in FILES if (folder / f).exists()} == set(FILES)
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    prompt = [{"role": "user", "content": "say hi"}]
    text = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    out = model.generate(**ids, max_new_tokens=3, do_sample=False)
    assert out.shape[1] > ids["input_ids"].shape[1]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "finished" and manifest["steps"] == 6
    assert manifest["objective"]["formula"].startswith("−log σ(0.5·")
    assert manifest["data"]["train"]["rows_read"] == 40
    eos = model.generation_config.eos_token_id
    assert manifest["terminator"]["id"] in (eos if isinstance(eos, list) else [eos])


def test_training_teaches_what_the_pairs_say(recipe):
    recipe["train"] |= {"max_steps": 60, "learning_rate": 0.01, "save_steps": 100}
    folder = train_run(recipe)
    evals = [r for r in lines(folder / "metrics.jsonl") if r["split"] == "eval"]
    assert evals[0]["eval_rewards/accuracies"] == 0.5 and evals[0]["eval_rewards/margins"] == 0
    assert evals[-1]["eval_rewards/accuracies"] > 0.8
    held_out = json.loads((folder / "evaluation.json").read_text())["held_out"]
    assert held_out["n"] == 8 and held_out["accuracy_low"] < held_out["accuracy"]


def test_at_step_0_a_ratio_objective_costs_what_a_margin_of_zero_costs(recipe):
    folder = train_run(recipe)
    first = lines(folder / "metrics.jsonl")[0]
    assert first["step"] == 0 and first["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_a_lora_run_leaves_an_adapter_that_peft_loads(recipe):
    recipe["model"] |= {"lora": {"r": 4, "alpha": 8.0}}
    folder = train_run(recipe)
    assert (folder / "model" / "adapter_model.safetensors").exists()
    from peft import AutoPeftModelForCausalLM

    AutoPeftModelForCausalLM.from_pretrained(folder / "model")
    first = lines(folder / "metrics.jsonl")[0]
    assert first["eval_rewards/margins"] == 0


def test_an_adapter_on_a_float16_network_trains_with_a_loss_scale(recipe, tmp_path):
    recipe["model"] |= {"lora": {"r": 4, "alpha": 8.0}}
    found = {}
    for dtype in ("float32", "float16"):
        recipe["model"]["dtype"] = dtype
        folder = train_run(recipe | {"output_dir": str(tmp_path / dtype)})
        found[dtype] = [r for r in lines(folder / "metrics.jsonl") if r["split"] == "train"]
    for exact, half in zip(found["float32"], found["float16"], strict=True):
        assert half["grad_norm"] == pytest.approx(exact["grad_norm"], rel=0.1)
        assert half["loss_scale"] <= 65536 and "loss_scale" not in exact
    assert "Gradients clipped" in (tmp_path / "float16" / "report.html").read_text()


def test_a_reward_model_is_a_sequence_classifier(recipe):
    recipe["model"] |= {"kind": "reward"}
    recipe |= {"objective": "bradley_terry", "reference": "none"}
    folder = train_run(recipe)
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    assert model.config.num_labels == 1
    evals = [r for r in lines(folder / "metrics.jsonl") if r["split"] == "eval"]
    assert "eval_rewards/accuracies_low" in evals[-1]


def test_the_same_seed_gives_the_same_bytes(recipe, tmp_path):
    one = train_run(recipe | {"output_dir": str(tmp_path / "one")})
    two = train_run(recipe | {"output_dir": str(tmp_path / "two")})
    for name in ("metrics.jsonl", "model/model.safetensors", "samples.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "bradley_terry"}, "Set `model.kind: reward`"),
        ({"reference": "none"}, "compares with a reference policy"),
        ({"reference": "no/such/model"}, "no/such/model"),
        ({"objective": "dop"}, "Did you mean 'dpo'"),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_written(
    recipe, tmp_path, change, message
):
    with pytest.raises(LuceError, match=message):
        train_run(recipe | change)
    assert not (tmp_path / "run" / "model").exists()


def test_a_run_begins_with_a_warning_where_beta_is_of_the_other_family(recipe, capsys):
    recipe["train"]["max_steps"] = 1
    train_run(recipe | {"objective": {"dpo": {"beta": 5.0}}})
    said = capsys.readouterr().err.splitlines()
    (warning,) = [i for i, line in enumerate(said) if line.startswith("warning: ")]
    assert "objective.dpo.beta: 5 is usual for means over tokens" in said[warning]
    assert "The default is 0.1." in said[warning]
    assert warning < next(i for i, line in enumerate(said) if line.startswith("layout"))


def test_a_folder_with_a_run_is_refused(recipe):
    train_run(recipe)
    with pytest.raises(RecipeError, match="holds a run already. Add --resume"):
        train_run(recipe)


def test_resuming_a_finished_run_changes_no_weight(recipe):
    folder = train_run(recipe)
    before = (folder / "model" / "model.safetensors").read_bytes()
    metrics = (folder / "metrics.jsonl").read_bytes()
    train_run(recipe, resume=True)
    assert (folder / "model" / "model.safetensors").read_bytes() == before
    assert (folder / "metrics.jsonl").read_bytes() == metrics


def test_a_resume_with_other_data_names_the_difference(recipe, pairs):
    folder = train_run(recipe)
    before = {p: p.read_bytes() for p in folder.glob("*.*")}
    pairs.write_text(pairs.read_text().replace("thanks", "thank you"))
    with pytest.raises(LuceError, match="this run has changed since: .*data"):
        train_run(recipe, resume=True)
    assert {p: p.read_bytes() for p in folder.glob("*.*")} == before


def test_the_python_face_trains(recipe, tmp_path):
    run = luce.train(
        model=recipe["model"]["path"],
        data=recipe["data"],
        objective=luce.dpo(beta=0.1),
        output_dir=str(tmp_path / "python"),
        max_steps=2,
        batch_size=4,
        evaluate={"sample_prompts": 0},
    )
    assert run.manifest["objective"]["name"] == "dpo"


def test_a_composed_objective_trains(recipe, tmp_path):
    mine = luce.Objective(
        score=luce.mean_log_ratio(beta=2.0), loss=luce.LOSSES["savage"], target_margin=0.5
    )
    run = luce.train(
        model=recipe["model"]["path"],
        data=recipe["data"],
        objective=mine,
        output_dir=str(tmp_path / "composed"),
        max_steps=2,
        evaluate={"sample_prompts": 0},
    )
    assert run.manifest["objective"]["formula"] == mine.formula


def test_bf16_and_gradient_checkpointing_train(recipe, tmp_path):
    plain = train_run(recipe | {"output_dir": str(tmp_path / "plain")})
    changed = recipe | {"output_dir": str(tmp_path / "checkpointed")}
    changed["train"] = recipe["train"] | {"gradient_checkpointing": True}
    checkpointed = train_run(changed)
    a, b = (lines(f / "metrics.jsonl")[-1]["eval_loss"] for f in (plain, checkpointed))
    assert a == pytest.approx(b, abs=1e-6)
    half = recipe | {"output_dir": str(tmp_path / "half")}
    half["train"] = recipe["train"] | {"bf16": True}
    c = lines(train_run(half) / "metrics.jsonl")[-1]["eval_loss"]
    assert a == pytest.approx(c, abs=0.05)
    assert torch.get_default_dtype() == torch.float32


def test_the_reference_is_what_the_recipe_says(recipe, tmp_path, tiny_model_dir):
    """base under a fresh adapter is the initial policy; a path is another model, and says so."""
    recipe["model"] |= {"lora": {"r": 4, "alpha": 8.0}}
    base = train_run(recipe | {"reference": "base", "output_dir": str(tmp_path / "base")})
    first = lines(base / "metrics.jsonl")[0]
    assert first["eval_rewards/margins"] == 0
    other = recipe | {"reference": str(base / "model"), "output_dir": str(tmp_path / "other")}
    changed = train_run(other)
    assert lines(changed / "metrics.jsonl")[0]["eval_rewards/margins"] != 0
    hashes = [
        json.loads((folder / "manifest.json").read_text())["reference"]["hash"]
        for folder in (base, changed)
    ]
    assert hashes[0] != hashes[1]
    with pytest.raises(LuceError, match="this policy has none"):
        train_run(
            recipe
            | {"model": str(tiny_model_dir), "reference": "base", "output_dir": str(tmp_path / "x")}
        )


def test_a_reference_cache_of_another_model_is_refused_at_step_0(recipe, tmp_path):
    """The numbers of a cache are believed only where the policy itself gives them."""
    folder = train_run(recipe)
    shard = next((folder / "reference").glob("shard-*.safetensors"))
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(shard, "numpy") as stream:
        arrays = {name: stream.get_tensor(name).copy() for name in stream.keys()}  # noqa: SIM118
        named = stream.metadata()
    arrays["values"] -= 0.5
    save_file(arrays, shard, named)
    with pytest.raises(
        LuceError, match="before the first step the policy and its reference differ"
    ):
        train_run(recipe, resume=True)


def test_a_run_that_blows_up_stops_before_the_weights_and_says_so(recipe):
    recipe["train"] |= {"learning_rate": 1e30, "warmup_ratio": 0.0}
    with pytest.raises(LuceError, match="No weight was changed"):
        train_run(recipe)
    folder = Path(recipe["output_dir"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (
        manifest["status"] == "failed"
        and "not finite" in manifest["error"]
        or "nan" in manifest["error"]
    )
    assert not (folder / "model").exists() and not (folder / "report.html").exists()
