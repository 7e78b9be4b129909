"""A ragged batch of pairs that every law is tried on, and the batches of other structures."""

from collections.abc import Callable

import pytest
import torch

from luce.types import Demonstrations, Pairs, Responses, Unpaired

LENGTHS = ((2, 3, 1, 5), (4, 1, 1, 2))


def _side(generator: torch.Generator, lengths: tuple[int, ...], dtype: torch.dtype) -> Responses:
    n = sum(lengths)
    policy, reference = -3 * torch.rand(2, n, generator=generator, dtype=torch.float64)
    grades = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    return Responses(
        policy.to(dtype).requires_grad_(),
        torch.tensor(lengths),
        reference.to(dtype),
        reward=grades.to(dtype).requires_grad_(),
    )


def _pairs(seed: int = 0, dtype: torch.dtype = torch.float64) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    chosen, rejected = (_side(generator, lengths, dtype) for lengths in LENGTHS)
    label = torch.rand(len(LENGTHS[0]), generator=generator, dtype=torch.float64).to(dtype)
    return Pairs(chosen, rejected, label)


def _batch(structure: str, pairs: Pairs) -> Pairs | Unpaired | Demonstrations:
    if structure == "demonstration":
        return Demonstrations(pairs.chosen)
    if structure == "unpaired":
        desirable = torch.tensor([1, 0, 1, 0]).to(pairs.chosen.policy.dtype)
        return Unpaired(pairs.chosen, desirable, pairs.rejected, {"kl": 0.3})
    return pairs


@pytest.fixture
def pairs() -> Callable[..., Pairs]:
    """(seed, dtype) -> four random pairs of ragged responses with soft labels and rewards."""
    return _pairs


@pytest.fixture
def batch_of() -> Callable[[str, Pairs], Pairs | Unpaired | Demonstrations]:
    """(structure, pairs) -> the same responses as a batch of that structure."""
    return _batch
