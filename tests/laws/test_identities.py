"""Methods that are the same under other names."""

from dataclasses import replace

import pytest
import torch

from luce.objectives import LOSSES, Objective
from luce.objectives.presets import (
    bradley_terry,
    cdpo,
    cpo,
    dpo,
    gpo_hinge,
    gpo_square,
    ipo,
    ln_dpo,
    rdpo,
    robust_dpo,
    sft,
    simpo,
    slic,
)
from luce.objectives.scores import log_ratio, mean_log_prob
from luce.types import Demonstrations, Pairs, Responses


def without_reference(batch):
    """The same pairs under a reference that gives every token probability 1."""
    return replace(
        batch,
        chosen=replace(batch.chosen, reference=torch.zeros_like(batch.chosen.policy)),
        rejected=replace(batch.rejected, reference=torch.zeros_like(batch.rejected.policy)),
    )


@pytest.mark.parametrize("beta", [0.1, 0.7, 3.0])
def test_gpo_square_is_beta_squared_times_ipo_at_half_beta(beta, pairs):
    torch.testing.assert_close(gpo_square(beta)(pairs()), beta**2 * ipo(beta / 2)(pairs()))


def test_the_identity_with_its_number():
    """β = 0.1, h = 2.3: both are 0.5929."""
    phi = LOSSES["square"].phi(torch.tensor(0.23, dtype=torch.float64))
    assert phi.item() == pytest.approx(0.5929)
    assert 0.01 * (2.3 - 1 / 0.1) ** 2 == pytest.approx(0.5929)


@pytest.mark.parametrize("beta", [0.05, 2.0])
def test_a_hinge_on_a_scaled_ratio_is_a_scaled_hinge_with_delta_one_over_beta(beta, pairs):
    h = Objective(log_ratio(1.0), LOSSES["hinge"]).margin(pairs())
    hard = replace(pairs(), label=None)
    torch.testing.assert_close(gpo_hinge(beta)(hard), beta * torch.relu(1 / beta - h))


@pytest.mark.parametrize(
    "same", [rdpo(alpha=0.0), cdpo(eps=0.0), robust_dpo(eps=0.0)], ids=lambda o: o.name
)
def test_with_its_parameter_at_zero_it_is_dpo(same, pairs):
    torch.testing.assert_close(same(pairs()), dpo()(pairs()))


def test_cdpo_is_dpo_with_a_softer_label(pairs):
    one = pairs()
    softer = replace(one, label=0.8 * one.label + 0.1)
    torch.testing.assert_close(cdpo(eps=0.1)(one), dpo()(softer))


def test_ln_dpo_with_a_certain_reference_is_simpo_without_gamma(pairs):
    torch.testing.assert_close(
        ln_dpo(beta=2.0)(without_reference(pairs())), simpo(beta=2.0, gamma=0.0)(pairs())
    )


def test_simpo_with_beta_one_and_no_gamma_is_the_length_normalized_luce_objective(pairs):
    luce = Objective(mean_log_prob(1.0), LOSSES["logistic"])
    torch.testing.assert_close(luce(pairs()), simpo(beta=1.0, gamma=0.0)(pairs()))


def test_dpo_with_a_certain_reference_is_cpo_without_its_likelihood(pairs):
    torch.testing.assert_close(dpo()(without_reference(pairs())), cpo(alpha=0.0)(pairs()))


def test_per_token_ipo_at_equal_lengths_is_ipo_at_a_longer_tau(pairs):
    """(h/n − 1/2τ)² = (h − n/2τ)² / n² = ipo(τ/n) / n²."""
    one = pairs()
    lengths = torch.tensor([3, 3])

    def cut(y):
        return Responses(y.policy[:6], lengths, y.reference[:6])

    pair = Pairs(cut(one.chosen), cut(one.rejected))
    torch.testing.assert_close(ipo(0.3, per_token=True)(pair), ipo(0.1)(pair) / 9)


def test_slic_without_its_likelihood_is_a_hinge_on_log_probabilities(pairs):
    one = replace(pairs(), label=None)
    z = one.chosen.log_prob - one.rejected.log_prob
    torch.testing.assert_close(slic(delta=0.5, lam=0.0)(one), torch.relu(0.5 - z))


def test_the_likelihood_term_of_cpo_is_the_cost_of_sft(pairs):
    one = pairs()
    term = cpo(alpha=1.0)(one) - cpo(alpha=0.0)(one)
    torch.testing.assert_close(term, sft()(Demonstrations(one.chosen)))


def test_a_reward_model_on_implicit_rewards_is_dpo(pairs):
    one, score = replace(pairs(), margin=None), log_ratio(0.1)
    graded = replace(
        one,
        chosen=replace(one.chosen, reward=score(one.chosen)),
        rejected=replace(one.rejected, reward=score(one.rejected)),
    )
    torch.testing.assert_close(bradley_terry()(graded), dpo()(one))
