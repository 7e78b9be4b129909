"""Models on disk in Hugging Face format: written aside, loaded again by plain transformers,
compared, and only then given their name."""

import copy
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

from luce.errors import ModelError
from luce.files import fsync_folder
from luce.models import network
from luce.models.heads import SETTING
from luce.models.load import embedding_rows, quietly
from luce.models.policy import CausalPolicy
from luce.models.reward import GATE, RewardModel
from luce.models.self_check import probe
from luce.types import Packed

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""Largest difference that is let through: nats per token, or units of reward. What was not merged
comes back to the bit."""

MERGED_HALF_TOLERANCE = 0.5
"""The same for an adapter merged into 16-bit weights, which round the sum once more."""


def save_model(
    model: CausalPolicy | RewardModel,
    folder: Path,
    *,
    packed: Packed | None = None,
    stop_ids: Sequence[int] = (),
    merge: bool = False,
) -> float:
    """Writes weights (safetensors), tokenizer, chat template and generation settings, and returns
    the largest difference, over a packed row, between the model here and the files loaded by plain
    transformers: nats per token, or units of reward. An older folder of this name is replaced.

    Args:
        packed: rows to compare on (of a reward model: packed with `keep_last`); random tokens if
            None.
        stop_ids: the tokens the policy was trained to end with; they go to the front of the eos
            tokens of `generation_config.json`.
        merge: write an adapter's full model instead of the adapter. A reward model is always
            merged, so that it is one classifier.

    Raises:
        ModelError: the files do not give the same numbers; nothing is left that looks finished.
    """
    folder = Path(folder)
    merge = model.has_adapter and (merge or isinstance(model, RewardModel))
    row = packed if packed is not None else _random_row(model)
    aside = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        with torch.random.fork_rng(), quietly():
            _write(model, aside, stop_ids, merge)
            again = _reload(model, aside)
        difference = _difference(model, again, row)
        limit = TOLERANCE[model.inner.dtype]
        if merge and model.inner.dtype in (torch.bfloat16, torch.float16):
            limit = MERGED_HALF_TOLERANCE
        if not difference <= limit:
            raise ModelError(
                f"{folder}: not saved. Loaded again by transformers, the files differ from the "
                f"trained model by {difference:.3g} (at most {limit:g} is let through)."
            )
        _same_tokenizer(model, aside, folder)
        _sync(aside)
        _rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return difference


def _random_row(model: CausalPolicy | RewardModel) -> Packed:
    pad = model.tokenizer.pad_token_id
    avoid = () if pad is None else (int(pad),)
    return probe(embedding_rows(model.inner), avoid, keep_last=isinstance(model, RewardModel))


def _write(
    model: CausalPolicy | RewardModel, folder: Path, stop_ids: Sequence[int], merge: bool
) -> None:
    module = model.module
    if isinstance(model, RewardModel) and model.heads.names:
        numbers = () if model.numbers is None else tuple(model.numbers.tolist())
        setattr(model.inner.config, SETTING, replace(model.heads, numbers=numbers).plain())
    if isinstance(model, RewardModel) and model.gate is not None:
        save_file(model.gate.state_dict(), folder / GATE)
    if isinstance(module, PeftModel) and not merge:
        settings = module.peft_config[str(module.active_adapter)]
        local = Path(model.base).is_dir()
        settings.base_model_name_or_path = os.path.abspath(model.base) if local else model.base
        # the embeddings are the base's own; "auto" would ask the hub about them
        active = str(module.active_adapter)
        module.save_pretrained(str(folder), save_embedding_layers=False, selected_adapters=[active])
        for file in (folder / active).glob("*"):  # where peft puts all but the first
            os.replace(file, folder / file.name)
        shutil.rmtree(folder / active, ignore_errors=True)
        (folder / "README.md").unlink(missing_ok=True)  # peft's template of a card, not filled in
        _sorted_targets(folder / "adapter_config.json")
    else:
        _merged(module).save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    if isinstance(model, CausalPolicy):
        _generation_settings(model, stop_ids).save_pretrained(folder)


def _sorted_targets(path: Path) -> None:
    """Peft keeps the names of the layers as a set, whose order is another one in each process; the
    same run leaves the same bytes."""
    settings = json.loads(path.read_text("utf-8"))
    if isinstance(settings["target_modules"], list):
        settings["target_modules"].sort()
    path.write_text(json.dumps(settings, indent=2, sort_keys=True), "utf-8")


def _merged(module: nn.Module) -> PreTrainedModel:
    """The full model: the module itself, or a copy of it with its adapter merged in."""
    if not isinstance(module, PeftModel):
        return network.inner(module)
    return copy.deepcopy(module).merge_and_unload()  # type: ignore[operator]


def _generation_settings(policy: CausalPolicy, stop_ids: Sequence[int]) -> Any:
    """The model's generation settings, with what it was trained to end with among the eos."""
    settings = copy.deepcopy(policy.inner.generation_config)
    if settings is None:
        raise ModelError(f"{type(policy.inner).__name__} has no generation settings to write.")
    known = settings.eos_token_id
    known = [] if known is None else [known] if isinstance(known, int) else list(known)
    every = list(dict.fromkeys([*map(int, stop_ids), *known]))
    if every:
        settings.eos_token_id = every[0] if len(every) == 1 else every
    if settings.pad_token_id is None and policy.tokenizer.pad_token_id is not None:
        settings.pad_token_id = int(policy.tokenizer.pad_token_id)
    return settings


def _reload(model: CausalPolicy | RewardModel, folder: Path) -> nn.Module:
    """The model from the files, by plain transformers and peft."""
    auto: Any = (
        AutoModelForCausalLM
        if isinstance(model, CausalPolicy)
        else AutoModelForSequenceClassification
    )
    adapter = (folder / "adapter_config.json").exists()
    plain = auto.from_pretrained(
        model.base if adapter else folder,
        dtype=model.inner.dtype,
        use_safetensors=True,
        trust_remote_code=_has_own_code(model),
    )
    if adapter:
        plain = PeftModel.from_pretrained(plain, str(folder))
    return plain.to(model.device).eval()


def _same_tokenizer(model: CausalPolicy | RewardModel, aside: Path, folder: Path) -> None:
    """ModelError unless the tokenizer comes back with the same tokens and chat template."""
    mine = model.tokenizer
    again = AutoTokenizer.from_pretrained(aside, trust_remote_code=_has_own_code(model))
    if again.get_vocab() != mine.get_vocab() or again.eos_token_id != mine.eos_token_id:
        raise ModelError(
            f"{folder}: not saved. Its tokenizer, a {type(mine).__name__}, comes back with other "
            f"tokens as a {type(again).__name__}. Use the tokenizer that belongs to the model."
        )
    if again.chat_template != mine.chat_template:
        raise ModelError(f"{folder}: not saved. The chat template comes back different.")


def _has_own_code(model: CausalPolicy | RewardModel) -> bool:
    """True where the model came with code; it has run already, and was allowed to."""
    return "auto_map" in model.inner.config.to_dict()


def _difference(model: CausalPolicy | RewardModel, again: nn.Module, row: Packed) -> float:
    """Largest difference between the model and its files, through transformers' own forward."""
    other = copy.copy(model)
    other.module = again
    before = _plain(model, row)
    difference = float((before - _plain(other, row)).abs().max())
    return difference


def _plain(model: CausalPolicy | RewardModel, row: Packed) -> Tensor:
    """What transformers computes without luce, in the precision of the weights."""
    bare = copy.copy(model)
    bare.autocast = None
    if isinstance(bare, CausalPolicy):
        return bare.plain_log_probs(row)
    last = row.input_ids[row.ends]
    if bool((last == bare.tokenizer.pad_token_id).any()):
        raise ModelError(
            f"A response ends with {bare.pad_token}, which this reward model pads with; "
            "transformers would read the token before it. Load it with `terminator` set."
        )
    return bare.plain_rewards(row)


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    fsync_folder(folder)


def _rename(aside: Path, folder: Path) -> None:
    """The new folder takes the name; an older one of that name goes."""
    older = folder.with_name(f".{folder.name}.replaced-{os.getpid()}")
    if folder.exists():
        os.replace(folder, older)
    os.replace(aside, folder)
    fsync_folder(folder.parent)
    shutil.rmtree(older, ignore_errors=True)
