"""What policies and reward models have in common: a transformers network, with or without an
adapter, whose hidden states are read at chosen places of a packed row."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from luce.errors import ModelError
from luce.models.attention import (
    IMPLEMENTATION,
    implementation,
    plain_implementation,
)
from luce.models.layout import Layout, Rows


def inner(module: nn.Module) -> PreTrainedModel:
    """The transformers model inside an adapter, or the module itself."""
    return cast(
        PreTrainedModel, module.get_base_model() if isinstance(module, PeftModel) else module
    )


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name, sorted."""
    return {name: p for name, p in sorted(module.named_parameters()) if p.requires_grad}


def parameter_hash(module: nn.Module, adapters: bool = True) -> str:
    """sha256 over name, dtype, shape and bytes of every parameter, in the order of the names.

    Names are those of the network without an adapter around it, so that a base model hashes the
    same by itself and (with `adapters=False`) inside an adapter.
    """
    tuner = module.base_model.prefix if isinstance(module, PeftModel) else None
    named = {}
    for name, parameter in module.named_parameters():
        added = tuner is not None and (tuner in name or ".modules_to_save." in name)
        if adapters or not added:
            plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
            named[plain.replace(".original_module", "")] = parameter
    digest = hashlib.sha256()
    for name in sorted(named):
        tensor = named[name].detach()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def adapter_disabled(module: nn.Module) -> Iterator[None]:
    """The network as it was before the adapter; ModelError where there is none."""
    if not isinstance(module, PeftModel):
        raise ModelError(
            "This model has no adapter to switch off: all of its weights are trained. "
            "Its base is its initial state; use `reference: initial`."
        )
    with module.disable_adapter():
        yield


def silence_dropout(module: nn.Module, spared: str | None = None) -> tuple[str, ...]:
    """Sets every dropout probability of the network to 0, but for layers with `spared` in their
    name, and names those that were not.

    Dropout makes π(y|x) a random number: the margin at step 0 would not be 0, and two responses
    would be compared under two different networks.
    """
    changed = []
    for name, part in module.named_modules():
        if spared is not None and spared in name:
            continue
        if isinstance(part, nn.Dropout) and part.p > 0:
            part.p = 0.0
            changed.append(name)
        for field, value in list(vars(part).items()):
            if "dropout" in field and isinstance(value, float) and value > 0:
                setattr(part, field, 0.0)
                changed.append(f"{name}.{field}".lstrip("."))
    return tuple(changed)


def has_dropout(module: nn.Module) -> bool:
    """True where some dropout is active in training mode."""
    return any(
        (isinstance(part, nn.Dropout) and part.p > 0)
        or any("dropout" in k and isinstance(v, float) and v > 0 for k, v in vars(part).items())
        for part in module.modules()
    )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, without gradients; the mode it was in comes back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def precision(device: torch.device, autocast: torch.dtype | None) -> AbstractContextManager[Any]:
    """Mixed precision, or nothing."""
    return nullcontext() if autocast is None else torch.autocast(device.type, dtype=autocast)


def inputs(rows: Rows) -> dict[str, Any]:
    """Rows as keyword arguments of a transformers forward."""
    given = {
        "input_ids": rows.input_ids,
        "position_ids": rows.position_ids,
        "attention_mask": rows.attention_mask,
        "luce": rows.shared,
    }
    return {name: value for name, value in given.items() if value is not None} | {
        "use_cache": False
    }


def hidden_states(backbone: nn.Module, rows: Rows) -> Tensor:
    """The last hidden states where the rows are read: (reads, hidden)."""
    return backbone(**inputs(rows)).last_hidden_state.flatten(0, 1)[rows.read]


def in_order(parts: list[Tensor], rows: tuple[Rows, ...]) -> Tensor:
    """What was read from several rows, in the order in which it was asked for."""
    if len(parts) == 1 and rows[0].shared is not None:
        return parts[0]
    order = torch.cat([r.order.to(parts[0].device) for r in rows])
    return torch.cat(parts)[torch.argsort(order)]


def attention_for(module: nn.Module, layout: Layout) -> str:
    """The name of the attention implementation that a layout needs."""
    return IMPLEMENTATION if layout == "shared" else plain_implementation(inner(module))


def with_attention(module: nn.Module, layout: Layout) -> AbstractContextManager[None]:
    """The network with the attention that a layout needs, for a while."""
    return implementation(inner(module), attention_for(module, layout))


def checkpoint_layers(module: nn.Module) -> None:
    """Layers keep their inputs only and run again in the backward pass."""
    model = inner(module)
    if not model.supports_gradient_checkpointing:
        raise ModelError(f"{type(model).__name__} has no gradient checkpointing; leave it out.")
    # the name changed between the versions of transformers that luce runs on
    renamed = getattr(model, "activation_checkpointing_enable", None)
    (renamed or model.gradient_checkpointing_enable)({"use_reentrant": False})


def check_calls(module: nn.Module, rows: tuple[Rows, ...]) -> None:
    """ModelError unless every layer went through the attention for shared prompts, once."""
    layers = inner(module).config.get_text_config().num_hidden_layers
    for shared in (row.shared for row in rows):
        if shared is not None and shared.calls != layers:
            raise ModelError(f"{shared.calls} of {layers} layers use the registered attention")
