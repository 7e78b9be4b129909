"""Log-probabilities of given tokens from hidden states, without ever keeping the logits.

log p(y) = z_y − log Σ_v exp(z_v), with z = cap · tanh(u / cap) where the head has a soft cap (else
z = u) and u = scale · (W h + b). The vocabulary axis exists for one chunk of tokens at a time.

From the same logits come, where they are asked for, two more values of each token's distribution:
Σ_v p(v)², and KL(q ‖ p) = Σ_v q(v) log q(v)/p(v) from a reference distribution q.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from luce.errors import ModelError

CHUNK_CPU, CHUNK_GPU = 512, 4096
"""Tokens per chunk: small ones fit the caches of a CPU, small ones starve a GPU."""

COLUMNS = ("sum_p2", "kl")
"""What there is of a token besides its log-probability."""


@dataclass(frozen=True)
class Output:
    """An output layer and what it reads: z = softcap(scale · (W h + b))."""

    hidden: Float[Tensor, "tokens hidden"]
    weight: Float[Tensor, "vocab hidden"]
    bias: Float[Tensor, " vocab"] | None = None
    softcap: float | None = None
    scale: float = 1.0

    def take(self, index: Int[Tensor, " n"]) -> "Output":
        """The same layer on these tokens."""
        return replace(self, hidden=self.hidden[index])

    def logits(self, part: slice) -> Float[Tensor, "chunk vocab"]:
        """z of some of the tokens, in the accumulation dtype."""
        hidden, dtype = self.hidden[part], _accumulation_dtype(self.hidden)
        weight = self.weight.to(hidden.dtype)
        if hidden.is_cuda and hidden.dtype != dtype:
            # cuBLAS accumulates in float32 anyway; rounding the result to 8 bits would be a choice
            logits = torch.mm(hidden, weight.t(), out_dtype=dtype)
        else:
            logits = (hidden @ weight.t()).to(dtype)
        if self.bias is not None:
            logits += self.bias.to(dtype)
        if self.scale != 1.0:
            logits *= self.scale
        if self.softcap is not None:
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits


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
    return linear_values(Output(hidden, weight, bias, softcap, scale), targets, chunk=chunk)[0]


def linear_values(
    output: Output,
    targets: Int[Tensor, " tokens"],
    columns: Collection[str] = (),
    reference: Output | None = None,
    chunk: int | None = None,
) -> tuple[Float[Tensor, " tokens"], dict[str, Float[Tensor, " tokens"]]]:
    """`linear_log_prob`, and columns made from the same logits.

    Args:
        columns: `sum_p2`, Σ_v p(v)², without gradient; `kl`, KL(q ‖ p) in nats, whose gradient is
            exact for hidden, weight and bias of `output`.
        reference: q, for `kl`. It has no gradient.

    Raises:
        ModelError: `kl` without a reference, or with one over another number of tokens.
    """
    if "kl" not in columns:
        reference = None
    elif reference is None:
        raise ModelError("kl: there is no reference distribution beside the policy's.")
    elif len(reference.weight) != len(output.weight):
        raise ModelError(
            f"kl: the reference's output layer has {len(reference.weight)} tokens, the policy's "
            f"{len(output.weight)}. Use a reference with the policy's own vocabulary."
        )
    else:  # cast once, not chunk by chunk
        weight = reference.weight.detach().to(reference.hidden.dtype)
        reference = replace(reference, hidden=reference.hidden.detach(), weight=weight)
    chunk = chunk or (CHUNK_GPU if output.hidden.is_cuda else CHUNK_CPU)
    settings = _Settings(output.softcap, output.scale, chunk, "sum_p2" in columns, reference)
    log_prob, sum_p2, kl = _LinearValues.apply(
        output.hidden, output.weight, output.bias, targets.long(), settings
    )
    found = {"sum_p2": sum_p2, "kl": kl}
    return log_prob, {name: found[name] for name in columns}


def logit_values(
    logits: Float[Tensor, "tokens vocab"],
    targets: Int[Tensor, " tokens"],
    columns: Collection[str] = (),
    reference: Float[Tensor, "tokens vocab"] | None = None,
) -> tuple[Float[Tensor, " tokens"], dict[str, Float[Tensor, " tokens"]]]:
    """What `linear_values` gives, from logits that are there in full."""
    log_p = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)
    found = {}
    if "sum_p2" in columns:
        found["sum_p2"] = log_p.detach().mul(2).exp_().sum(1)
    if "kl" in columns:
        if reference is None or reference.shape != logits.shape:
            raise ModelError("kl: no reference distribution over the policy's own vocabulary.")
        log_q = reference.to(log_p.dtype).log_softmax(-1)
        found["kl"] = (log_q.exp() * (log_q - log_p)).sum(1)
    return log_p.gather(1, targets.long()[:, None])[:, 0], found


def _accumulation_dtype(hidden: Tensor) -> torch.dtype:
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


@dataclass(frozen=True)
class _Settings:
    softcap: float | None
    scale: float
    chunk: int
    sum_p2: bool
    reference: Output | None

    def of(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Output:
        return Output(hidden, weight, bias, self.softcap, self.scale)

    def parts(self, tokens: int) -> list[slice]:
        return [slice(start, start + self.chunk) for start in range(0, tokens, self.chunk)]


def _gradient_of_logits(
    logits: Tensor,
    lse: Tensor,
    targets: Tensor,
    upstream: Tensor,
    kl: tuple[Tensor, Tensor] | None,
    settings: _Settings,
) -> Tensor:
    """∂(Σ upstream · log p + Σ v · KL(q ‖ p))/∂(W h + b), written over `logits`; `kl` is q and v.

    ∂ log p(y)/∂z = 1[y] − p, and ∂KL/∂z = p − q."""
    cap, scale = settings.softcap, settings.scale
    slope = None if cap is None else 1 - (logits / cap).square()
    of_p = -upstream if kl is None else kl[1] - upstream
    gradient = logits.sub_(lse[:, None]).exp_().mul_(of_p[:, None])
    gradient.scatter_add_(1, targets[:, None], upstream[:, None])
    if kl is not None:
        gradient.addcmul_(kl[0], kl[1][:, None], value=-1)
    if slope is not None:
        gradient *= slope
    return gradient if scale == 1.0 else gradient.mul_(scale)


class _LinearValues(torch.autograd.Function):
    """(hidden, weight, bias, targets, settings) → (log p, Σ p² or None, KL or None)."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        settings: _Settings,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        frozen = needs_hidden and not needs_weight and not needs_bias
        reference = settings.reference
        result = hidden.new_empty(len(hidden), dtype=_accumulation_dtype(hidden))
        normalizer = torch.empty_like(result)
        sum_p2 = torch.empty_like(result) if settings.sum_p2 else None
        kl = None if reference is None else torch.empty_like(result)
        jacobian = torch.empty_like(hidden) if frozen else None
        kl_jacobian = torch.empty_like(hidden) if frozen and kl is not None else None
        with torch.autocast(hidden.device.type, enabled=False):
            head = weight.to(hidden.dtype)
            output = settings.of(hidden, head, bias)
            for part in settings.parts(len(hidden)):
                logits, y = output.logits(part), targets[part]
                lse = torch.logsumexp(logits, 1)
                normalizer[part] = lse
                result[part] = logits.gather(1, y[:, None])[:, 0] - lse
                if sum_p2 is not None:
                    sum_p2[part] = logits.sub(lse[:, None]).mul_(2).exp_().sum(1)
                zeros, ones = torch.zeros_like(lse), torch.ones_like(lse)
                if reference is not None and kl is not None:
                    log_q = reference.logits(part).to(result.dtype).log_softmax(1)
                    q = log_q.exp()
                    kl[part] = (log_q.sub_(logits).add_(lse[:, None])).mul_(q).sum(1)
                    if kl_jacobian is not None:
                        slope = _gradient_of_logits(
                            logits.clone(), lse, y, zeros, (q, ones), settings
                        )
                        kl_jacobian[part] = slope.to(hidden.dtype) @ head
                if jacobian is not None:
                    slope = _gradient_of_logits(logits, lse, y, ones, None, settings)
                    jacobian[part] = slope.to(hidden.dtype) @ head
        ctx.settings, ctx.frozen = settings, frozen
        if frozen:
            ctx.save_for_backward(jacobian, kl_jacobian)
        else:
            ctx.save_for_backward(hidden, weight, bias, targets, normalizer)
        if sum_p2 is not None:
            ctx.mark_non_differentiable(sum_p2)
        return result, sum_p2, kl

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, upstream: Tensor, _: Tensor | None, kl_upstream: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        settings: _Settings = ctx.settings
        if ctx.frozen:
            jacobian, kl_jacobian = ctx.saved_tensors
            gradient = upstream[:, None] * jacobian
            if kl_jacobian is not None and kl_upstream is not None:
                gradient = gradient + kl_upstream[:, None] * kl_jacobian
            return gradient.to(jacobian.dtype), None, None, None, None
        hidden, weight, bias, targets, normalizer = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        dtype = normalizer.dtype
        for_hidden = torch.empty_like(hidden) if needs_hidden else None
        for_weight = torch.zeros_like(weight, dtype=dtype) if needs_weight else None
        for_bias = torch.zeros_like(bias, dtype=dtype) if needs_bias else None
        with torch.autocast(hidden.device.type, enabled=False):
            head = weight.to(hidden.dtype)
            output = settings.of(hidden, head, bias)
            for part in settings.parts(len(hidden)):
                kl = None
                if settings.reference is not None and kl_upstream is not None:
                    q = settings.reference.logits(part).to(dtype).softmax(1)
                    kl = q, kl_upstream[part]
                gradient = _gradient_of_logits(
                    output.logits(part), normalizer[part], targets[part], upstream[part], kl,
                    settings,
                )  # fmt: skip
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
        )


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, summed in the dtype of `total`."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif left.is_cuda:
        total += torch.mm(left, right, out_dtype=total.dtype)
    else:
        total += (left @ right).to(total.dtype)
