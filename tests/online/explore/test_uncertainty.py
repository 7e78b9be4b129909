"""Widths against explicit inverses, and the sketch against the error it states."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.errors import LuceError
from luce.online.explore import Covariance, Sketch, information_gain


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def exact(rows, ridge, x):
    sigma = ridge * torch.eye(rows.shape[1], dtype=torch.float64) + rows.T @ rows
    return torch.einsum("nd,de,ne->n", x, torch.linalg.inv(sigma), x).sqrt()


def test_a_gain_worked_by_hand():
    """Four arms φ = e₁, e₂, e₃, 0; π¹ = (1/2, 1/2, 0, 0), π² = (0, 1/4, 1/4, 1/2); λ = 1 and one
    comparison of arms 1 and 2, Δφ = (1, −1, 0). E φ differs by v = (1/2, 1/4, −1/4).
    Σ⁻¹ = I − ΔΔᵀ/3, so Γ² = 3/8 − (1/4)²/3 = 17/48.
    """
    features = torch.cat([torch.eye(3), torch.zeros(1, 3)]).double()
    seen = Covariance(3, ridge=1.0)
    seen.update(features[[0]] - features[[1]])
    first = torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64)
    second = torch.tensor([0.0, 0.25, 0.25, 0.5], dtype=torch.float64)
    found = information_gain(seen, features, first, second)
    assert found.item() == pytest.approx(math.sqrt(17 / 48), abs=1e-12)
    assert information_gain(seen, features, first, first).item() == 0.0


def test_the_sum_is_of_outer_products():
    """With the inner product that the talk prints, a number, every direction would be known alike;
    a comparison along e₁ says nothing about e₂."""
    seen = Covariance(2, ridge=0.5)
    seen.update(torch.tensor([[3.0, 0.0]]))
    width = seen.width(torch.eye(2)).tolist()
    assert width == pytest.approx([1 / math.sqrt(9.5), 1 / math.sqrt(0.5)])


def test_widths_are_those_of_the_inverse_block_by_block():
    rows, x = normal(30, 5), normal(7, 5, seed=1)
    seen = Covariance(5, ridge=0.1)
    for block in rows.split(4):
        seen.update(block)
        seen.width(x)  # a factor kept from before must not survive the update
    assert torch.allclose(seen.width(x), exact(rows, 0.1, x), rtol=1e-10)


def test_each_world_has_its_own_covariance():
    rows, x = normal(2, 6, 3), normal(2, 4, 5, 3, seed=1)
    seen = Covariance(3, 0.2, (2,))
    seen.update(rows)
    found = seen.width(x)
    assert found.shape == (2, 4, 5)
    for w in range(2):
        assert torch.allclose(found[w].flatten(), exact(rows[w], 0.2, x[w].reshape(-1, 3)))


def test_the_sketch_is_exact_while_the_directions_fit():
    rows = normal(40, 3) @ normal(3, 12, seed=1)  # 40 comparisons along 3 directions
    x = normal(9, 12, seed=2)
    seen = Sketch(12, ridge=0.3, rank=3)
    seen.update(rows)
    assert seen.lost < 1e-9
    assert torch.allclose(seen.width(x), exact(rows, 0.3, x), rtol=1e-8)


@settings(max_examples=25, deadline=None)
@given(
    rank=st.integers(1, 9),
    seed=st.integers(0, 10_000),
    decay=st.floats(0.0, 2.0),
    blocks=st.integers(1, 30),
)
def test_the_exact_width_lies_between_the_two_of_the_sketch(rank, seed, decay, blocks):
    """And what was lost is within the bound of frequent directions."""
    scale = torch.arange(1, 11, dtype=torch.float64) ** -decay
    rows = normal(60, 10, seed=seed) * scale
    x = normal(8, 10, seed=seed + 1)
    seen = Sketch(10, ridge=0.05, rank=rank)
    for block in rows.split(blocks):
        seen.update(block)
    truth = exact(rows, 0.05, x)
    assert (seen.lower_width(x) <= truth * (1 + 1e-9)).all()
    assert (truth <= seen.width(x) * (1 + 1e-9)).all()
    squares = torch.linalg.svdvals(rows).square()
    bound = min(squares[k:].sum().item() / (rank + 1 - k) for k in range(rank + 1))
    assert seen.lost <= bound * (1 + 1e-9)


@pytest.mark.parametrize(("rank", "most"), [(32, 0.2), (128, 0.015)])
def test_a_sketch_of_large_features_is_close_where_they_decay(rank, most):
    """512 dimensions whose k-th has scale 1/k, λ = 1."""
    scale = torch.arange(1, 513, dtype=torch.float64) ** -1.0
    rows, x = normal(600, 512) * scale, normal(50, 512, seed=1) * scale
    seen = Sketch(512, ridge=1.0, rank=rank)
    seen.update(rows)
    truth = exact(rows, 1.0, x)
    error, below = seen.width(x) / truth - 1, 1 - seen.lower_width(x) / truth
    assert 0 <= error.min() and error.max() < most
    assert 0 <= below.min() and below.max() < most


def test_single_precision_features_are_taken():
    seen = Covariance(3, 1.0)
    seen.update(torch.ones(2, 3))
    assert seen.width(torch.ones(4, 3)).dtype == torch.float64


def test_what_does_not_fit_is_refused():
    with pytest.raises(LuceError, match="ridge"):
        Covariance(3, 0.0)
    with pytest.raises(LuceError, match="3 features last"):
        Covariance(3, 1.0).update(torch.ones(2, 4))
    with pytest.raises(LuceError, match="worlds first"):
        Covariance(3, 1.0, (2,)).width(torch.ones(5, 3))
    with pytest.raises(LuceError, match="rank"):
        Sketch(3, 1.0, rank=3)
    with pytest.raises(LuceError, match="it holds 3"):
        Sketch(3, 1.0, rank=2).update(torch.ones(2, 4))
