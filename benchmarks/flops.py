"""Floating-point operations that a step needs, and how many a second the machine can do."""

import time
from collections.abc import Iterable, Sequence

import torch

from benchmarks.shapes import Shape


def needed(shape: Shape, groups: Iterable[tuple[int, Sequence[int]]], rank: int = 0) -> float:
    """FLOPs of forward and backward over groups of (prompt, responses) tokens, the prompt once:

        u·2·body·Σ(P + Σ(R_i − 1)) + 3·4·d·L·Σ(P²/2 + Σ R_i P + Σ R_i²/2) + u·2·H·V·ΣR_i

    with u = 3. The reference's forward pass is not counted, nor is anything computed twice.

    Args:
        rank: of an adapter on the matrices of the layers; the weights under it and the head are
            then frozen and have no gradient: u = 2, and 3 for the adapter's own.
    """
    tokens = scored = 0
    attention = 0.0
    for prompt, responses in groups:
        tokens += prompt + sum(r - 1 for r in responses)
        scored += sum(responses)
        attention += prompt**2 / 2 + sum(r * prompt + r**2 / 2 for r in responses)
    units = 2 if rank else 3
    weights = units * (shape.body * tokens + shape.head * scored)
    adapter = 3 * shape.adapter(rank) * tokens
    return 2 * (weights + adapter) + 3 * 4 * shape.hidden * shape.layers * attention


def apart(groups: Iterable[tuple[int, Sequence[int]]]) -> list[tuple[int, list[int]]]:
    """The same responses, each with a prompt of its own."""
    return [(prompt, [response]) for prompt, responses in groups for response in responses]


def gemm_peak(dtype: torch.dtype, device: str = "cpu", tries: int = 5) -> float:
    """FLOP/s of the best of several products of large square matrices; by CPU time on one thread,
    by wall time otherwise."""
    size = 8192 if device == "cuda" else 2048
    left = torch.randn(size, size, device=device).to(dtype)
    right = torch.randn(size, size, device=device).to(dtype)
    clock = time.perf_counter if torch.get_num_threads() > 1 else time.process_time
    if device == "cuda":
        clock = time.perf_counter
    best = float("inf")
    for _ in range(tries + 1):
        synchronize(device)
        start = clock()
        torch.mm(left, right)
        synchronize(device)
        best = min(best, clock() - start)
    return 2 * size**3 / best


def synchronize(device: str) -> None:
    """Waits for the accelerator, where there is one."""
    if device == "cuda":
        torch.cuda.synchronize()
