"""Attention over a shared row by its definition, for every device, precision and variant.

`exact` goes group by group, and keeps nothing of size tokens² for the backward pass; `dense` puts
one mask over the row and leaves the backward pass to autograd: slow, plain, and what the other
kernels are tested against.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from luce.models.attention.row import SharedRow, Variant, group_mask
from luce.types import Span

SCORES = 2**24
"""Scores held at a time, 64 MiB in float32, unless one token alone has more."""

BLOCK = 128
"""Queries taken at a time: the keys after the last of them are left out."""


def exact(query: Tensor, key: Tensor, value: Tensor, row: SharedRow, variant: Variant) -> Tensor:
    """Attention with windows, chunks, soft-capped scores and sinks, group by group.

    (1, heads, tokens, width) comes in, with fewer heads of keys and values where queries share
    them; (1, tokens, heads, width of the values) goes out, contiguous. Beside inputs and output
    it holds one group's mask, or `SCORES` scores.
    """
    dtype = value.dtype
    if value.device.type == "cpu" and dtype != torch.float64:
        # in 16 bits torch's kernels take longer where the processor has no AMX
        query, key, value = (x.float() for x in (query, key, value))
    if variant.softcap is None and variant.sinks is None and not variant.masked:
        parts = [_plain(query, key, value, row, span, variant) for span in row.spans]
        return torch.cat([part.transpose(1, 2) for part in parts], dim=1).to(dtype)
    out = cast(Tensor, _Exact.apply(query, key, value, variant.sinks, row, variant))
    return out.to(dtype)


def _plain(
    query: Tensor, key: Tensor, value: Tensor, row: SharedRow, span: Span, variant: Variant
) -> Tensor:
    """A group of plain causal attention under its mask, by torch."""
    alone = len(span.branches) == 1
    mask = None
    if not alone:
        shape = (span.prompt, span.branches)
        mask = row.keep(("mask", shape, query.device), lambda: group_mask(span).to(query.device))
    part = slice(span.start, span.end)
    keys, values = key[:, :, part], value[:, :, part]
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        # with a mask, the kernels for CUDA do not take fewer heads of keys
        keys, values = (x.repeat_interleave(repeats, dim=1) for x in (keys, values))
    return scaled_dot_product_attention(
        query[:, :, part],
        keys,
        values,
        attn_mask=mask,
        is_causal=alone,
        scale=variant.scale_of(query.shape[-1]),
    )


class _Exact(torch.autograd.Function):
    """The same with windows, chunks, soft caps and sinks; the backward pass computes the scores
    again. Heads that share keys stand together: (key heads, queries of a key · tokens, width)."""

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
            for part in _parts(row, heads, variant):
                scores, _ = _scores(query, key, row, variant, part)
                sums = scores.logsumexp(-1)
                if sinks is not None:
                    sums = torch.logaddexp(sums, _by_key(sinks.to(wide)[:, None], key))
                shares = scores.sub_(sums[..., None]).exp_().to(value.dtype)
                found = shares.flatten(1, 2) @ part.keys(value[0])
                out[0, :, part.own] = found.view(heads, -1, value.shape[-1])
                lse[0, :, part.own] = sums.flatten(0, 1)
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
            for part in _parts(row, heads, variant):
                own = part.own
                scores, slope = _scores(query, key, row, variant, part)
                shares = scores.sub_(_by_key(lse[0, :, own], key)[..., None]).exp_()
                outer = _by_key(grad[0, :, own], key).flatten(1, 2)
                by_score = (outer @ part.keys(value[0]).mT).view_as(shares).to(lse.dtype)
                by_score.sub_(_by_key(along[0, :, own], key)[..., None]).mul_(shares)
                if slope is not None:
                    by_score.mul_(slope)
                by_product = by_score.mul_(scale).to(query.dtype).flatten(1, 2)
                found = by_product @ part.keys(key[0])
                grad_query[0, :, own] = found.view(heads, -1, query.shape[-1])
                queries = _by_key(query[0, :, own], key).flatten(1, 2)
                part.add(grad_key[0], by_product.mT @ queries)
                part.add(grad_value[0], shares.to(grad.dtype).flatten(1, 2).mT @ outer)
        grad_sinks = None
        if sinks is not None:
            # a sink is a key of value 0: its dP is 0, its dS is −P · (dO · O)
            share = torch.exp(sinks.to(lse.dtype)[None, :, None] - lse)
            grad_sinks = -(share * along).sum((0, 2)).to(sinks.dtype)
        return grad_query, grad_key, grad_value, grad_sinks, None, None


@dataclass(frozen=True)
class _Part:
    """Queries `own` and what they see at most: a stretch of the prompt, then one of their own
    response (empty for queries of the prompt)."""

    own: slice
    prompt: slice
    response: slice

    def keys(self, rows: Tensor) -> Tensor:
        """The keys of (heads, tokens, …)."""
        prompt, response = rows[:, self.prompt], rows[:, self.response]
        return torch.cat((prompt, response), dim=1) if response.shape[1] else prompt

    def add(self, rows: Tensor, gradients: Tensor) -> None:
        """Adds what belongs to the keys."""
        cut = self.prompt.stop - self.prompt.start
        rows[:, self.prompt] += gradients[:, :cut]
        if cut < gradients.shape[1]:
            rows[:, self.response] += gradients[:, cut:]


def _parts(row: SharedRow, heads: int, variant: Variant) -> Iterator[_Part]:
    """All queries of the row, no more at a time than `BLOCK`, nor than `SCORES` allows; without
    the keys that lie after all of them, or before their windows and chunks."""
    for span in row.spans:
        branches = span.start + span.prompt
        at, before = span.start, 0
        for number, length in enumerate((span.prompt, *span.branches)):
            step = min(BLOCK, max(1, SCORES // (heads * (span.prompt + length))))
            for start in range(at, at + length, step):
                own = slice(start, min(start + step, at + length))
                low = _lowest(before + start - at, variant)
                if number:
                    prompt = slice(span.start + min(low, span.prompt), branches)
                    yield _Part(own, prompt, slice(at + max(0, low - before), own.stop))
                else:
                    yield _Part(own, slice(span.start + low, own.stop), slice(0, 0))
            at, before = at + length, span.prompt


def _lowest(position: int, variant: Variant) -> int:
    """The first position that a query at this position sees."""
    window = 0 if variant.window is None else position - variant.window + 1
    chunk = 0 if variant.chunk is None else position // variant.chunk * variant.chunk
    return max(0, window, chunk)


def _scores(
    query: Tensor, key: Tensor, row: SharedRow, variant: Variant, part: _Part
) -> tuple[Tensor, Tensor | None]:
    """Scores (key heads, queries of a key, queries, keys), −inf where nothing is seen, and the
    slope of the soft cap."""
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    queries = _by_key(query[0, :, part.own], key)
    scores = (queries.flatten(1, 2) @ part.keys(key[0]).mT).to(wide)
    scores = scores.view(*queries.shape[:3], -1)
    scale = variant.scale_of(query.shape[-1])
    slope = None
    if variant.softcap is not None:
        scores.mul_(scale / variant.softcap).tanh_()
        slope = torch.addcmul(scores.new_ones(()), scores, scores, value=-1)
        scores.mul_(variant.softcap)
    else:
        scores.mul_(scale)
    return scores.masked_fill_(_unseen(row, variant, part, query.device), -torch.inf), slope


def _unseen(row: SharedRow, variant: Variant, part: _Part, device: torch.device) -> Tensor:
    """True where a query does not see a key of its part: among them only positions decide."""
    positions = row.tokens(device).position
    at, other = positions[part.own, None], part.keys(positions[None])
    unseen = other > at
    if variant.window is not None:
        unseen |= other <= at - variant.window
    if variant.chunk is not None:
        unseen |= other // variant.chunk != at // variant.chunk
    return unseen


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
