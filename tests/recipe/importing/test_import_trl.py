"""TRL: losses, defaults against the installed package, and where every key ends."""

import ast
import importlib.metadata
import importlib.util
import json
from pathlib import Path

import pytest

from luce.cli.main import run as luce_command
from luce.errors import LuceError
from luce.recipe.importing.trainer import OTHER_ARGUMENTS
from luce.recipe.importing.trl import COMMON, METHODS, TITLE
from luce.recipe.importing.writing import recipe_text
from luce.recipe.load import load_recipe
from luce.recipe.yaml12 import parse_yaml

TOP = "model_name_or_path: m\ndataset_name: org/d\n"

DPO = [
    ("", "dpo", {"beta": 0.1}),
    ("loss_type: hinge", "gpo_hinge", {"beta": 0.1}),
    ("loss_type: ipo\nbeta: 0.2", "ipo", {"tau": 0.2, "per_token": True}),
    ("loss_type: exo_pair\nlabel_smoothing: 0.01", "exo", {"beta": 0.1, "eps": 0.01}),
    ("loss_type: nca_pair\nbeta: 0.01", "nca", {"beta": 0.01}),
    ("loss_type: robust\nlabel_smoothing: 0.1", "robust_dpo", {"beta": 0.1, "eps": 0.1}),
    ("loss_type: bco_pair", "bco", {"beta": 0.1}),
    ("loss_type: sppo_hard\nbeta: 0.001", "sppo", {"beta": 0.001}),
    ("loss_type: aot", "aot", {"beta": 0.1}),
    ("loss_type: aot_unpaired", "aot_unpaired", {"beta": 0.1}),
    ("loss_type: apo_zero", "apo_zero", {"beta": 0.1}),
    ("loss_type: apo_down", "apo_down", {"beta": 0.1}),
    ("loss_type: discopop\ndiscopop_tau: 0.1", "discopop", {"beta": 0.1, "tau": 0.1}),
    ("loss_type: sigmoid_norm\nbeta: 5", "ln_dpo", {"beta": 5.0}),
    ("loss_type: [sft]", "sft", {}),
    ("loss_type: [sigmoid, sft]\nloss_weights: [1.0, 0.5]", "dpo_nll", {"beta": 0.1, "alpha": 0.5}),
    (
        "loss_type: [sigmoid, bco_pair, sft]\nloss_weights: [0.8, 0.2, 1.0]",
        "mpo",
        {"beta": 0.1, "weights": [0.8, 0.2, 1.0]},
    ),
    ("rpo_alpha: 0.7", "dpo_nll", {"beta": 0.1, "alpha": 0.7}),
    ("ld_alpha: 0.5", "ld_dpo", {"beta": 0.1, "alpha": 0.5}),
    ("use_weighting: true", "wpo", {"beta": 0.1, "clamp": False}),
    (
        "f_divergence_type: alpha_divergence\nf_alpha_divergence_coef: 0.7",
        "fdpo",
        {"beta": 0.1, "divergence": "alpha", "alpha": pytest.approx(0.3)},
    ),
    ("f_divergence_type: js_divergence", "fdpo", {"beta": 0.1, "divergence": "js"}),
]
OTHERS = [
    ("kto", "desirable_weight: 1.33", "kto", {"beta": 0.1, "lam_d": 1.33, "lam_u": 1.0}),
    ("cpo", "", "cpo", {"beta": 0.1, "alpha": 1.0}),
    ("cpo", "loss_type: simpo\ncpo_alpha: 0\nbeta: 2", "simpo", {"beta": 2.0, "gamma": 0.5}),
    (
        "cpo",
        "loss_type: simpo\ncpo_alpha: 0\nbeta: 2\nalpha: 0.25",
        "alphapo",
        {"beta": 2.0, "gamma": 0.5, "alpha": 0.25},
    ),
    (
        "cpo",
        "loss_type: hinge\nbeta: 0.1\ncpo_alpha: 1",
        "slic",
        {"delta": 10.0, "lam": 10.0, "nll": "mean"},
    ),
    ("orpo", "beta: 0.2", "orpo", {"lam": 0.2}),
    ("reward", "center_rewards_coefficient: 0.01", "bradley_terry", {"center": 0.01}),
    ("sft", "assistant_only_loss: true", "sft", {}),
]


@pytest.mark.parametrize(("text", "name", "expected"), DPO)
def test_a_loss_of_dpo_is_the_objective_of_the_table(text, name, expected, read, parameters):
    found = read("trl", f"{TOP}{text}\n", method="dpo")
    assert parameters(found) == (name, expected)
    assert found.complete


@pytest.mark.parametrize(("method", "text", "name", "expected"), OTHERS)
def test_other_methods(method, text, name, expected, read, parameters):
    found = read("trl", f"{TOP}{text}\n", method=method)
    assert parameters(found) == (name, expected)
    assert found.complete


@pytest.mark.parametrize(
    ("method", "text", "key"),
    [
        ("dpo", "label_smoothing: 0.1", "label_smoothing"),
        ("dpo", "loss_type: hinge\nld_alpha: 0.5", "ld_alpha"),
        ("dpo", "use_weighting: true\nld_alpha: 0.5", "ld_alpha"),
        ("dpo", "loss_type: [sigmoid, apo_zero]", "loss_type"),
        ("dpo", "loss_type: exo_pair", "label_smoothing"),
        ("dpo", "sync_ref_model: true", "sync_ref_model"),
        ("kto", "loss_type: apo_zero_unpaired", "loss_type"),
        ("cpo", "loss_type: simpo", "cpo_alpha"),
        ("cpo", "loss_type: ipo", "loss_type"),
        ("sft", "", "assistant_only_loss"),
        ("sft", "completion_only_loss: true\nloss_type: dft", "loss_type"),
    ],
)
def test_what_luce_has_no_objective_for_is_said(method, text, key, read, fates):
    found = read("trl", f"{TOP}{text}\n", method=method)
    assert fates(found)[key] == "not translated"
    assert not found.complete
    load_recipe(parse_yaml(recipe_text(found), "r").value)


@pytest.mark.parametrize("method", METHODS)
def test_every_key_at_its_default_ends_in_one_place(method, read, fates):
    given = {**COMMON, **METHODS[method], "model_name_or_path": "m", "dataset_name": "org/d"}
    found = read("trl", json.dumps(given), "c.json", method=method)
    ended = fates(found)
    assert set(given) <= set(ended)
    assert len(ended) == len(found.entries)
    assert [key for key, fate in ended.items() if fate == "unknown"] == []


def test_a_key_of_nobody_is_unknown_and_named(read, fates):
    found = read("trl", f"{TOP}lerning_rate: 1.0e-6\nbetta: 1\n")
    assert fates(found)["lerning_rate"] == fates(found)["betta"] == "unknown"
    why = {entry.key: entry.why for entry in found.entries}
    assert "Did you mean 'learning_rate'?" in why["lerning_rate"]
    assert "# Not translated: lerning_rate, betta." in recipe_text(found)


def test_the_batch_is_that_of_a_step_over_all_devices(read):
    text = f"{TOP}per_device_train_batch_size: 2\ngradient_accumulation_steps: 8\n"
    assert read("trl", text, devices=4).recipe["train.batch_size"] == 64
    found = read("trl", text)
    assert found.recipe["train.batch_size"] == 16
    assert "1 devices (--devices, 1 unless given)" in found.comments["train.batch_size"]


def test_defaults_that_differ_are_written_with_where_they_come_from(read):
    found = read("trl", TOP)
    expected = {"train.epochs": 3.0, "train.lr_scheduler_type": "linear", "train.bf16": True,
                "train.warmup_ratio": 0.0, "train.gradient_checkpointing": True,
                "train.seed": 42, "data.eval": None}  # fmt: skip
    assert {key: found.recipe[key] for key in expected} == expected
    assert all(TITLE in found.comments[key] for key in expected)
    assert "train.learning_rate" not in found.recipe  # 1e-6, as in luce


def test_the_same_bits_are_asked_for(read):
    found = read("trl", f"{TOP}full_determinism: true\n")
    assert found.recipe["train.deterministic"] is True and found.complete
    assert "train.deterministic" not in read("trl", TOP).recipe


def test_the_method_is_told_or_found_or_said(read):
    assert read("trl", TOP).read_as.startswith("dpo (by nothing else; --method")
    assert read("trl", f"{TOP}cpo_alpha: 0\n").read_as == "cpo (by the key cpo_alpha)"
    assert read("trl", f"{TOP}loss_type: kto\n").read_as == "kto (by loss_type: kto)"
    with pytest.raises(LuceError, match="Did you mean 'kto'?"):
        read("trl", TOP, method="kot")


def test_lora_and_what_peft_chooses(read):
    found = read("trl", f"{TOP}use_peft: true\nlora_r: 32\nlora_dropout: 0.05\n")
    assert found.recipe["model.lora.r"] == 32
    assert found.recipe["model.lora.target_modules"] == ["q_proj", "v_proj"]
    assert found.recipe["model.lora.dropout"] == 0.0  # disable_dropout, TRL's default
    text = f"{TOP}use_peft: true\nlora_target_modules: all-linear\n"
    found = read("trl", text, method="sft")
    assert found.recipe["model.lora.target_modules"] == "all-linear"
    assert found.recipe["model.lora.dropout"] == 0.05


@pytest.mark.parametrize(
    ("text", "recipe", "left"),
    [
        ("warmup_ratio: 0.1", {"train.warmup_ratio": 0.1}, []),
        ("warmup_steps: 0.1", {"train.warmup_ratio": 0.1}, []),
        ("warmup_steps: 50\nmax_steps: 200", {"train.warmup_ratio": 0.25}, []),
        ("warmup_steps: 50", {}, ["warmup_steps"]),
        ("lr_scheduler_type: constant\nwarmup_ratio: 0.1", {"train.warmup_ratio": 0.0}, []),
        ("lr_scheduler_type: constant_with_warmup", {"train.lr_scheduler_type": "constant"}, []),
        ("lr_scheduler_type: polynomial", {"train.lr_scheduler_type": "cosine"},
         ["lr_scheduler_type"]),
        ("optim: adafactor", {}, ["optim"]),
        ("max_grad_norm: 0", {"train.max_grad_norm": 1e9}, []),
        ("fp16: true\nbf16: no", {}, ["fp16"]),
        ("report_to: [wandb, tensorboard]", {"train.report_to": "wandb"}, ["report_to"]),
        ("report_to: [wandb]\nrun_name: a/b", {"train.report_to": "wandb", "name": "a-b"}, []),
        ("save_strategy: epoch", {}, ["save_strategy"]),
        ("save_strategy: 'no'", {}, []),
        ("test_split_size: 0.1\neval_strategy: steps\neval_steps: 20",
         {"data.eval": 0.1, "train.eval_steps": 20}, []),
        ("eval_strategy: steps\neval_steps: 20", {"train.eval_steps": 20}, ["dataset_test_split"]),
        ("max_length: null", {"data.max_length": 1 << 20}, []),
        ("truncation_mode: keep_end", {"data.truncation": "left_prompt"}, []),
        ("dtype: auto", {}, ["dtype"]),
        ("torch_dtype: bfloat16", {"model.dtype": "bfloat16"}, []),
        ("load_in_4bit: true", {}, ["load_in_4bit"]),
        ("deepspeed: zero3.json\nprecompute_ref_log_probs: true", {}, []),
        ("max_steps: 100\nadam_beta2: 0.95",
         {"train.max_steps": 100, "train.adam_beta2": 0.95}, []),
    ],
)  # fmt: skip
def test_settings_of_training(text, recipe, left, read):
    found = read("trl", f"{TOP}{text}\n", method="dpo")
    assert {key: found.recipe.get(key) for key in recipe} == recipe
    assert [e.key for e in found.entries if e.fate == "not translated"] == left


def test_data_of_files_and_mixtures(read):
    text = "model_name_or_path: m\ndatasets:\n  - path: json\n    data_files: a.jsonl\n"
    found = read("trl", text)
    assert found.recipe["data.path"] == "a.jsonl" and "data.split" not in found.recipe
    found = read("trl", f"{text}  - path: org/b\n")
    assert not found.complete and "org/b" in found.entries[1].why


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset_name: d\n", "no `model_name_or_path`"),
        ("model_name_or_path: m\n", "no `dataset_name`"),
        (f"{TOP}beta: high\n", "c.yaml: beta: expected a number, got 'high'"),
        (f"{TOP}bf16: perhaps\n", "bf16: expected true or false"),
        (f"{TOP}max_steps: 1.5\n", "max_steps: expected a whole number"),
        (f"{TOP}beta: -1\n", "c.yaml: does not make a recipe: recipe.objective.dpo.beta"),
        (f"{TOP}loss_weights: many\n", "loss_weights: expected numbers"),
        ("model_name_or_path: m\ndatasets: 3\n", "datasets: expected data sets"),
        (f"{TOP}use_peft: true\nlora_target_modules: 3\n", "expected names of modules"),
        ("- a\n", "expected `key: value` lines"),
    ],
)
def test_what_a_user_can_mend(text, message, read):
    with pytest.raises(LuceError, match=message):
        read("trl", text, method="dpo")


SCRIPT = """#!/bin/bash
export LR=5e-7
MODEL="Qwen/Qwen2-0.5B-Instruct"
# accelerate launch trl/scripts/kto.py --beta 9
accelerate launch --num_processes 4 trl/scripts/dpo.py \\
    --model_name_or_path ${MODEL} \\
    --dataset_name trl-lib/ultrafeedback_binarized --learning-rate=$LR \\
    --per_device_train_batch_size ${BATCH:-2} --beta 0.05 --no_gradient_checkpointing \\
    --loss_type sigmoid sft --loss_weights 1.0 0.2 \\
    --use_peft > log.txt 2>&1
"""


def test_a_command_line_in_a_script(read, parameters):
    found = read("trl", SCRIPT, "run.sh")
    assert found.read_as == "dpo (by the command line)"
    assert found.recipe["model.path"] == "Qwen/Qwen2-0.5B-Instruct"
    assert found.recipe["train.learning_rate"] == 5e-7
    assert found.recipe["train.batch_size"] == 8  # 2 × the launcher's 4
    assert found.recipe["train.gradient_checkpointing"] is False
    assert parameters(found) == ("dpo_nll", {"beta": 0.05, "alpha": pytest.approx(0.2)})


def test_a_flag_counts_before_the_file_that_the_command_line_names(read):
    Path("c.yaml").write_text(f"{TOP}beta: 0.3\nseed: 7\n")
    found = read("trl", "trl dpo --config c.yaml --beta 0.05\n", "run.sh")
    assert found.recipe["objective.dpo.beta"] == 0.05 and found.recipe["train.seed"] == 7


def test_a_variable_without_a_value_is_an_error(read):
    with pytest.raises(LuceError, match=r"`\$BETA` has no value in the file"):
        read("trl", "trl dpo --beta $BETA\n", "run.sh")


def test_secrets_are_not_repeated(read):
    found = read("trl", f"{TOP}hub_token: hf_secret\n")
    assert "hf_secret" not in recipe_text(found) + str(found.entries)


def _defaults(package: str, file: str, name: str) -> dict:
    """The literal defaults of a dataclass, off the source of an installed package."""
    found = importlib.util.find_spec(package)
    assert found is not None and found.submodule_search_locations
    tree = ast.parse((Path(found.submodule_search_locations[0]) / file).read_text())
    body = next(c.body for c in tree.body if isinstance(c, ast.ClassDef) and c.name == name)
    values = {}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            given = node.value.keywords if isinstance(node.value, ast.Call) else []
            default = next((k.value for k in given if k.arg == "default"), None)
            try:
                values[node.target.id] = ast.literal_eval(default) if default else ...
            except ValueError:
                values[node.target.id] = ...
    return values


FILES = {
    "dpo": "trainer/dpo_config.py", "kto": "trainer/kto_config.py",
    "reward": "trainer/reward_config.py", "sft": "trainer/sft_config.py",
    "cpo": "experimental/cpo/cpo_config.py", "orpo": "experimental/orpo/orpo_config.py",
}  # fmt: skip


@pytest.mark.parametrize("method", FILES)
def test_the_defaults_are_those_of_the_installed_trl(method):
    if importlib.util.find_spec("trl") is None or importlib.metadata.version("trl") != "1.16.0":
        pytest.skip("TRL 1.16.0 is not installed")
    names = {"dpo": "DPOConfig", "kto": "KTOConfig", "reward": "RewardConfig",
             "sft": "SFTConfig", "cpo": "CPOConfig", "orpo": "ORPOConfig"}  # fmt: skip
    ours = {**COMMON, **METHODS[method]}
    sources = [
        ("transformers", "training_args.py", "TrainingArguments"),
        ("trl", "trainer/base_config.py", "_BaseConfig"),
        ("trl", "trainer/model_config.py", "ModelConfig"),
        ("trl", "scripts/utils.py", "ScriptArguments"),
        ("trl", FILES[method], names[method]),
    ]
    theirs = {}
    for source in sources:
        theirs |= _defaults(*source)
    told = {key: value for key, value in theirs.items() if value is not ...}
    public = {key for key in theirs if not key.startswith("_")}
    assert public - set(ours) - OTHER_ARGUMENTS == set()
    assert {"beta", "per_device_train_batch_size"} & set(told)
    differing = {k: (ours[k], v) for k, v in told.items() if k in ours and ours[k] != v}
    assert differing == {"bf16": (True, None)}  # null means true where fp16 is off


def test_a_translated_configuration_trains(read, pairs, tiny_model_dir, tmp_path):
    text = f"""
model_name_or_path: {tiny_model_dir}
dataset_name: {pairs}
per_device_train_batch_size: 2
gradient_accumulation_steps: 2
max_steps: 3
learning_rate: 1.0e-3
beta: 0.5
loss_type: [sigmoid, sft]
bf16: false
gradient_checkpointing: false
eval_strategy: 'no'
output_dir: {tmp_path / "run"}
"""
    found = read("trl", text, method="dpo")
    Path("recipe.yaml").write_text(recipe_text(found), encoding="utf-8")
    assert luce_command(["train", "recipe.yaml", "evaluate.sample_prompts=0"]) == 0
    assert found.complete and (tmp_path / "run" / "report.html").is_file()
