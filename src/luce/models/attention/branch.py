"""Attention over a shared row on the CPU, out of torch's own flash attention on contiguous pieces.

softmax over a union of keys is the mean of the softmaxes over its parts, weighted by
exp(log-sum-exp). So every piece of the row attends causally to itself, then to what else it sees
(the earlier part of its own sequence; for responses the prompt), and the results are merged.

The backward pass calls torch's backward of each piece with the *merged* output and log-sum-exp:
P = exp(score − lse) and Σ_j P_ij dP_ij = dO_i · O_i then hold for the union, and the gradients of
the pieces add up to the exact one (the identity of FlashAttention-2; Dao, 2023).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from luce.models.attention.row import SharedRow, Variant
from luce.models.products import matmul_precision
from luce.types import Span

PIECE, LEAST = 64, 32
"""Longer sequences attend to themselves in pieces of so many tokens; a rest shorter than `LEAST`
stays with the piece before it. torch's kernel computes most of the square of a causal call and
leaves half of it unused; pieces and the rectangles before them are nearly all used."""

SMALL = 128
"""heads × width below which pieces are not cut: a call then costs more than it saves."""


@dataclass(frozen=True)
class Call:
    """Equal calls on evenly spaced places of a row: `count` times, `queries` tokens from
    `query + i · query_step` against `keys` tokens from `key + i · key_step`."""

    query: int
    queries: int
    key: int
    keys: int
    count: int = 1
    query_step: int = 0
    key_step: int = 0


@dataclass(frozen=True)
class Plan:
    """The calls of a row: `own` covers every token once and is causal, `across` is not."""

    own: tuple[Call, ...]
    across: tuple[Call, ...]


def plan(spans: Iterable[Span], piece: int) -> Plan:
    """The calls for these groups, with no causal one much longer than `piece`; empty responses
    take none."""
    own, across = [], []
    for span in spans:
        at = span.start
        for length in (span.prompt, *span.branches):
            for start, size in _pieces(length, piece):
                own.append(Call(at + start, size, at + start, size))
                if start:
                    across.append(Call(at + start, size, at, start))
            at += length
        if sum(span.branches):
            branches = span.start + span.prompt
            across.append(Call(branches, span.end - branches, span.start, span.prompt))
    return Plan(_together(own), _together(across))


def _pieces(length: int, piece: int) -> Iterator[tuple[int, int]]:
    """Start and size of each piece of a sequence."""
    start = 0
    while start < length:
        left = length - start
        size = left if left < piece + LEAST else piece
        yield start, size
        start += size


def _together(calls: list[Call]) -> tuple[Call, ...]:
    """Calls of the same shape at even distances, as one. The keys of the calls put together do not
    overlap, so that their gradients can be added in place."""
    found: list[Call] = []
    for call in sorted(calls, key=lambda c: (c.queries, c.keys, c.query)):
        if found:
            last = found[-1]
            by = call.query - last.query - (last.count - 1) * last.query_step
            by_key = call.key - last.key - (last.count - 1) * last.key_step
            same = (call.queries, call.keys) == (last.queries, last.keys)
            apart = by >= call.queries and by_key >= call.keys
            if same and apart and (last.count == 1 or (by, by_key) == _steps(last)):
                found[-1] = Call(*_shape(last), last.count + 1, by, by_key)
                continue
        found.append(call)
    return tuple(found)


def _steps(call: Call) -> tuple[int, int]:
    return call.query_step, call.key_step


def _shape(call: Call) -> tuple[int, int, int, int]:
    return call.query, call.queries, call.key, call.keys


def _queries(row: Tensor, call: Call) -> Tensor:
    return _view(row, call.query, call.queries, call.count, call.query_step)


def _keys(row: Tensor, call: Call) -> Tensor:
    return _view(row, call.key, call.keys, call.count, call.key_step)


def _view(row: Tensor, start: int, length: int, count: int, step: int) -> Tensor:
    """(1, heads, tokens, …) as (count, heads, length, …), without a copy."""
    _, heads, tokens, *rest = row.stride()
    shape = (count, row.shape[1], length, *row.shape[3:])
    strides = (step * tokens, heads, tokens, *rest)
    return row.as_strided(shape, strides, row.storage_offset() + start * tokens)


_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


class _Branches(torch.autograd.Function):
    """(1, heads, tokens, width) in and out; the memory of the output lies as (1, tokens, heads,
    width), which is how transformers goes on."""

    # the products inside torch's flash kernel are small: oneDNN would take several times as long
    @staticmethod
    @matmul_precision("highest")
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        sinks: Tensor | None,
        calls: Plan,
        scale: float,
    ) -> Tensor:
        kept, dtype = (query, key, value), query.dtype
        query, key, value = (_even(x) for x in kept)
        _, heads, tokens, width = query.shape
        out = query.new_empty((1, tokens, heads, width)).transpose(1, 2)
        lse = query.new_empty((1, tokens, heads)).transpose(1, 2)
        for call in calls.own:
            part, part_lse = _forward(
                _queries(query, call), _keys(key, call), _keys(value, call), 0.0, True, scale=scale
            )
            _queries(out, call).copy_(part)
            _queries(lse, call).copy_(part_lse)
        for call in calls.across:
            part, part_lse = _forward(
                _queries(query, call), _keys(key, call), _keys(value, call), 0.0, False, scale=scale
            )
            merged, merged_lse = _queries(out, call), _queries(lse, call)
            weight = torch.sigmoid(part_lse - merged_lse)
            merged.lerp_(part, weight[..., None])
            merged_lse.copy_(torch.logaddexp(merged_lse, part_lse))
        if sinks is not None:
            sunk = torch.logaddexp(lse, sinks.to(lse.dtype)[None, :, None])
            out.mul_(torch.exp(lse - sunk)[..., None])
            lse = sunk
        out = out.to(dtype)
        ctx.save_for_backward(*kept, out, lse, sinks)
        ctx.calls, ctx.scale = calls, scale
        return out

    @staticmethod
    @once_differentiable
    @matmul_precision("highest")
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        *kept, out, lse, sinks = ctx.saved_tensors
        calls, scale = ctx.calls, ctx.scale
        query, key, value, out, grad = (_even(x) for x in (*kept, out, grad))
        found = tuple(torch.empty_like(x) for x in (query, key, value))

        def piece(call: Call, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
            return _backward(
                _queries(grad, call),
                _queries(query, call),
                _keys(key, call),
                _keys(value, call),
                _queries(out, call),
                _queries(lse, call),
                0.0,
                causal,
                scale=scale,
            )

        for call in calls.own:
            parts = piece(call, causal=True)
            for row, part, place in zip(found, parts, (_queries, _keys, _keys), strict=True):
                place(row, call).copy_(part)
        for call in calls.across:
            parts = piece(call, causal=False)
            for row, part, place in zip(found, parts, (_queries, _keys, _keys), strict=True):
                place(row, call).add_(part)
        grad_sinks = None
        if sinks is not None:
            # a sink is a key of value 0: its dP is 0, its dS is −P · (dO · O)
            along = (grad * out).sum(-1)
            share = torch.exp(sinks.to(lse.dtype)[None, :, None] - lse)
            grad_sinks = -(share * along).sum((0, 2)).to(sinks.dtype)
        narrow = (x.to(one.dtype) for x, one in zip(found, kept, strict=True))
        return *narrow, grad_sinks, None, None


def _even(row: Tensor) -> Tensor:
    """In float32 at least, neighbouring numbers in neighbouring places, as torch's kernel reads
    them. In 16 bits the kernel takes two to three times as long where the processor has no AMX."""
    row = row if row.dtype == torch.float64 else row.float()
    return row if row.stride(-1) == 1 else row.contiguous()


def branch(query: Tensor, key: Tensor, value: Tensor, row: SharedRow, variant: Variant) -> Tensor:
    """Causal attention over a shared row, with sinks or without; CPU only.

    (1, heads, tokens, width) comes in, with fewer heads of keys and values where queries share
    them; (1, tokens, heads, width of the values) goes out, contiguous.
    """
    heads, width, wide = query.shape[1], query.shape[-1], value.shape[-1]
    scale = variant.scale_of(width)
    piece = PIECE if heads * width >= SMALL else len(row)
    calls = row.keep(("plan", piece), lambda: plan(row.spans, piece))
    if wide < width:
        value = pad(value, (0, width - wide))
    elif wide > width:
        query, key = (pad(x, (0, wide - width)) for x in (query, key))
    out = cast(Tensor, _Branches.apply(query, key, value, variant.sinks, calls, scale))
    return out[..., :wide].transpose(1, 2).contiguous()
