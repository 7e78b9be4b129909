"""Which layout a network's configuration allows, and switching its attention."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from transformers import PreTrainedModel

from luce.models.attention.hook import IMPLEMENTATION

ATTENDING = {"full_attention", "sliding_attention", "chunked_attention"}
"""The layer types of transformers that are softmax attention; all others carry a state along the
row or compress it, and cannot be told where one sequence ends and the next begins."""


@contextmanager
def implementation(model: PreTrainedModel, name: str) -> Iterator[None]:
    """The model with this attention for a while. What is computed with gradients must also be
    differentiated inside: checkpointed layers run again in the backward pass."""
    before = model.config._attn_implementation or "eager"
    if before == name:
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def plain_implementation(model: PreTrainedModel) -> str:
    """The name of transformers' attention for this model: what it was loaded with, but `eager`
    where logits are soft-capped, which `sdpa` refuses."""
    config = model.config.get_text_config()
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    chosen = model.config._attn_implementation or "eager"
    if chosen == IMPLEMENTATION:
        # the network is in a policy already
        chosen = "sdpa" if getattr(model, "_supports_sdpa", False) else "eager"
    return "eager" if capped and chosen == "sdpa" else chosen


def best_layout(
    model: PreTrainedModel, dropout: bool
) -> tuple[Literal["shared", "packed", "padded"], str]:
    """The cheapest layout that a network's configuration allows, and why no cheaper one."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ATTENDING)
    if kinds - ATTENDING:
        return "padded", f"layers of type {', '.join(sorted(kinds - ATTENDING))} carry a state"
    if getattr(model, "_is_stateful", False):
        return "padded", f"{type(model).__name__} carries a state along the row"
    if "position_ids" not in inspect.signature(type(model).forward).parameters:
        return "padded", f"{type(model).__name__} takes no position ids"
    if getattr(config, "alibi", False):
        return "padded", "ALiBi reads distances off the row"
    if getattr(config, "attn_temperature_tuning", False):
        return "padded", "temperatures of attention are read off the row"
    if not getattr(model, "_supports_attention_backend", False):
        return "packed", f"{type(model).__name__} takes no registered attention"
    if dropout:
        return _apart(config), "dropout is on, and responses would share their prompt's mask"
    return "shared", _described(config)


def _apart(config: object) -> Literal["packed", "padded"]:
    """The cheapest layout with a prompt for each response. transformers counts chunks from the
    first token of a row, so that sequences back to back would be cut in other places."""
    return "padded" if getattr(config, "attention_chunk_size", None) is not None else "packed"


def _described(config: object) -> str:
    """What the attention is, in words."""
    kinds = set(getattr(config, "layer_types", None) or ATTENDING)
    found = []
    window = getattr(config, "sliding_window", None)
    if window is not None and getattr(config, "use_sliding_window", True):
        if "sliding_attention" in kinds:
            found.append(f"a window of {window} tokens")
    chunk = getattr(config, "attention_chunk_size", None)
    if chunk is not None and "chunked_attention" in kinds:
        found.append(f"chunks of {chunk} tokens")
    if getattr(config, "attn_logit_softcapping", None) is not None:
        found.append("soft-capped scores")
    return "the configuration is causal attention" + (f" with {', '.join(found)}" if found else "")
