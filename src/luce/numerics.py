"""Numbers done carefully once: sums over ragged rows, logarithms near edges, finite checks."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

LOG_2 = math.log(2.0)


def segment_sum(
    values: Float[Tensor, " tokens"], lengths: Int[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """Sums of consecutive runs of `values`: run i has `lengths[i]` entries; an empty run sums to 0.

    >>> segment_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1, 2]))
    tensor([1., 6.])
    """
    rows = torch.repeat_interleave(
        torch.arange(len(lengths), device=values.device), lengths, output_size=len(values)
    )
    return values.new_zeros(len(lengths)).index_add(0, rows, values)


def running_sums(
    shares: Float[Tensor, "rows entries"], in_order: bool | None = None
) -> Float[Tensor, "rows entries"]:
    """Sums of the first 1, 2, … entries of each row of a distribution.

    On CUDA torch adds floats up in whatever order its blocks end. Where the bits are to be the same
    each time, multiples of 2⁻⁵² are added up as integers, for which the order does not matter; the
    error is below 2⁻⁵³ an entry.

    Args:
        shares: in [0, 1], of a total of about 1.
        in_order: add up integers; None: where torch is told to be deterministic, on CUDA.

    >>> running_sums(torch.tensor([[0.25, 0.5, 0.25]]), in_order=True)
    tensor([[0.2500, 0.7500, 1.0000]])
    """
    if in_order is None:
        in_order = shares.is_cuda and torch.are_deterministic_algorithms_enabled()
    if not in_order:
        return shares.cumsum(-1)
    parts = (shares.double() * 2.0**52).round().long()
    return (parts.cumsum(-1).double() / 2.0**52).to(shares.dtype)


def log1mexp(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log(1 - eˣ) for x ≤ 0, in nats; -inf at x = 0.

    Two branches, each where it loses no digits (Mächler, 2012). The branch not taken is fed a
    harmless value, so that its gradient is not nan.

    >>> log1mexp(torch.tensor([-1e-8, -1.0], dtype=torch.float64))
    tensor([-18.4207,  -0.4587], dtype=torch.float64)
    """
    near_zero = x > -LOG_2
    inner = torch.where(near_zero, x, torch.full_like(x, -LOG_2))
    outer = torch.where(near_zero, torch.full_like(x, -LOG_2), x)
    return torch.where(near_zero, torch.log(-torch.expm1(inner)), torch.log1p(-torch.exp(outer)))


def _held(x: Tensor) -> Tensor:
    """x, but no higher than eight nats below where eˣ overflows: 80 in float32."""
    return x.clamp(max=math.log(torch.finfo(x.dtype).max) - 8)


def bounded_exp(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """eˣ as far as the dtype holds it. From eight nats below where it overflows (80 in float32, 701
    in float64) the curve goes on as its tangent: still convex, with a continuous slope, and finite
    for some thousand nats more.

    >>> bounded_exp(torch.tensor([0.0, 1e3])).isfinite().all()
    tensor(True)
    """
    held = _held(x)
    return torch.exp(held) * (1 + (x - held))


def bounded_expm1(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """eˣ − 1, exact near 0, held like `bounded_exp` where it would overflow."""
    held = _held(x)
    return torch.expm1(held) + torch.exp(held) * (x - held)


def first_non_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor that holds a nan or an infinity, or None."""
    for name, tensor in tensors:
        if not torch.isfinite(tensor).all():
            return name
    return None
