"""Attention over a row whose prompts are shared: every response sees its prompt and itself.

transformers calls a registered function in place of its own attention and hands it the keyword
arguments of the model's forward: `luce=SharedRow(...)` says how the row is laid out. Which networks
can do this is decided by `best_layout` from their configuration, and proved by a self-check.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from luce.errors import ModelError
from luce.types import Span

IMPLEMENTATION = "luce"
ATTENDING = {"full_attention", "sliding_attention", "chunked_attention"}
"""The layer types of transformers that are softmax attention; all others carry a state along the
row or compress it, and cannot be told where one sequence ends and the next begins."""


class SharedRow:
    """The groups of a row and what each token of a group may see.

    Attributes:
        spans: where each group lies.
        calls: attention layers that have read it; a self-check counts them.
    """

    def __init__(self, spans: tuple[Span, ...]) -> None:
        self.spans = spans
        self.calls = 0
        self._masks: dict[torch.device, list[Tensor | None]] = {}

    def masks(self, device: torch.device) -> list[Tensor | None]:
        """What each token of each group sees; None where that is plainly everything before it."""
        if device not in self._masks:
            self._masks[device] = [
                group_mask(span).to(device) if len(span.branches) > 1 else None
                for span in self.spans
            ]
        return self._masks[device]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with response."""
        return max(span.prompt + max(span.branches) for span in self.spans)


def group_mask(span: Span) -> Bool[Tensor, "tokens tokens"]:
    """True where token i (row) sees token j (column): j ≤ i, and j is in the prompt or in i's own
    response.

    >>> group_mask(Span(start=0, prompt=1, branches=(1, 1))).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    """
    lengths = torch.tensor((span.prompt, *span.branches))
    branch = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    own = (branch[None, :] == 0) | (branch[None, :] == branch[:, None])
    return own.tril()


def shared_prompt_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    luce: SharedRow | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """softmax(scaling · Q Kᵀ) V, group by group; grouped queries share keys and values.

    In come (1, heads, tokens, width), out goes (1, tokens, heads, width), as transformers wants it.

    Raises ModelError where the network asks for an attention that this is not, or lost the layout.
    """
    name = type(module).__name__
    if luce is None:
        raise ModelError(f"{name} does not hand the layout of the row on to its attention.")
    for variant in ("softcap", "s_aux", "position_bias"):
        if kwargs.get(variant) is not None:
            raise ModelError(f"{name} uses {variant}, which shared-prompt attention does not have.")
    if sliding_window is not None and sliding_window < luce.longest:
        raise ModelError(f"{name} sees a window of {sliding_window} tokens only.")
    if not getattr(module, "is_causal", True):
        raise ModelError(f"{name} is not causal.")
    luce.calls += 1
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key = key.repeat_interleave(repeats, dim=1)
        value = value.repeat_interleave(repeats, dim=1)
    outputs = []
    for span, mask in zip(luce.spans, luce.masks(query.device), strict=True):
        part = slice(span.start, span.end)
        outputs.append(
            scaled_dot_product_attention(
                query[:, :, part],
                key[:, :, part],
                value[:, :, part],
                attn_mask=mask,
                is_causal=mask is None,
                dropout_p=dropout,
                scale=scaling,
            )
        )
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(IMPLEMENTATION, shared_prompt_attention)


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
    if not getattr(model, "_supports_attention_backend", False):
        return "packed", f"{type(model).__name__} takes no registered attention"
    if getattr(config, "attn_logit_softcapping", None) is not None:
        return "packed", "attention logits are soft-capped"
    window = getattr(config, "sliding_window", None)
    if window is not None and getattr(config, "use_sliding_window", True):
        if getattr(config, "layer_types", None) is None or "sliding_attention" in kinds:
            return "packed", f"a sliding window of {window} tokens is active"
    if "chunked_attention" in kinds and getattr(config, "attention_chunk_size", None) is not None:
        return "packed", "attention is chunked"
    if dropout:
        return "packed", "dropout is on, and responses would share their prompt's dropout mask"
    return "shared", "the configuration is plain causal attention"
