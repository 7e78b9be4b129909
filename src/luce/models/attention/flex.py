"""Attention over a shared row by torch's FlexAttention, on blocks that hold something to see.

Compiled on CUDA; elsewhere torch runs it block by block and without a backward pass, which is what
the tests do. Good for long responses: short ones leave most of a block unused.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast, no_type_check

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from luce.models.attention.row import SharedRow, Tokens, Variant

BLOCK = 128
LONG = 1024
"""Mean tokens of a response from which this kernel is chosen on CUDA: quoted, not measured here."""


def block_mask(
    row: SharedRow, window: int | None, chunk: int | None, device: torch.device, block: int = BLOCK
) -> BlockMask:
    """Which blocks of keys each block of queries sees in part, and which as a whole.

    Made from the places of the tokens one block of queries at a time, against the keys from the
    first of their groups on: never a mask of tokens × tokens.
    """
    tokens = _padded(row.tokens(device), block)
    blocks = len(tokens.group) // block
    some = torch.zeros((blocks, blocks), dtype=torch.bool, device=device)
    whole = torch.zeros_like(some)
    starts = [span.start for span in row.spans for _ in range(span.start, span.end)]
    for number in range(blocks):
        first, end = number * block, (number + 1) * block
        low = starts[first] // block
        queries = torch.arange(first, end, device=device)[:, None]
        keys = torch.arange(low * block, end, device=device)[None, :]
        seen = tokens.sees(queries, keys, window, chunk).view(block, -1, block)
        some[number, low : number + 1] = seen.any(2).any(0)
        whole[number, low : number + 1] = seen.all(2).all(0)

    @no_type_check
    def mask(batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return tokens.sees(i, j, window, chunk)

    return BlockMask.from_kv_blocks(
        *_listed(some & ~whole),
        *_listed(whole),
        BLOCK_SIZE=block,
        mask_mod=mask,
        seq_lengths=(len(row), len(row)),
    )


def _padded(tokens: Tokens, block: int) -> Tokens:
    """Places up to a whole number of blocks; those after the row see nothing of it."""
    missing = -len(tokens.group) % block

    def more(places: Tensor, value: int) -> Tensor:
        return torch.cat((places, places.new_full((missing,), value)))

    return Tokens(more(tokens.group, -1), more(tokens.branch, 0), more(tokens.position, 0))


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many, and their numbers in front, as BlockMask wants them."""
    order = torch.argsort(blocks.int(), dim=1, descending=True, stable=True).int()
    return blocks.sum(1).int()[None, None], order[None, None]


@lru_cache
def _cap(softcap: float) -> Callable[..., Tensor]:
    """One function for each cap, so that it is compiled once."""

    @no_type_check
    def bent(score: Tensor, batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    return bent


@lru_cache
def _compiled() -> Callable[..., Any]:
    # dynamic, since every row has another length
    return torch.compile(flex_attention, dynamic=True)


def flex(query: Tensor, key: Tensor, value: Tensor, row: SharedRow, variant: Variant) -> Tensor:
    """Attention with windows, chunks, soft-capped scores and sinks over a shared row.

    (1, heads, tokens, width) comes in, with fewer heads of keys and values where queries share
    them; (1, tokens, heads, width of the values) goes out, contiguous.
    """
    name = ("blocks", variant.window, variant.chunk, query.device)
    blocks = row.keep(name, lambda: block_mask(row, variant.window, variant.chunk, query.device))
    attend = _compiled() if query.device.type == "cuda" else flex_attention
    given: dict[str, Any] = {
        "score_mod": None if variant.softcap is None else _cap(variant.softcap),
        "block_mask": blocks,
        "scale": variant.scale_of(query.shape[-1]),
        "enable_gqa": query.shape[1] != key.shape[1],
    }
    if variant.sinks is None:
        return cast(Tensor, attend(query, key, value, **given)).transpose(1, 2).contiguous()
    out, further = cast(Any, attend(query, key, value, **given, return_aux=AuxRequest(lse=True)))
    # of the softmax, exp(lse) / (exp(lse) + exp(sink)) goes to keys
    share = torch.sigmoid(further.lse - variant.sinks.to(further.lse.dtype)[None, :, None])
    return (out * share[..., None].to(out.dtype)).transpose(1, 2).contiguous()
