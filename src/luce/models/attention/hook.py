"""What transformers calls in place of its own attention, and how it decides what to compute."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from luce.errors import ModelError
from luce.models.attention.branch import branch
from luce.models.attention.exact import dense, exact
from luce.models.attention.flex import LONG, flex
from luce.models.attention.row import Kernel, SharedRow, Variant
from luce.models.attention.varlen import can_varlen, varlen

IMPLEMENTATION = "luce"

UNKNOWN = ("position_bias", "indices", "block_indices", "head_mask")
"""Keyword arguments by which a network asks for something that is not computed here."""

_UNSAID: Any = object()


def shared_prompt_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: Any = _UNSAID,
    luce: SharedRow | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """softmax(scaling · Q Kᵀ) V where every response sees its prompt and itself; within the
    layer's window or chunk, with its soft cap and sinks. Grouped queries share keys and values.

    In come (1, heads, tokens, width), out goes (1, tokens, heads, width), as transformers wants it.

    Raises ModelError where the network asks for an attention that this is not, or lost the layout.
    """
    name = type(module).__name__
    if luce is None:
        raise ModelError(f"{name} does not hand the layout of the row on to its attention.")
    for argument in UNKNOWN:
        if kwargs.get(argument) is not None:
            raise ModelError(
                f"{name} uses {argument}, which shared-prompt attention does not have."
            )
    if not getattr(module, "is_causal", True) or kwargs.get("is_causal") is False:
        raise ModelError(f"{name} is not causal.")
    if dropout > 0:
        raise ModelError(f"{name} drops attention out; responses would share their prompt's mask.")
    if query.shape[0] != 1 or query.shape[2] != len(luce) or key.shape[2] != len(luce):
        raise ModelError(
            f"{name} attends from {query.shape[0]} × {query.shape[2]} to {key.shape[2]} tokens; "
            f"its row has 1 × {len(luce)}."
        )
    luce.calls += 1
    variant = Variant(
        scaling,
        _window(module, sliding_window),
        _chunk(module),
        kwargs.get("softcap"),
        kwargs.get("s_aux"),
    ).within(luce.longest)
    dtype = _precision(value)
    query, key, value = (x.to(dtype) for x in (query, key, value))
    kernel = choose(value.device, value.dtype, (query.shape[-1], value.shape[-1]), luce, variant)
    attend = {"branch": branch, "dense": dense, "varlen": varlen, "flex": flex}.get(kernel, exact)
    return attend(query, key, value, luce, variant), None


AttentionInterface.register(IMPLEMENTATION, shared_prompt_attention)


def choose(
    device: torch.device,
    dtype: torch.dtype,
    widths: tuple[int, int],
    row: SharedRow,
    variant: Variant,
) -> Kernel:
    """The kernel for a layer: the one that the row asks for where it computes this variant, on this
    device, in this precision, for heads of these widths (queries, values); else `exact`.

    `auto` is `branch` on the CPU, and `varlen` on CUDA, or `flex` where responses are longer than
    `LONG` tokens on average.
    """
    ragged = can_varlen(device, dtype, widths, variant)
    able: dict[Kernel, bool] = {
        "branch": device.type == "cpu" and not variant.masked and variant.softcap is None,
        "varlen": ragged,
        "flex": True,
        "dense": True,
    }
    wanted = row.kernel
    if wanted == "auto" and device.type == "cpu":
        wanted = "branch"
    elif wanted == "auto" and ragged:
        wanted = "flex" if row.mean_branch > LONG else "varlen"
    return wanted if able.get(wanted, False) else "exact"


def _precision(value: Tensor) -> torch.dtype:
    """That of the values, or of autocast, as torch's own attention has it: norms of queries and
    keys may come in float32."""
    device = value.device.type
    if value.dtype == torch.float32 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return value.dtype


def _window(module: nn.Module, said: Any) -> int | None:
    """The layer's window. Some networks put it into their mask only, which is not made here."""
    if said is not _UNSAID:
        return said
    config = getattr(module, "config", None)
    window = getattr(config, "sliding_window", None)
    if window is None or not getattr(config, "use_sliding_window", True):
        return None
    if _kind(module) in ("full_attention", "chunked_attention"):
        return None
    raise ModelError(
        f"{type(module).__name__} does not tell its attention of the window of {window} tokens."
    )


def _chunk(module: nn.Module) -> int | None:
    """The layer's chunk, which transformers puts into the mask only."""
    config = getattr(module, "config", None)
    chunk = getattr(config, "attention_chunk_size", None)
    # as transformers makes its masks: without layer types every layer is chunked
    return chunk if _kind(module) in ("chunked_attention", None) else None


def _kind(module: nn.Module) -> str | None:
    """The layer's type in its configuration; None where there are no layer types."""
    kinds = getattr(getattr(module, "config", None), "layer_types", None)
    number = getattr(module, "layer_idx", None)
    return kinds[number] if kinds and number is not None else None
