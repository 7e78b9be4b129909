"""An output layer, and tiles of its logits: some tokens × some of the vocabulary."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import torch
from jaxtyping import Float, Int
from torch import Tensor

ALIGNED = 64
"""Tiles of this size or more are cut at multiples of it."""


@dataclass(frozen=True)
class Output:
    """An output layer and what it reads: z = softcap(scale · (W h + B a + b)).

    Attributes:
        hidden, weight, bias: h, W and b.
        softcap, scale: None and 1 for most.
        low_rank: a and B of an adapter on the layer, where a = s · A h is made by the caller.
    """

    hidden: Float[Tensor, "tokens hidden"]
    weight: Float[Tensor, "vocab hidden"]
    bias: Float[Tensor, " vocab"] | None = None
    softcap: float | None = None
    scale: float = 1.0
    low_rank: tuple[Float[Tensor, "tokens rank"], Float[Tensor, "vocab rank"]] | None = None

    def take(self, index: Int[Tensor, " n"]) -> "Output":
        """The same layer on these tokens."""
        low_rank = self.low_rank and (self.low_rank[0][index], self.low_rank[1])
        return replace(self, hidden=self.hidden[index], low_rank=low_rank)

    def detach(self) -> "Output":
        """The same numbers without gradient."""
        return replace(
            self,
            hidden=self.hidden.detach(),
            weight=self.weight.detach(),
            bias=None if self.bias is None else self.bias.detach(),
            low_rank=self.low_rank and (self.low_rank[0].detach(), self.low_rank[1].detach()),
        )

    def logits(
        self, rows: slice, columns: slice, into: Tensor | None = None
    ) -> Float[Tensor, "rows columns"]:
        """A tile of z in the accumulation dtype, new or in the memory of `into`."""
        hidden, weight = self.hidden[rows], self.weight[columns]
        dtype = accumulation_dtype(hidden)
        out = None if into is None else view(into, len(hidden), len(weight))
        z = _product(hidden, weight.to(hidden.dtype).t(), dtype, out)
        if self.low_rank is not None:
            inner, outer = self.low_rank
            add_product(z, inner[rows].to(hidden.dtype), outer[columns].to(hidden.dtype).t())
        if self.bias is not None:
            z += self.bias[columns].to(dtype)
        if self.scale != 1.0:
            z *= self.scale
        if self.softcap is not None:
            z.div_(self.softcap).tanh_().mul_(self.softcap)
        return z

    def slope(self, z: Tensor) -> Tensor | None:
        """∂z/∂(scale · (W h + B a + b)) at z; None where it is 1 everywhere."""
        return None if self.softcap is None else 1 - (z / self.softcap).square_()


@dataclass(frozen=True)
class Settings:
    """How the passes over the tiles of a layer are made.

    Attributes:
        softcap, scale: of the layer.
        tile: tokens and vocabulary of a tile, at most.
        store: bytes of tiles that may be kept for the backward pass.
        recording: whether there is a backward pass to come.
        columns: what is wanted besides log p.
        reference: the distribution q of `kl`.
    """

    softcap: float | None
    scale: float
    tile: tuple[int, int]
    store: int
    recording: bool
    columns: frozenset[str]
    reference: Output | None

    def layer(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        inner: Tensor | None,
        outer: Tensor | None,
    ) -> Output:
        """The layer of these tensors."""
        low_rank = None if inner is None or outer is None else (inner, outer)
        return Output(hidden, weight, bias, self.softcap, self.scale, low_rank)

    def tiles(self, output: Output) -> Iterator[tuple[slice, list[slice]]]:
        """Some of the tokens with all parts of the vocabulary, until there are no more."""
        columns = cut(len(output.weight), self.tile[1])
        for rows in cut(len(output.hidden), self.tile[0]):
            yield rows, columns

    def buffer(self, output: Output) -> Tensor | None:
        """Memory for one tile, used again and again; a GPU's allocator does that by itself."""
        if output.hidden.is_cuda:
            return None
        size = min(self.tile[0], len(output.hidden)) * min(self.tile[1], len(output.weight))
        return output.hidden.new_empty(size, dtype=accumulation_dtype(output.hidden))


def accumulation_dtype(hidden: Tensor) -> torch.dtype:
    """float32, or float64 where the hidden states are."""
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def cut(total: int, most: int) -> list[slice]:
    """0 … total in parts of at most `most`, as even as alignment allows.

    >>> [(part.start, part.stop) for part in cut(7, 3)]
    [(0, 3), (3, 6), (6, 7)]
    >>> [(part.start, part.stop) for part in cut(1100, 1024)]
    [(0, 576), (576, 1100)]
    """
    if total == 0:
        return []
    size = ceil(total / ceil(total / most))
    if most >= ALIGNED:
        size = min(ceil(size / ALIGNED) * ALIGNED, most)
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def view(memory: Tensor, rows: int, columns: int) -> Tensor:
    """The start of a flat tensor as a matrix."""
    return memory[: rows * columns].view(rows, columns)


def add_product(total: Tensor, left: Tensor, right: Tensor, first: bool = False) -> None:
    """total += left @ right, summed in the dtype of `total`; with `first`, total = left @ right."""
    if left.dtype == total.dtype:
        total.addmm_(left, right, beta=0 if first else 1)
    elif first:
        total.copy_(_product(left, right, total.dtype))
    else:
        total += _product(left, right, total.dtype)


def _product(left: Tensor, right: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
    """left @ right in this dtype."""
    if left.dtype == dtype:
        return torch.mm(left, right, out=out)
    if left.is_cuda:
        # cuBLAS accumulates in float32 anyway; rounding the result to 8 bits would be a choice
        return torch.mm(left, right, out_dtype=dtype)
    product = left @ right
    return product.to(dtype) if out is None else out.copy_(product)
