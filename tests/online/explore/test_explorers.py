"""Explorers: which pair, and never a response against itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.errors import LuceError
from luce.online.explore import (
    BestWorst,
    Candidates,
    Covariance,
    Disagreement,
    Enhancer,
    Explorer,
    Optimism,
    Sketch,
    TwoSamples,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def everyone(d=3):
    return [
        TwoSamples(),
        BestWorst(),
        Enhancer(Covariance(d, 1.0)),
        Enhancer(Sketch(d, 1.0, 2)),
        Optimism(Covariance(d, 1.0), 1.0),
        Disagreement(),
    ]


def test_best_and_worst_by_hand():
    found = BestWorst().choose(
        Candidates(torch.tensor([[0.0, 2.0, 1.0], [5.0, -1.0, 7.0]])), generator()
    )
    assert found.tolist() == [[1, 0], [2, 1]]


def test_a_constant_reward_draws_two_different_responses_at_random():
    """The first round: an argmax and an argmin without a tie-break are both response 0."""
    found = BestWorst().choose(Candidates(torch.zeros(6000, 3)), generator())
    assert (found[:, 0] != found[:, 1]).all()
    counts = torch.bincount(3 * found[:, 0] + found[:, 1], minlength=9)
    # each of the 6 ordered pairs has probability 1/6: 1000 ± 4 · 29
    assert counts[[0, 4, 8]].tolist() == [0, 0, 0]
    assert ((counts[[1, 2, 3, 5, 6, 7]] - 1000).abs() < 116).all()


def test_ties_for_the_best_are_broken_at_random():
    found = BestWorst().choose(
        Candidates(torch.tensor([[1.0, 0.0, 1.0]]).expand(4000, 3)), generator()
    )
    assert (found[:, 1] == 1).all()
    assert abs((found[:, 0] == 0).double().mean().item() - 0.5) < 0.04


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(2, 6), constant=st.booleans())
def test_no_explorer_pairs_a_response_with_itself(seed, n, constant):
    g = generator(seed)
    rewards = torch.randn(5, n, generator=g)
    features, members = torch.randn(5, n, 3, generator=g), torch.randn(5, n, 4, generator=g)
    if constant:
        rewards, features, members = (torch.zeros_like(x) for x in (rewards, features, members))
    candidates = Candidates(rewards, features, members)
    for explorer in everyone():
        assert isinstance(explorer, Explorer)
        pairs = explorer.choose(candidates, g)
        assert pairs.shape == (5, 2)
        assert (pairs[:, 0] != pairs[:, 1]).all() and (pairs >= 0).all() and (pairs < n).all()
        explorer.observe(candidates, pairs)


def test_two_samples_are_the_first_two():
    assert TwoSamples().choose(Candidates(torch.randn(2, 4)), generator()).tolist() == [[0, 1]] * 2


def test_the_enhancer_looks_where_it_has_not_looked():
    features = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 0.9]]])
    candidates = Candidates(torch.tensor([[0.0, 9.0, 0.0]]), features)
    explorer = Enhancer(Covariance(2, 1.0))
    first = explorer.choose(candidates, generator())
    assert first.tolist() == [[0, 1]]
    explorer.observe(candidates, first)
    assert explorer.choose(candidates, generator()).tolist() == [[0, 2]]
    # Σ = I + e₁e₁ᵀ
    assert explorer.uncertainty.width(features[0, 1:]).square().tolist() == pytest.approx(
        [0.5, 0.81]
    )


def test_optimism_goes_from_the_best_to_the_widest():
    features = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]]])
    candidates = Candidates(torch.tensor([[0.0, 1.0, -0.5]]), features)

    def other(c):
        return Optimism(Covariance(2, 1.0), c).choose(candidates, generator())[0, 1].item()

    # 1 + c against −½ + 3c: they cross at c = ¾
    assert [other(0.0), other(0.74), other(0.76), other(9.0)] == [1, 1, 2, 2]


def test_disagreement_is_about_differences_of_reward():
    """The members' rewards of response 1 lie farthest apart, by a constant that says nothing."""
    members = torch.tensor([[[0.0, 50.0], [0.0, 52.0], [9.0, 50.0]]])
    found = Disagreement().choose(Candidates(torch.zeros(1, 3), members=members), generator())
    assert found.tolist() == [[0, 2]]


def test_what_an_explorer_lacks_is_named():
    bare = Candidates(torch.zeros(1, 3))
    with pytest.raises(LuceError, match="features"):
        Enhancer(Covariance(2, 1.0)).choose(bare, generator())
    with pytest.raises(LuceError, match="features"):
        bare.compared(torch.tensor([[0, 1]]))
    with pytest.raises(LuceError, match="ensemble"):
        Disagreement().choose(bare, generator())
    with pytest.raises(LuceError, match="2 members"):
        Disagreement().choose(
            Candidates(torch.zeros(1, 3), members=torch.zeros(1, 3, 1)), generator()
        )
    with pytest.raises(LuceError, match="Raise n"):
        Candidates(torch.zeros(3, 1))
    with pytest.raises(LuceError, match="c = -1"):
        Optimism(Covariance(2, 1.0), -1.0)
