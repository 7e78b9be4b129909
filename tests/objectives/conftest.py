"""Ragged responses from lists of token log-probabilities."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from luce.types import Pairs, Responses

# tests are imported by path; this is where `plain_rows` is found
sys.path.insert(0, str(Path(__file__).parent))


def _responses(
    policy: list[list[float]],
    reference: list[list[float]] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Responses:
    return Responses(
        torch.tensor([x for y in policy for x in y], dtype=dtype).requires_grad_(),
        torch.tensor([len(y) for y in policy]),
        None if reference is None else torch.tensor([x for y in reference for x in y], dtype=dtype),
    )


@pytest.fixture
def responses() -> Callable[..., Responses]:
    """(token log-probabilities of each response, the reference's, dtype) -> Responses."""
    return _responses


@pytest.fixture
def pair() -> Pairs:
    """log π = −4 and −4.5, log π_ref = −2 and −3, |y| = 2 and 3, so h = −2 − (−1.5) = −0.5."""
    return Pairs(
        _responses([[-1.0, -3.0]], [[-0.5, -1.5]]),
        _responses([[-1.5, -1.5, -1.5]], [[-1.0, -1.0, -1.0]]),
    )
