"""Log-probabilities of given tokens from hidden states, without ever keeping the logits.

log p(y) = z_y − log Σ_v exp(z_v), with z = cap · tanh(u / cap) where the head has a soft cap (else
z = u) and u = scale · (W h + b). The vocabulary axis exists for one chunk of tokens at a time.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_CPU, CHUNK_GPU = 512, 4096
"""Tokens per chunk: small ones fit the caches of a CPU, small ones starve a GPU."""


def linear_log_prob(
    hidden: Float[Tensor, "tokens hidden"],
    weight: Float[Tensor, "vocab hidden"],
    targets: Int[Tensor, " tokens"],
    bias: Float[Tensor, " vocab"] | None = None,
    softcap: float | None = None,
    scale: float = 1.0,
    chunk: int | None = None,
) -> Float[Tensor, " tokens"]:
    """log softmax(z)[target] of each token, in nats; float32, or float64 where `hidden` is float64.

    Softmax, sums over the vocabulary and sums over chunks are made in the dtype of the result,
    whatever the dtype of `hidden`; `weight` is read in the dtype of `hidden`. Gradients are exact
    for hidden, weight and bias. Where weight and bias are frozen, ∂ log p/∂h is made in the forward
    pass (two matrix products per chunk and no second pass); otherwise the logits are made again in
    the backward pass (four). Second derivatives are not available.
    """
    return _LinearLogProb.apply(hidden, weight, bias, targets, softcap, scale, chunk)


def _logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, softcap: float | None, scale: float
) -> Tensor:
    """z of one chunk, in the accumulation dtype."""
    dtype = _accumulation_dtype(hidden)
    if hidden.is_cuda and hidden.dtype != dtype:
        # cuBLAS accumulates in float32 anyway; rounding the result to 8 bits would be a choice
        logits = torch.mm(hidden, weight.t(), out_dtype=dtype)
    else:
        logits = (hidden @ weight.t()).to(dtype)
    if bias is not None:
        logits += bias.to(dtype)
    if scale != 1.0:
        logits *= scale
    if softcap is not None:
        logits.div_(softcap).tanh_().mul_(softcap)
    return logits


def _accumulation_dtype(hidden: Tensor) -> torch.dtype:
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def _gradient_of_logits(
    logits: Tensor, lse: Tensor, targets: Tensor, upstream: Tensor, softcap: float | None, s: float
) -> Tensor:
    """∂(Σ upstream · log p)/∂(W h + b), written over `logits`."""
    slope = None if softcap is None else 1 - (logits / softcap).square()
    gradient = logits.sub_(lse[:, None]).exp_().mul_(-upstream[:, None])
    gradient.scatter_add_(1, targets[:, None], upstream[:, None])
    if slope is not None:
        gradient *= slope
    return gradient if s == 1.0 else gradient.mul_(s)


class _LinearLogProb(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        softcap: float | None,
        scale: float,
        chunk: int | None,
    ) -> Tensor:
        chunk = chunk or (CHUNK_GPU if hidden.is_cuda else CHUNK_CPU)
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        frozen = needs_hidden and not needs_weight and not needs_bias
        targets = targets.long()
        dtype = _accumulation_dtype(hidden)
        result = hidden.new_empty(len(hidden), dtype=dtype)
        normalizer = torch.empty_like(result)
        jacobian = torch.empty_like(hidden) if frozen else None
        with torch.autocast(hidden.device.type, enabled=False):
            head = weight.to(hidden.dtype)
            for start in range(0, len(hidden), chunk):
                part = slice(start, start + chunk)
                logits = _logits(hidden[part], head, bias, softcap, scale)
                lse = torch.logsumexp(logits, 1)
                normalizer[part] = lse
                result[part] = logits.gather(1, targets[part, None])[:, 0] - lse
                if jacobian is not None:
                    ones = torch.ones_like(lse)
                    gradient = _gradient_of_logits(logits, lse, targets[part], ones, softcap, scale)
                    jacobian[part] = gradient.to(hidden.dtype) @ head
        ctx.softcap, ctx.scale, ctx.chunk, ctx.frozen = softcap, scale, chunk, frozen
        if frozen:
            ctx.save_for_backward(jacobian)
        else:
            ctx.save_for_backward(hidden, weight, bias, targets, normalizer)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if ctx.frozen:
            (jacobian,) = ctx.saved_tensors
            hidden_gradient = (upstream[:, None] * jacobian).to(jacobian.dtype)
            return hidden_gradient, None, None, None, None, None, None
        hidden, weight, bias, targets, normalizer = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        dtype = normalizer.dtype
        for_hidden = torch.empty_like(hidden) if needs_hidden else None
        for_weight = torch.zeros_like(weight, dtype=dtype) if needs_weight else None
        for_bias = torch.zeros_like(bias, dtype=dtype) if needs_bias else None
        with torch.autocast(hidden.device.type, enabled=False):
            head = weight.to(hidden.dtype)
            for start in range(0, len(hidden), ctx.chunk):
                part = slice(start, start + ctx.chunk)
                logits = _logits(hidden[part], head, bias, ctx.softcap, ctx.scale)
                gradient = _gradient_of_logits(
                    logits, normalizer[part], targets[part], upstream[part], ctx.softcap, ctx.scale
                )
                if for_bias is not None:
                    for_bias += gradient.sum(0)
                gradient = gradient.to(hidden.dtype)
                if for_hidden is not None:
                    for_hidden[part] = gradient @ head
                if for_weight is not None:
                    _add_product(for_weight, gradient.t(), hidden[part])
        return (
            for_hidden,
            None if for_weight is None else for_weight.to(weight.dtype),
            None if for_bias is None else for_bias.to(bias.dtype),
            None,
            None,
            None,
            None,
        )


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, summed in the dtype of `total`."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif left.is_cuda:
        total += torch.mm(left, right, out_dtype=total.dtype)
    else:
        total += (left @ right).to(total.dtype)
