"""Log-probabilities of given tokens from hidden states, without ever keeping the logits.

log p(y) = z_y − log Σ_v exp(z_v), with z = cap · tanh(u / cap) where the head has a soft cap (else
z = u) and u = scale · (W h + b). The vocabulary axis exists for one tile at a time.

From the same logits come, where they are asked for, further values of each token's distribution:
Σ_v p(v)², its entropy, and KL(q ‖ p) = Σ_v q(v) log q(v)/p(v) from a reference distribution q.
"""

from collections.abc import Collection

import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.errors import ModelError
from luce.models.logprob_kernel import LinearValues
from luce.models.logprob_tiles import Output, Settings

__all__ = ["COLUMNS", "Output", "linear_log_prob", "linear_values", "logit_values"]

TILE_CPU, TILE_GPU = (1024, 1024), (4096, 32768)
"""Tokens × vocabulary of a tile, at most: 4 MiB fit the caches of a CPU, small ones starve a
GPU."""

STORE_CPU, STORE_GPU = 128 << 20, 4 << 30
"""Bytes that may be kept from the forward pass to spare the backward pass a matrix product."""

COLUMNS = ("sum_p2", "entropy", "kl")
"""What there is of a token besides its log-probability."""


def linear_log_prob(
    hidden: Float[Tensor, "tokens hidden"],
    weight: Float[Tensor, "vocab hidden"],
    targets: Int[Tensor, " tokens"],
    bias: Float[Tensor, " vocab"] | None = None,
    softcap: float | None = None,
    scale: float = 1.0,
    tile: tuple[int, int] | None = None,
    store: int | None = None,
) -> Float[Tensor, " tokens"]:
    """log softmax(z)[target] of each token, in nats; `linear_values` without columns."""
    output = Output(hidden, weight, bias, softcap, scale)
    return linear_values(output, targets, tile=tile, store=store)[0]


def linear_values(
    output: Output,
    targets: Int[Tensor, " tokens"],
    columns: Collection[str] = (),
    reference: Output | None = None,
    tile: tuple[int, int] | None = None,
    store: int | None = None,
) -> tuple[Float[Tensor, " tokens"], dict[str, Float[Tensor, " tokens"]]]:
    """log softmax(z)[target] of each token in nats, and columns made from the same logits; float32,
    or float64 where `output.hidden` is float64.

    Softmax, sums over the vocabulary and sums over tiles are made in the dtype of the result,
    whatever the dtype of `hidden`; `weight` is read in the dtype of `hidden`. Gradients are exact
    for hidden, weight, bias and the adapter. They cost, with the forward pass, two matrix products
    of tokens × vocabulary × hidden where the layer is frozen (∂ log p/∂h is made in the forward
    pass), three where the softmax is kept for the backward pass, and four where it is made again.
    Second derivatives are not available.

    Args:
        columns: `sum_p2`, Σ_v p(v)², and `entropy`, −Σ_v p(v) log p(v) in nats, without gradient;
            `kl`, KL(q ‖ p) in nats, whose gradient is exact.
        reference: q, for `kl`. It has no gradient.
        tile: tokens and vocabulary of a tile, at most; default by device.
        store: bytes of softmax that may be kept for the backward pass, in the dtype of `hidden`:
            as much as fits is kept, the rest made again. Default by device; none is with `kl`.

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
    else:
        reference = reference.detach()
    gpu = output.hidden.is_cuda
    settings = Settings(
        softcap=output.softcap,
        scale=output.scale,
        tile=tile or (TILE_GPU if gpu else TILE_CPU),
        store=(STORE_GPU if gpu else STORE_CPU) if store is None else store,
        recording=torch.is_grad_enabled(),
        columns=frozenset(columns),
        reference=reference,
    )
    inner, outer = output.low_rank or (None, None)
    log_prob, kl, sum_p2, entropy = LinearValues.apply(
        output.hidden, output.weight, output.bias, inner, outer, targets.long(), settings
    )
    found = {"sum_p2": sum_p2, "entropy": entropy, "kl": kl}
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
    if "entropy" in columns:
        found["entropy"] = torch.special.entr(log_p.detach().exp()).sum(1)
    if "kl" in columns:
        if reference is None or reference.shape != logits.shape:
            raise ModelError("kl: no reference distribution over the policy's own vocabulary.")
        log_q = reference.to(log_p.dtype).log_softmax(-1)
        found["kl"] = (log_q.exp() * (log_q - log_p)).sum(1)
    return log_p.gather(1, targets.long()[:, None])[:, 0], found
