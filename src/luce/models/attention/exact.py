"""Attention over a shared row by its definition, for every device, precision and variant.

`exact` goes group by group, and keeps nothing of size tokens² for the backward pass; `dense` puts
one mask over the row and leaves the backward pass to autograd: slow, plain, and what the other
kernels are tested against.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from luce.models.attention.row import SharedRow, Variant, group_mask
from luce.types import Span

SCORES = 2**24
"""Scores held at a time, 64 MiB in float32, unless one token alone has more."""


def exact(query: Tensor, key: Tensor, value: Tensor, row: SharedRow, variant: Variant) -> Tensor:
    """Attention with windows, chunks, soft-capped scores and sinks, group by group.

    (1, heads, tokens, width) comes in, with fewer heads of keys and values where queries share
    them; (1, tokens, heads, width of the values) goes out, contiguous. Beside inputs and output
    it holds one group's mask, or `SCORES` scores.
    """
    if variant.softcap is None and variant.sinks is None:
        parts = [_masked(query, key, value, row, span, variant) for span in row.spans]
        return torch.cat([part.transpose(1, 2) for part in parts], dim=1)
    out = _Exact.apply(query, key, value, variant.sinks, row, variant)
    return cast(Tensor, out)


def _masked(
    query: Tensor, key: Tensor, value: Tensor, row: SharedRow, span: Span, variant: Variant
) -> Tensor:
    """A group under its mask, by torch's own attention."""
    asked = variant.within(span.prompt + max(span.branches))
    plain = not asked.masked and len(span.branches) == 1
    mask = None
    if not plain:
        name = ("mask", span, asked.window, asked.chunk, query.device)
        mask = row.keep(name, lambda: group_mask(span, asked.window, asked.chunk).to(query.device))
    part = slice(span.start, span.end)
    keys, values = key[:, :, part], value[:, :, part]
    shared = query.shape[1] != key.shape[1]
    if shared and query.device.type != "cpu":
        # with a mask, the kernels for CUDA do not take fewer heads of keys
        repeats = query.shape[1] // key.shape[1]
        keys, values = (x.repeat_interleave(repeats, dim=1) for x in (keys, values))
        shared = False
    return scaled_dot_product_attention(
        query[:, :, part],
        keys,
        values,
        attn_mask=mask,
        is_causal=plain,
        scale=variant.scale_of(query.shape[-1]),
        enable_gqa=shared,
    )


class _Exact(torch.autograd.Function):
    """The same with soft-capped scores and sinks; the scores are computed again in the backward
    pass. Heads that share keys are kept together: (key heads, queries of a key · tokens, width)."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        sinks: Tensor | None,
        row: SharedRow,
        variant: Variant,
    ) -> Tensor:
        _, heads, tokens, _ = query.shape
        wide = torch.float64 if query.dtype == torch.float64 else torch.float32
        out = query.new_empty((1, tokens, heads, value.shape[-1])).transpose(1, 2)
        lse = query.new_empty((1, heads, tokens), dtype=wide)
        with torch.autocast(query.device.type, enabled=False):
            for own, seen in _slices(row, heads):
                scores, _ = _scores(query, key, row, variant, own, seen)
                part = scores.logsumexp(-1)
                if sinks is not None:
                    part = torch.logaddexp(part, _by_key(sinks.to(wide)[:, None], key))
                shares = torch.exp(scores - part[..., None]).to(value.dtype)
                found = shares.flatten(1, 2) @ value[0, :, seen]
                out[0, :, own] = found.view(heads, -1, value.shape[-1])
                lse[0, :, own] = part.flatten(0, 1)
        ctx.save_for_backward(query, key, value, sinks, out, lse)
        ctx.row, ctx.variant = row, variant
        return out.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        query, key, value, sinks, out, lse = ctx.saved_tensors
        row, variant, heads = ctx.row, ctx.variant, query.shape[1]
        grad = grad.transpose(1, 2)
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.zeros_like(key), torch.zeros_like(value)
        along = (grad.to(lse.dtype) * out.to(lse.dtype)).sum(-1)
        scale = variant.scale_of(query.shape[-1])
        with torch.autocast(query.device.type, enabled=False):
            for own, seen in _slices(row, heads):
                scores, slope = _scores(query, key, row, variant, own, seen)
                shares = torch.exp(scores - _by_key(lse[0, :, own], key)[..., None])
                outer = _by_key(grad[0, :, own], key).flatten(1, 2)
                by_share = (outer @ value[0, :, seen].mT).view_as(shares).to(lse.dtype)
                by_score = shares * (by_share - _by_key(along[0, :, own], key)[..., None])
                if slope is not None:
                    by_score = by_score * slope
                by_product = (by_score * scale).to(query.dtype).flatten(1, 2)
                found = by_product @ key[0, :, seen]
                grad_query[0, :, own] = found.view(heads, -1, query.shape[-1])
                queries = _by_key(query[0, :, own], key).flatten(1, 2)
                grad_key[0, :, seen] += by_product.mT @ queries
                grad_value[0, :, seen] += shares.to(grad.dtype).flatten(1, 2).mT @ outer
        grad_sinks = None
        if sinks is not None:
            # a sink is a key of value 0: its dP is 0, its dS is −P · (dO · O)
            share = torch.exp(sinks.to(lse.dtype)[None, :, None] - lse)
            grad_sinks = -(share * along).sum((0, 2)).to(sinks.dtype)
        return grad_query, grad_key, grad_value, grad_sinks, None, None


def _slices(row: SharedRow, heads: int) -> Iterator[tuple[slice, slice]]:
    """Queries, as many as `SCORES` allows, and the keys of their group up to the last of them."""
    for span in row.spans:
        step = max(1, SCORES // (heads * (span.end - span.start)))
        for start in range(span.start, span.end, step):
            end = min(start + step, span.end)
            yield slice(start, end), slice(span.start, end)


def _scores(
    query: Tensor, key: Tensor, row: SharedRow, variant: Variant, own: slice, seen: slice
) -> tuple[Tensor, Tensor | None]:
    """Scores (key heads, queries of a key, queries, keys), −inf where nothing is seen, and the
    slope of the soft cap."""
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    queries = _by_key(query[0, :, own], key)
    scores = (queries.flatten(1, 2) @ key[0, :, seen].mT).to(wide)
    scores = scores.view(*queries.shape[:3], -1) * variant.scale_of(query.shape[-1])
    slope = None
    if variant.softcap is not None:
        bent = torch.tanh(scores / variant.softcap)
        scores, slope = bent * variant.softcap, 1 - bent * bent
    places = torch.arange(len(row), device=query.device)
    tokens = row.tokens(query.device)
    mask = tokens.sees(places[own, None], places[None, seen], variant.window, variant.chunk)
    return scores.masked_fill(~mask, -torch.inf), slope


def _by_key(rows: Tensor, key: Tensor) -> Tensor:
    """(heads, …) as (key heads, queries of a key, …)."""
    return rows.unflatten(0, (key.shape[1], -1))


def dense(query: Tensor, key: Tensor, value: Tensor, row: SharedRow, variant: Variant) -> Tensor:
    """The same as `exact` under one mask of tokens × tokens."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    every = torch.arange(len(row), device=query.device)
    tokens = row.tokens(query.device)
    mask = tokens.sees(every[:, None], every[None, :], variant.window, variant.chunk)
    scale = variant.scale_of(query.shape[-1])
    if variant.softcap is None and variant.sinks is None:
        out = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        return out.transpose(1, 2).contiguous()
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    scores = (query @ key.mT).to(wide) * scale
    if variant.softcap is not None:
        scores = torch.tanh(scores / variant.softcap) * variant.softcap
    scores = scores.masked_fill(~mask, -torch.inf)
    if variant.sinks is not None:
        sinks = variant.sinks.to(wide)[None, :, None, None].expand(*scores.shape[:3], 1)
        scores = torch.cat((scores, sinks), dim=-1)
    shares = scores.softmax(-1)[..., : len(row)].to(value.dtype)
    return (shares @ value).transpose(1, 2).contiguous()
