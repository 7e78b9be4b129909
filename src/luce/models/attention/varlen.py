"""Attention over a shared row by one kernel for ragged sequences: every response is a sequence of
queries whose keys are its prompt and itself, gathered.

The kernel is torch's, for CUDA and 16 bits (FlashAttention-2). What is decided here, which keys
stand where, holds for any kernel of the same meaning, and is tested with a plain one.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention.varlen import varlen_attn

from luce.models.attention.row import SharedRow, Variant
from luce.types import Span

WIDEST = 256
"""The widest head that the kernel takes."""

KNOWN = frozenset(inspect.signature(varlen_attn).parameters)
"""What this torch's kernel can be asked for: scale, window and shared keys came after it."""


@dataclass(frozen=True)
class Segments:
    """Sequences of a row. Queries stand as in the row; keys are gathered.

    Attributes:
        keys: the token of the row at each gathered place.
        query_ends, key_ends: 0, then the end of each sequence, int32.
        most_queries, most_keys: of a sequence.
    """

    keys: Int[Tensor, " gathered"]
    query_ends: Int[Tensor, " ends"]
    key_ends: Int[Tensor, " ends"]
    most_queries: int
    most_keys: int

    def to(self, device: torch.device) -> "Segments":
        """The same on another device."""
        return Segments(
            self.keys.to(device),
            self.query_ends.to(device),
            self.key_ends.to(device),
            self.most_queries,
            self.most_keys,
        )


def segments(spans: tuple[Span, ...]) -> Segments:
    """A sequence for each prompt with its first response, and one for every further response that
    has tokens. The last query of a sequence stands at its last key.

    >>> found = segments((Span(start=0, prompt=2, branches=(1, 2)),))
    >>> found.keys.tolist(), found.query_ends.tolist(), found.key_ends.tolist()
    ([0, 1, 2, 0, 1, 3, 4], [0, 3, 5], [0, 3, 7])
    """
    keys, queries, lengths = [], [], []
    for span in spans:
        prompt = torch.arange(span.start, span.start + span.prompt)
        at = span.start + span.prompt
        for number, length in enumerate(span.branches):
            if length or not number:
                keys.append(torch.cat((prompt, torch.arange(at, at + length))))
                queries.append(length + (0 if number else span.prompt))
                lengths.append(span.prompt + length)
            at += length
    return Segments(
        torch.cat(keys),
        torch.tensor([0, *accumulate(queries)], dtype=torch.int32),
        torch.tensor([0, *accumulate(lengths)], dtype=torch.int32),
        max(queries),
        max(lengths),
    )


class _Gather(torch.autograd.Function):
    """rows[index]; gradients of a row that is taken several times are added in float32."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(rows)
        return rows[index]

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        wide = torch.float64 if grad.dtype == torch.float64 else torch.float32
        total = grad.new_zeros((ctx.rows, *grad.shape[1:]), dtype=wide)
        return total.index_add_(0, index, grad.to(wide)).to(grad.dtype), None


def can_varlen(
    device: torch.device, dtype: torch.dtype, widths: tuple[int, int], variant: Variant
) -> bool:
    """True where the kernel computes this, for queries and values of these widths."""
    return (
        device.type == "cuda"
        and dtype in (torch.float16, torch.bfloat16)
        and widths[0] == widths[1] <= WIDEST
        and widths[0] % 8 == 0
        and _recent(device)
        and variant.softcap is None
        and variant.sinks is None
        and variant.chunk is None
        and (variant.window is None or "window_size" in KNOWN)
    )


def _recent(device: torch.device) -> bool:
    """False for GPUs before Ampere, which the kernel does not run on."""
    return not torch.cuda.is_available() or torch.cuda.get_device_capability(device) >= (8, 0)


def varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    row: SharedRow,
    variant: Variant,
    kernel: Callable[..., Any] = varlen_attn,
    known: frozenset[str] = KNOWN,
) -> Tensor:
    """Causal attention over a shared row, in a window or not.

    (1, heads, tokens, width) comes in, with fewer heads of keys and values where queries share
    them; (1, tokens, heads, width) goes out.

    Args:
        kernel, known: what computes it, and the names of the arguments it has.
    """
    name = ("segments", query.device)
    cut = cast(Segments, row.keep(name, lambda: segments(row.spans).to(query.device)))
    repeats = query.shape[1] // key.shape[1]
    given: dict[str, Any] = {}
    scale = variant.scale_of(query.shape[-1])
    if "scale" in known:
        given["scale"] = scale
    else:
        query = query * (scale * math.sqrt(query.shape[-1]))
    if "window_size" in known:
        # keys as far back as the window less the token itself; −1 is all of them
        given["window_size"] = (-1 if variant.window is None else variant.window - 1, 0)
    else:
        given["is_causal"] = True
    if repeats > 1 and "enable_gqa" in known:
        given["enable_gqa"] = True
    elif repeats > 1:
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    keys, values = (_Gather.apply(x[0].transpose(0, 1), cut.keys) for x in (key, value))
    out = kernel(
        query[0].transpose(0, 1).contiguous(),
        keys,
        values,
        cut.query_ends,
        cut.key_ends,
        cut.most_queries,
        cut.most_keys,
        **given,
    )
    return out[None]
