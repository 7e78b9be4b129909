"""TRL: the arguments of `trl dpo` and its like, as a YAML or JSON file, a command line, or a Python
script."""

import re
from collections.abc import Callable
from typing import Any

from luce.errors import LuceError, did_you_mean
from luce.recipe.importing import trl_losses
from luce.recipe.importing.core import Imported, Peer, Translation
from luce.recipe.importing.places import put_data, put_eval_split, put_lora
from luce.recipe.importing.source import Source
from luce.recipe.importing.trainer import (
    OTHER_ARGUMENTS,
    SPEED,
    SPREAD,
    TRAINING_ARGUMENTS,
    UNNEEDED,
    WITHOUT,
    evaluates,
    translate_training,
)

TITLE = "TRL 1.16.0"
COMMAND = re.compile(
    r"\btrl\s+(dpo|kto|cpo|orpo|reward|sft)\b"
    r"|\btrl\.(?:scripts|experimental)\.(?:\w+\.)?(dpo|kto|cpo|orpo|reward|sft)\b"
    r"|\b(?:run_)?(dpo|kto|cpo|orpo|reward|sft)(?:_modeling)?\.py\b"
)

MODEL: dict[str, Any] = {
    "model_name_or_path": None, "model_revision": "main", "dtype": "float32", "torch_dtype": None,
    "attn_implementation": None, "use_peft": False, "lora_r": 16, "lora_alpha": 32,
    "lora_dropout": 0.05, "lora_target_modules": None, "lora_target_parameters": None,
    "lora_modules_to_save": None, "lora_task_type": "CAUSAL_LM", "use_rslora": False,
    "use_dora": False, "load_in_8bit": False, "load_in_4bit": False, "bnb_4bit_quant_type": "nf4",
    "use_bnb_nested_quant": False, "bnb_4bit_quant_storage": None,
}  # fmt: skip
SCRIPT: dict[str, Any] = {
    "dataset_name": None, "dataset_config": None, "dataset_train_split": "train",
    "dataset_test_split": "test", "dataset_streaming": False, "ignore_bias_buffers": False,
    "datasets": [], "streaming": False, "test_split_size": None, "env": None,
    "num_processes": None, "num_machines": None, "accelerate_config": None,
    "mixed_precision": None,
}  # fmt: skip
TRAINER: dict[str, Any] = {
    "ref_model": None, "eval_dataset": None, "processing_class": None, "tokenizer": None,
    "data_collator": None, "compute_metrics": None, "callbacks": None, "optimizers": None,
    "formatting_func": None, "train_dataset": None, "quantization_config": None,
    "device_map": None, "lora_bias": "none",
}  # fmt: skip
"""What a script gives the trainer, the loader or PEFT beside the configuration."""
COMMON: dict[str, Any] = {
    **TRAINING_ARGUMENTS, "logging_steps": 10, "gradient_checkpointing": True, "bf16": True,
    **MODEL, **SCRIPT, **TRAINER, "model_init_kwargs": None, "trust_remote_code": False,
    "dataset_num_proc": None, "max_length": 1024, "activation_offloading": False,
    "pad_to_multiple_of": "auto", "pad_token": None, "max_prompt_length": None,
    "max_completion_length": None, "disable_dropout": True, "generate_during_eval": False,
    "is_encoder_decoder": None, "learning_rate": 1e-6, "router_aux_loss_coef": None,
    "padding_free": False, "use_liger_loss": False, "label_pad_token_id": -100,
    "padding_value": None, "dataset_kwargs": None,
}  # fmt: skip
REFERENCE: dict[str, Any] = {
    "precompute_ref_log_probs": False, "precompute_ref_batch_size": None, "sync_ref_model": False,
    "ref_model_mixup_alpha": 0.6, "ref_model_sync_steps": 512, "reference_free": False,
    "force_use_ref_model": False, "model_adapter_name": None, "ref_adapter_name": None,
    "use_logits_to_keep": False,
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "dpo": {
        **REFERENCE, "truncation_mode": "keep_start", "loss_type": ["sigmoid"],
        "loss_weights": None, "ld_alpha": None, "f_divergence_type": "reverse_kl",
        "f_alpha_divergence_coef": 0.5, "label_smoothing": 0.0, "beta": 0.1,
        "use_weighting": False, "discopop_tau": 0.05, "rpo_alpha": None,
    },
    "kto": {
        **REFERENCE, "loss_type": "kto", "beta": 0.1, "desirable_weight": 1.0,
        "undesirable_weight": 1.0, "train_sampling_strategy": "sequential",
    },
    "cpo": {
        "beta": 0.1, "label_smoothing": 0.0, "loss_type": "sigmoid", "cpo_alpha": 1.0,
        "simpo_gamma": 0.5, "alpha": 0.0, "truncation_mode": "keep_end",
    },
    "orpo": {"beta": 0.1, "truncation_mode": "keep_end"},
    "reward": {
        "learning_rate": 1e-4, "chat_template_path": None, "eos_token": None,
        "center_rewards_coefficient": None,
    },
    "sft": {
        "learning_rate": 2e-5, "chat_template_path": None, "dataset_text_field": "text",
        "eos_token": None, "truncation_mode": "keep_start", "shuffle_dataset": False,
        "packing": False, "packing_strategy": "bfd", "eval_packing": None,
        "completion_only_loss": None, "assistant_only_loss": False, "loss_type": "nll",
        "max_seq_length": None,
    },
}  # fmt: skip
"""Method → the keys of its configuration that others have not, or have with another default."""

MARKS = {
    "kto": ("desirable_weight", "undesirable_weight"),
    "cpo": ("cpo_alpha", "simpo_gamma"),
    "reward": ("center_rewards_coefficient",),
    "sft": ("packing", "assistant_only_loss", "completion_only_loss", "dataset_text_field"),
}
"""Keys that only one method has, for a file that does not say whose it is."""

OURS = {
    **UNNEEDED,
    "attn_implementation": SPEED, "dataset_num_proc": SPEED, "activation_offloading": SPEED,
    "padding_free": "luce lays a batch out without padding where it can",
    "packing_strategy": SPEED, "pad_to_multiple_of": SPEED, "use_liger_loss": SPEED,
    "use_logits_to_keep": SPEED, "num_processes": SPREAD, "num_machines": SPREAD,
    "accelerate_config": SPREAD, "ignore_bias_buffers": SPREAD, "lora_task_type": "by model.kind",
    "precompute_ref_log_probs": "luce computes the reference once and keeps it in a cache",
    "precompute_ref_batch_size": "train.max_tokens_per_batch bounds that pass too",
    "ref_model_mixup_alpha": "read with sync_ref_model only",
    "ref_model_sync_steps": "read with sync_ref_model only",
    "label_pad_token_id": "luce masks by position", "padding_value": "luce masks by position",
    "model_adapter_name": "luce has one adapter", "ref_adapter_name": "see `reference`",
    "force_use_ref_model": "see `reference`", "bnb_4bit_quant_type": "read with load_in_4bit only",
    "use_bnb_nested_quant": "read with load_in_4bit only",
    "bnb_4bit_quant_storage": "read with load_in_4bit only",
    "max_prompt_length": "TRL 1.16 has no such key; max_length bounds prompt and response",
    "pad_token": "luce masks by position", "device_map": SPREAD,
    "processing_class": "the tokenizer in the model's folder",
    "tokenizer": "the tokenizer in the model's folder",
    "compute_metrics": "luce measures held-out rows by itself",
}  # fmt: skip
LACKING = {
    **WITHOUT,
    "load_in_8bit": "luce has no quantized base; model.dtype: bfloat16 keeps it at 16 bits",
    "load_in_4bit": "luce has no quantized base; model.dtype: bfloat16 keeps it at 16 bits",
    "use_rslora": "scale alpha by √r: model.lora.alpha = lora_alpha·√lora_r is the same",
    "use_dora": "luce has LoRA only",
    "lora_modules_to_save": "luce trains the adapter only (and the head of a reward model)",
    "lora_target_parameters": "luce adapts modules",
    "model_revision": "fetch that revision into a folder and name the folder in model.path",
    "sync_ref_model": "luce's reference stands still; start a second run from the first's model",
    "reference_free": "take an objective without a reference: cpo, simpo, orpo",
    "max_completion_length": "data.max_length bounds prompt and response together",
    "disable_dropout": "luce keeps the model's own dropout",
    "env": "set the variables in the shell",
    "dataset_streaming": "luce reads all rows first", "streaming": "luce reads all rows first",
    "model_init_kwargs": "model.dtype and model.trust_remote_code; luce passes nothing else on",
    "chat_template_path": "luce renders with the tokenizer's own template; put it there",
    "eos_token": "luce ends a response as the chat template does",
    "router_aux_loss_coef": "luce adds no balancing loss",
    "generate_during_eval": "luce samples before and after; see evaluate.sample_prompts",
    "mixed_precision": "train.bf16",
    "eval_packing": "luce packs without mixing rows",
    "dataset_kwargs": "luce passes nothing on",
    "train_dataset": "the script changes the rows by code of its own: save what it trains on with "
                     "`train_dataset.to_json(FILE)` and name FILE in data.path",
    "eval_dataset": "save it with `eval_dataset.to_json(FILE)` and name FILE in data.eval",
    "ref_model": "name the model in `reference`; without it the reference is the initial policy",
    "data_collator": "luce lays out batches by itself; say columns in data.columns",
    "formatting_func": "luce renders rows by the chat template; say columns in data.columns",
    "callbacks": "luce calls nothing back; metrics.jsonl can be followed",
    "optimizers": "luce trains with AdamW and the settings of `train`",
    "quantization_config": "luce has no quantized base; model.dtype: bfloat16 keeps it at 16 bits",
    "lora_bias": "luce trains no biases beside the adapter",
}  # fmt: skip


def method_of(source: Source, method: str) -> tuple[str, str]:
    """Which of TRL's commands the settings are for, and how that is known."""
    if method:
        if method not in METHODS:
            raise LuceError(f"--method: no {method!r}. {did_you_mean(method, METHODS)}")
        return method, "--method"
    if source.program:
        return source.program, "the script" if source.place.endswith(".py") else "the command line"
    for name, marks in MARKS.items():
        for mark in marks:
            if mark in source.values:
                return name, f"the key {mark}"
    types = source.values.get("loss_type")
    if types == "simpo":
        return "cpo", "loss_type: simpo"
    if types in ("kto", "apo_zero_unpaired"):
        return "kto", f"loss_type: {types}"
    return "dpo", "nothing else; --method says otherwise"


def translate(source: Source, method: str, devices: int, said: str) -> Imported:
    """The recipe of a TRL configuration."""
    name, how = method_of(source, method)
    peer = Peer(TITLE, {**COMMON, **METHODS[name]}, OURS, LACKING, others=OTHER_ARGUMENTS)
    t = Translation(peer, source.values, source.place, source.spelled)
    _model(t)
    put_lora(t, drops=not t.flag("disable_dropout") or name == "sft")
    _data(t)
    _lengths(t, name)
    losses: dict[str, Callable[[Translation], None]] = {
        "dpo": trl_losses.dpo, "kto": trl_losses.kto, "cpo": trl_losses.cpo,
        "orpo": trl_losses.orpo, "reward": trl_losses.reward, "sft": trl_losses.sft,
    }  # fmt: skip
    losses[name](t)
    if name == "sft":
        _sft(t)
    translate_training(t, devices, said)
    return t.finish(f"{name} (by {how})")


def _model(t: Translation) -> None:
    path = t.text("model_name_or_path")
    if path is None:
        raise LuceError(f"{t.place}: no `model_name_or_path`, so there is no model to train.")
    t.put("model.path", path, "model_name_or_path")
    t.put("model.trust_remote_code", t.flag("trust_remote_code"), "trust_remote_code")
    key = "torch_dtype" if t.has("torch_dtype") else "dtype"
    dtype = (t.text(key) or "float32").removeprefix("torch.")
    if dtype == "auto":
        t.leave(key, "TRL's auto is the dtype of the files, luce's trains in float32; "
                "`model.dtype: bfloat16` if the files are so")  # fmt: skip
    else:
        t.put("model.dtype", dtype, key)
    t.same("disable_dropout", "models of the Llama kind have none but the adapter's")
    if t.has("disable_dropout") and not t.flag("disable_dropout"):
        t.same("disable_dropout", "luce keeps the model's own dropout")


def _data(t: Translation) -> None:
    mixture = t.get("datasets") or []
    if mixture:
        t.same("dataset_name", "TRL reads `datasets` before it")
        put_data(t, "datasets", mixture)
    elif t.text("dataset_name"):
        named = {
            "path": t.text("dataset_name"),
            "name": t.text("dataset_config"),
            "split": t.text("dataset_train_split"),
        }
        keys = {"name": "dataset_config", "split": "dataset_train_split"}
        put_data(t, "dataset_name", [named], keys)
    else:
        raise LuceError(f"{t.place}: no `dataset_name` and no `datasets`, so there is no data.")
    t.same("dataset_train_split", "of a named data set only")
    t.same("dataset_config", "of a named data set only")
    size = t.number("test_split_size")
    if size is not None and 0 < size < 1:
        t.put("data.eval", size, "test_split_size")
        t.same("dataset_test_split", "test_split_size makes the held-out rows")
    elif evaluates(t):
        put_eval_split(t, "dataset_test_split")
    else:
        t.put("data.eval", None, note=f"{TITLE} holds nothing out where eval_strategy is no")
        t.same("dataset_test_split", "eval_strategy is `no`")


def _lengths(t: Translation, name: str) -> None:
    key = "max_seq_length" if t.has("max_seq_length") else "max_length"
    length = t.whole(key)
    if length is None:
        t.put("data.max_length", 1 << 20, key, note="null stands for no limit")
    else:
        t.put("data.max_length", length, key)
    if name == "reward":
        t.put("data.truncation", "drop", note="TRL drops longer rows too")
        return
    mode = (t.text("truncation_mode") if t.knows("truncation_mode") else None) or "keep_start"
    if mode == "keep_start" or not t.has("truncation_mode"):
        note = "TRL cuts the end of the response and its EOS; luce keeps the EOS"
        t.put("data.truncation", "right_keep_eos", "truncation_mode", note=note)
    else:
        note = "luce cuts the prompt only"
        t.put("data.truncation", "left_prompt", "truncation_mode", note=note)


def _sft(t: Translation) -> None:
    if t.flag("assistant_only_loss"):
        t.put("data.score_turns", "all_assistant", "assistant_only_loss")
    else:
        t.leave("assistant_only_loss", "TRL trains on every token of a chat, luce on the "
                "assistant's turns; with prompt and completion they are the same",
                default=t.get("completion_only_loss") is None)  # fmt: skip
    if t.get("completion_only_loss") is False:
        t.leave("completion_only_loss", "luce trains on completions, not on prompts")
    t.same("completion_only_loss", "luce trains on completions only")
    t.same("packing", "luce lays rows out without padding, and none sees another")
    t.same("shuffle_dataset", "luce shuffles")
    field = t.text("dataset_text_field")
    if field and field != "text":
        t.put("data.columns.text", field, "dataset_text_field")
