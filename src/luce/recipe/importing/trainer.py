"""The settings that every program has: batch, schedule, optimizer, precision, when to save.

They go by the names of transformers' `TrainingArguments`; `Peer.names` has those of other programs.
"""

from typing import Any

from luce.errors import LuceError
from luce.recipe.importing.core import Translation

TRAINING_ARGUMENTS: dict[str, Any] = {
    "output_dir": None, "per_device_train_batch_size": 8, "num_train_epochs": 3.0, "max_steps": -1,
    "learning_rate": 5e-5, "lr_scheduler_type": "linear", "lr_scheduler_kwargs": None,
    "warmup_steps": 0, "warmup_ratio": None, "optim": "adamw_torch_fused", "optim_args": None,
    "weight_decay": 0.0, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
    "optim_target_modules": None, "gradient_accumulation_steps": 1,
    "average_tokens_across_devices": True, "max_grad_norm": 1.0, "label_smoothing_factor": 0.0,
    "bf16": False, "fp16": False, "bf16_full_eval": False, "fp16_full_eval": False, "tf32": None,
    "gradient_checkpointing": False, "gradient_checkpointing_kwargs": None, "torch_compile": False,
    "torch_compile_backend": None, "torch_compile_mode": None, "use_liger_kernel": False,
    "liger_kernel_config": None, "use_cache": False, "neftune_noise_alpha": None,
    "torch_empty_cache_steps": None, "auto_find_batch_size": False, "logging_strategy": "steps",
    "logging_dir": None, "logging_steps": 500, "logging_first_step": False,
    "log_on_each_node": True, "logging_nan_inf_filter": True,
    "include_num_input_tokens_seen": "no", "log_level": "passive", "log_level_replica": "warning",
    "disable_tqdm": None, "report_to": "none", "run_name": None, "project": "huggingface",
    "eval_strategy": "no", "evaluation_strategy": "no", "eval_steps": None, "eval_delay": 0,
    "per_device_eval_batch_size": 8, "prediction_loss_only": False, "eval_on_start": False,
    "eval_accumulation_steps": None, "save_only_model": False, "save_strategy": "steps",
    "save_steps": 500, "save_on_each_node": False, "save_total_limit": None,
    "save_safetensors": True, "push_to_hub": False, "hub_token": None, "hub_private_repo": None,
    "hub_model_id": None, "hub_strategy": "every_save", "hub_always_push": False,
    "hub_revision": None, "load_best_model_at_end": False, "metric_for_best_model": None,
    "greater_is_better": None, "ignore_data_skip": False, "full_determinism": False, "seed": 42,
    "data_seed": None, "use_cpu": False, "accelerator_config": None, "parallelism_config": None,
    "dataloader_drop_last": False, "dataloader_num_workers": 0, "dataloader_pin_memory": True,
    "dataloader_persistent_workers": False, "dataloader_prefetch_factor": None,
    "remove_unused_columns": True, "label_names": None, "train_sampling_strategy": "random",
    "group_by_length": False, "length_column_name": "length", "ddp_find_unused_parameters": None,
    "ddp_bucket_cap_mb": None, "ddp_broadcast_buffers": None, "ddp_backend": None,
    "ddp_timeout": 1800, "fsdp": None, "fsdp_config": None, "deepspeed": None, "debug": "",
    "skip_memory_metrics": True, "do_train": False, "do_eval": False, "do_predict": False,
    "resume_from_checkpoint": None, "local_rank": -1, "overwrite_output_dir": False,
}  # fmt: skip
"""Keys and defaults of transformers 5.23; also `warmup_ratio` and other keys of 4.x."""

SPREAD = "how a step is spread over devices; `luce train` under torchrun"
SPEED = "speed or memory only"
OUTPUT = "how the run talks; luce writes metrics.jsonl and report.html"

UNNEEDED: dict[str, str] = {
    **dict.fromkeys(("fsdp", "fsdp_config", "deepspeed", "ddp_find_unused_parameters",
                     "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_backend", "ddp_timeout",
                     "accelerator_config", "parallelism_config", "local_rank"), SPREAD),
    **dict.fromkeys(("dataloader_num_workers", "dataloader_pin_memory",
                     "dataloader_prefetch_factor", "dataloader_persistent_workers",
                     "gradient_checkpointing_kwargs", "tf32",
                     "torch_compile", "torch_compile_backend", "torch_compile_mode",
                     "use_liger_kernel", "liger_kernel_config", "use_cache",
                     "torch_empty_cache_steps", "auto_find_batch_size",
                     "per_device_eval_batch_size", "eval_accumulation_steps", "group_by_length",
                     "skip_memory_metrics", "bf16_full_eval", "fp16_full_eval"), SPEED),
    **dict.fromkeys(("logging_strategy", "logging_dir", "logging_first_step", "log_on_each_node",
                     "log_level", "log_level_replica", "disable_tqdm", "project", "debug",
                     "logging_nan_inf_filter", "include_num_input_tokens_seen"), OUTPUT),
    "remove_unused_columns": "columns that no format reads are kept aside",
    "do_train": "the command says what is done", "do_eval": "the command says what is done",
    "overwrite_output_dir": "luce refuses a folder that holds another run",
    "save_safetensors": "luce writes safetensors", "save_on_each_node": SPREAD,
    "save_only_model": "a luce checkpoint holds all that resuming needs",
    "average_tokens_across_devices": "luce's costs are means over the global batch",
    "eval_on_start": "luce evaluates before the first step",
    "prediction_loss_only": OUTPUT, "hub_strategy": "see push_to_hub",
    "dataloader_drop_last": "luce's rows run on across epochs, so that no batch is short",
}  # fmt: skip

WITHOUT: dict[str, str] = {
    **dict.fromkeys(("push_to_hub", "hub_model_id", "hub_token", "hub_private_repo",
                     "hub_always_push", "hub_revision"),
                    "luce does not upload; the run's model/ is a folder in HF format"),
    **dict.fromkeys(("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
                    "luce keeps the last model; compare checkpoints with `luce report`"),
    "resume_from_checkpoint": "run `luce train` again on the same folder: it resumes by itself",
    "neftune_noise_alpha": "luce adds no noise to embeddings",
    "label_smoothing_factor": "luce's sft has no smoothing",
    "data_seed": "train.seed is the seed of the order too",
    "eval_delay": "luce evaluates at the start too",
    "optim_args": "luce trains with AdamW and the settings of `train`",
    "optim_target_modules": "luce trains with AdamW",
    "lr_scheduler_kwargs": "luce's schedules end at 0 and take no parameters",
    "train_sampling_strategy": "luce shuffles by train.seed",
    "use_cpu": "luce takes the accelerator that it finds; set CUDA_VISIBLE_DEVICES to nothing",
}  # fmt: skip

OTHER_ARGUMENTS = frozenset(
    """
    activation_checkpointing activation_checkpointing_kwargs batch_eval_metrics
    dataloader_in_order dataloader_multiprocessing_context ddp_static_graph
    enable_jit_checkpoint eval_do_concat_batches eval_use_gather_object include_for_metrics
    restore_callback_states_from_checkpoint trackio_bucket_id trackio_space_id
    trackio_static_space_id
    """.split()
)
"""Further keys, which have no counterpart in luce."""

ADAMW = {"adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw", "adam", "adamw_apex_fused"}
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant_with_warmup": "constant"}
TRACKERS = ("trackio", "tensorboard", "wandb", "mlflow")


def translate_training(t: Translation, devices: int | None, said: str = "") -> None:
    """All of the shared settings. `said` tells where the number of devices comes from; None devices
    where the peer's batch size is that of a whole step."""
    if devices is None:
        key = "per_device_train_batch_size"
        t.put("train.batch_size", t.whole(key), key)
    else:
        _batch(t, devices, said)
    t.put("train.epochs", t.number("num_train_epochs"), "num_train_epochs")
    steps = t.whole("max_steps")
    if steps is not None and steps > 0:
        t.put("train.max_steps", steps, "max_steps")
    else:
        t.same("max_steps", "no limit, as in luce")
    _schedule(t)
    _optimizer(t)
    _precision(t)
    _saving(t)
    _evaluation(t)
    _naming(t)


def _batch(t: Translation, devices: int, said: str) -> None:
    each = t.whole("per_device_train_batch_size") or 1
    times = t.whole("gradient_accumulation_steps") or 1
    note = f"{each} per device × {times} accumulated × {devices} devices ({said})"
    keys = ("per_device_train_batch_size", "gradient_accumulation_steps")
    t.put("train.batch_size", each * times * devices, *keys, note=note)


def _schedule(t: Translation) -> None:
    rate = t.number("learning_rate")
    if rate is None:
        raise LuceError(f"{t.place}: no `{t.name('learning_rate')}`, and no default for it.")
    t.put("train.learning_rate", rate, "learning_rate")
    name = str(t.get("lr_scheduler_type")).lower()
    shape = SCHEDULES.get(name)
    if name == "constant":
        t.put("train.lr_scheduler_type", "constant", "lr_scheduler_type")
        t.put("train.warmup_ratio", 0.0, "warmup_ratio", "warmup_steps",
              note="`constant` does not warm up")  # fmt: skip
        return
    nearest = "constant" if name.startswith("constant") else "cosine"
    t.put("train.lr_scheduler_type", shape or nearest, "lr_scheduler_type")
    if shape is None:
        t.leave(
            "lr_scheduler_type",
            f"luce has cosine, linear and constant, which end at 0 (or at the peak); the recipe "
            f"has {nearest}",
            default=True,
        )
    warm_up(t)


def warm_up(t: Translation) -> None:
    """`warmup_ratio`, or `warmup_steps` as a share of steps that are known."""
    ratio, steps = t.number("warmup_ratio"), t.number("warmup_steps") or 0.0
    total = t.whole("max_steps") or 0
    if steps >= 1:
        t.same("warmup_ratio", "warmup_steps counts before it")
        if total > 0:
            note = f"{steps:g} of {total} steps"
            t.put("train.warmup_ratio", min(1.0, steps / total), "warmup_steps", note=note)
        else:
            t.leave(
                "warmup_steps",
                f"luce warms up for a share of the steps, and the file does not say how many there "
                f"are: train.warmup_ratio = {steps:g} / (rows × epochs / batch_size)",
            )
        return
    if ratio is None or (t.has("warmup_steps") and 0 < steps < 1):
        t.put("train.warmup_ratio", steps, "warmup_steps")
        t.same("warmup_ratio", "null")
    else:
        t.put("train.warmup_ratio", ratio, "warmup_ratio")
        t.same("warmup_steps", "0, so that warmup_ratio counts")


def _optimizer(t: Translation) -> None:
    name = str(t.get("optim")).lower()
    if name in ADAMW:
        t.same("optim", "AdamW, as in luce")
    else:
        t.leave("optim", "luce trains with AdamW, its states in float32", default=True)
    for key in ("weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"):
        note = "on matrices only" if key == "weight_decay" and t.number(key) else ""
        t.put(f"train.{key}", t.number(key), key, note=note)
    clip = t.number("max_grad_norm")
    if clip:
        t.put("train.max_grad_norm", clip, "max_grad_norm")
    else:
        t.put("train.max_grad_norm", 1e9, "max_grad_norm", note="0 stands for no clipping")


def _precision(t: Translation) -> None:
    whole = t.get("bf16") == "full"  # axolotl's word for weights in bfloat16
    if t.flag("fp16") and not whole and not t.flag("bf16"):
        t.leave("fp16", "luce trains in float32, or in bfloat16 with train.bf16", default=True)
    else:
        t.same("fp16", "off, as in luce")
    if not whole:
        t.put("train.bf16", t.flag("bf16"), "bf16")
    t.put("train.deterministic", t.flag("full_determinism"), "full_determinism")
    t.put("train.gradient_checkpointing", t.flag("gradient_checkpointing"),
          "gradient_checkpointing")  # fmt: skip


def _saving(t: Translation) -> None:
    _steps(t, "train.logging_steps", "logging_steps")
    strategy = str(t.get("save_strategy")).lower()
    if strategy == "steps":
        t.same("save_strategy", "steps, as in luce")
        _steps(t, "train.save_steps", "save_steps")
    elif strategy == "no":
        t.same(
            "save_strategy", "luce saves the model at the end; its checkpoints are to resume from"
        )
        t.same("save_steps", "save_strategy is `no`")
    else:
        t.leave("save_strategy", "luce saves every train.save_steps steps, and at the end")
        t.same("save_steps", f"save_strategy is `{strategy}`")
    limit = t.whole("save_total_limit")
    if limit is None:
        t.put("train.save_total_limit", 1000, "save_total_limit", note="all are kept")
    else:
        t.put("train.save_total_limit", max(1, limit), "save_total_limit")


def _steps(t: Translation, target: str, key: str) -> None:
    value = t.number(key)
    if value is None or value < 0:
        t.same(key, "not set")
    elif value < 1:
        t.leave(key, "a share of all steps; luce counts steps", default=True)
    else:
        t.put(target, int(value), key)


def _evaluation(t: Translation) -> None:
    key = "evaluation_strategy" if t.has("evaluation_strategy") else "eval_strategy"
    strategy = str(t.get(key)).lower()
    if strategy == "steps":
        every = t.number("eval_steps") or t.number("logging_steps")
        if every is not None and every >= 1:
            t.put("train.eval_steps", int(every), "eval_steps", key)
        elif every is not None and every < 0:
            t.same("eval_steps", "not set")
        else:
            t.leave("eval_steps", "a share of all steps; luce counts steps")
            t.same(key, "see eval_steps")
    elif strategy in ("no", "false", "none"):
        t.same(key, "luce evaluates held-out rows, if there are any, at both ends")
        t.same("eval_steps", f"{key} is `no`")
    else:
        t.leave(key, "luce evaluates at both ends, and every train.eval_steps steps")
        t.same("eval_steps", f"{key} is `{strategy}`")


def evaluates(t: Translation) -> bool:
    """Whether the peer evaluates during training."""
    key = "evaluation_strategy" if t.has("evaluation_strategy") else "eval_strategy"
    return str(t.get(key)).lower() not in ("no", "false", "none")


def _naming(t: Translation) -> None:
    t.put("train.seed", t.whole("seed"), "seed", note="the order of the rows differs all the same")
    if t.text("output_dir"):
        t.put("output_dir", t.text("output_dir"), "output_dir")
    run = t.text("run_name")
    if run:
        t.put("name", run.replace("/", "-").replace("\\", "-").strip(), "run_name")
    value = t.get("report_to")
    trackers = [str(name) for name in (value if isinstance(value, list) else [value])]
    known = [name for name in trackers if name in TRACKERS]
    if known:
        t.put("train.report_to", known[0], "report_to")
    elif all(name in ("none", "None", "[]") for name in trackers):
        t.same("report_to", "none, as in luce")
    unknown = [name for name in trackers if name not in (*TRACKERS, "none", "None")]
    if unknown or len(known) > 1:
        t.leave("report_to", f"luce reports to one of {', '.join(TRACKERS)}")
