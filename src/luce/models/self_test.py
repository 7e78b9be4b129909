"""Does this machine compute every layout of a row right? A tiny network in memory, measured against
its own forward on padded rows, in float32 on the CPU.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from luce.errors import LuceError
from luce.models.attention.row import Kernel, Variant, using_kernel
from luce.models.attention.varlen import can_varlen
from luce.models.layout import Layout
from luce.models.policy import CausalPolicy
from luce.models.self_check import BROKEN, HALF_TOLERANCE, TOLERANCE, probe
from luce.models.tiny import BYTES, Shape, new_model, new_tokenizer
from luce.numerics import segment_sum

SHAPE = Shape(hidden=32, layers=2, heads=2, max_positions=64)
WIDTH = SHAPE.hidden // SHAPE.heads
GRADIENT = {torch.float32: 1e-3, torch.bfloat16: 0.2}
"""Largest relative error, ‖g − g'‖ / ‖g‖, of the gradient that counts as right."""


@dataclass(frozen=True)
class LayoutTest:
    """How one way of showing rows to a network came out on this machine.

    Attributes:
        device, dtype: where and in what precision it ran, such as `cpu` and `float32`.
        layout, kernel: the layout, and the attention kernel of a shared row; "" for the others.
        nats: largest difference per response from padded rows in float32; None where it did not
            run.
        gradient: ‖g − g'‖ / ‖g‖ of the sum of all log-probabilities by the embedding, likewise.
        right: both are within tolerance.
        reason: why it did not run, or "".
    """

    device: str
    dtype: str
    layout: str
    kernel: str
    nats: float | None
    gradient: float | None
    right: bool
    reason: str = ""


def self_test(device: torch.device) -> list[LayoutTest]:
    """Every layout, and every kernel of the shared one, on this device, in float32 and bfloat16."""
    tokenizer = new_tokenizer([], BYTES + 3)  # begin, end, pad
    model = new_model(tokenizer, SHAPE)
    row = probe(len(tokenizer), (0, 1, 2))

    def measured(place: torch.device, dtype: torch.dtype, layout: Layout) -> tuple[Tensor, Tensor]:
        module = nn.Module.to(copy.deepcopy(model), place, dtype)
        policy = CausalPolicy(module, tokenizer, "the tiny model", layout=layout)
        found = policy.log_probs(row.to(place))
        found.sum().backward()
        gradient = policy.inner.get_input_embeddings().weight.grad
        assert isinstance(gradient, Tensor)  # it is the leaf that was differentiated by
        sums = segment_sum(found.detach().float(), row.lengths.to(place))
        return sums.cpu(), gradient.float().cpu()

    truth, slope = measured(torch.device("cpu"), torch.float32, "padded")
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        for layout, kernel in _ways(device, dtype):
            names = (device.type, str(dtype).removeprefix("torch."), layout)
            named = kernel if layout == "shared" else ""
            try:
                with using_kernel(kernel):
                    sums, gradient = measured(device, dtype, layout)
            except (*BROKEN, LuceError, AssertionError) as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                results.append(LayoutTest(*names, named, None, None, False, lines[0]))
                continue
            off = float((sums - truth).abs().max())
            bent = float((gradient - slope).norm() / slope.norm())
            limit = TOLERANCE if dtype == torch.float32 else HALF_TOLERANCE
            right = off <= limit and bent <= GRADIENT[dtype]
            results.append(LayoutTest(*names, named, off, bent, right))
    return results


def _ways(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[Layout, Kernel]]:
    """The layouts, and for shared rows the kernels that this device has in this precision."""
    yield "padded", "auto"
    yield "packed", "auto"
    if device.type == "cpu":
        yield "shared", "branch"
    elif can_varlen(device, dtype, (WIDTH, WIDTH), Variant()):
        yield "shared", "varlen"
    if device.type == "cuda":
        yield "shared", "flex"
    yield "shared", "exact"
    yield "shared", "dense"
