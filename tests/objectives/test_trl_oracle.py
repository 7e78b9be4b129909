"""TRL 1.16 computes the same costs and gradients, to 1e-9 in float64, where it follows the papers.

Where it does not is stated with numbers in docs/trl.md, which test_trl_page.py holds.
"""

from dataclasses import replace

import pytest
import torch
from trl_driver import agree, both, random_pairs, trl_dpo, trl_kto, trl_reward

from luce.objectives import Objective, Pointwise
from luce.objectives.labels import flipped
from luce.objectives.losses import LOSSES
from luce.objectives.pointwise import prospect
from luce.objectives.presets import (
    aot,
    aot_unpaired,
    apo_down,
    apo_zero,
    bco,
    bradley_terry,
    discopop,
    dpo,
    dpo_nll,
    exo,
    fdpo,
    gpo_hinge,
    ipo,
    kto,
    ld_dpo,
    ln_dpo,
    mpo,
    nca,
    robust_dpo,
    rso_hinge,
    sft,
    sppo,
    wpo,
)
from luce.objectives.scores import divergence, log_ratio, mean_log_ratio
from luce.types import Demonstrations, Pairs, Responses, Unpaired

SINGLE = 1e-6
"""Where TRL computes a part in float32, whatever the input."""


@pytest.fixture
def pairs() -> Pairs:
    return random_pairs()


def js(loss: str):
    return Objective(divergence(0.3, "js"), LOSSES[loss])


SAME = {
    "sigmoid": (dpo(beta=0.3), {"beta": 0.3}),
    "hinge": (gpo_hinge(beta=0.3), {"beta": 0.3}),
    "hinge is RSO's": (rso_hinge(gamma=0.05), {"beta": 0.05}),
    "ipo": (ipo(tau=0.3, per_token=True), {"beta": 0.3}),
    "nca_pair": (nca(beta=0.3), {"beta": 0.3}),
    "robust": (robust_dpo(beta=0.3, eps=0.2), {"beta": 0.3, "label_smoothing": 0.2}),
    "aot": (aot(beta=0.3), {"beta": 0.3}),
    "aot_unpaired": (aot_unpaired(beta=0.3), {"beta": 0.3}),
    "apo_zero": (apo_zero(beta=0.3), {"beta": 0.3}),
    "apo_down": (apo_down(beta=0.3), {"beta": 0.3}),
    "discopop": (discopop(beta=0.3), {"beta": 0.3}),
    "sigmoid_norm": (ln_dpo(beta=2.0), {"beta": 2.0}),
    "sigmoid, ld_alpha": (ld_dpo(beta=0.3, alpha=0.25), {"beta": 0.3, "ld_alpha": 0.25}),
    "sigmoid, use_weighting": (wpo(beta=0.3, clamp=False), {"beta": 0.3, "use_weighting": True}),
    "sigmoid, forward_kl": (
        fdpo(beta=0.3, divergence="forward_kl"),
        {"beta": 0.3, "f_divergence_type": "forward_kl"},
    ),
    "sigmoid, js_divergence": (
        fdpo(beta=0.3, divergence="js"),
        {"beta": 0.3, "f_divergence_type": "js_divergence"},
    ),
    "hinge, js_divergence": (js("hinge"), {"beta": 0.3, "f_divergence_type": "js_divergence"}),
    "hinge, forward_kl": (
        Objective(divergence(0.3, "forward_kl"), LOSSES["hinge"]),
        {"beta": 0.3, "f_divergence_type": "forward_kl"},
    ),
    "aot, label_smoothing": (
        replace(aot(beta=0.3), labels=flipped(0.2)),
        {"beta": 0.3, "label_smoothing": 0.2},
    ),
    "ipo, use_weighting": (
        replace(ipo(tau=0.3, per_token=True), weights=wpo(clamp=False).weights),
        {"beta": 0.3, "use_weighting": True},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_losses_with_a_reference_agree(name, pairs):
    ours, settings = SAME[name]
    theirs = trl_dpo(pairs, name.split(",")[0].split()[0], **settings)
    agree(ours(pairs).mean(), theirs, *(y.policy for y in both(pairs)))


def test_exo_agrees_as_far_as_its_float32_epsilon(pairs):
    theirs = trl_dpo(pairs, "exo_pair", beta=0.3, label_smoothing=1e-3)
    ours = exo(beta=0.3, eps=1e-3)(pairs).mean()
    agree(ours, theirs, *(y.policy for y in both(pairs)), tolerance=SINGLE)


def single(pairs: Pairs) -> Pairs:
    """The same in float32."""

    def side(y: Responses) -> Responses:
        assert y.reference is not None
        return replace(
            y,
            policy=y.policy.detach().float().requires_grad_(),
            reference=y.reference.float(),
            columns={},
        )

    return Pairs(side(pairs.chosen), side(pairs.rejected))


@pytest.mark.parametrize("c", [0.1, 0.5, 0.7, 2.0])
def test_its_alpha_divergence_is_ours_of_1_minus_its_coefficient(c, pairs):
    """It has no float64; α = 1 − c may be below 0, which is a divergence too."""
    pairs = single(pairs)
    settings = {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": c}
    theirs = trl_dpo(pairs, "sigmoid", beta=0.3, **settings)
    ours = Objective(divergence(0.3, "alpha", 1 - c), LOSSES["logistic"])(pairs).mean()
    agree(ours, theirs, *(y.policy for y in both(pairs)), tolerance=5e-6)


def test_its_sppo_is_twice_ours(pairs):
    theirs = trl_dpo(pairs, "sppo_hard", beta=0.01)
    agree(2 * sppo(beta=0.01)(pairs).mean(), theirs, *(y.policy for y in both(pairs)))


def test_its_bco_is_ours_without_the_shift(pairs):
    ours = replace(bco(beta=0.3), structure="pair")(pairs).mean()
    agree(ours, trl_dpo(pairs, "bco_pair", beta=0.3), *(y.policy for y in both(pairs)))


def test_its_sft_is_the_mean_over_tokens(pairs):
    batch = Demonstrations(pairs.chosen)
    weight = sft().weight(batch)
    ours = (sft()(batch) * weight).sum() / weight.sum()
    agree(ours, trl_dpo(pairs, "sft"), pairs.chosen.policy)


def test_weighted_losses_agree_on_one_pair():
    """MPO without BCO's shift, and DPO with a likelihood: on a batch its likelihood is a mean over
    tokens, in which longer responses count more."""
    pairs = random_pairs([3], [5])
    leaves = [y.policy for y in both(pairs)]
    theirs = trl_dpo(pairs, ["sigmoid", "bco_pair", "sft"], [0.8, 0.2, 1.0], beta=0.3)
    agree(mpo(beta=0.3)(pairs).mean(), theirs, *leaves)
    theirs = trl_dpo(pairs, ["sigmoid", "sft"], [1.0, 0.7], beta=0.3)
    agree(dpo_nll(beta=0.3, alpha=0.7)(pairs).mean(), theirs, *leaves)


def test_weighted_losses_agree_on_a_batch_of_equal_lengths():
    pairs = random_pairs([3, 3], [5, 2])
    theirs = trl_dpo(pairs, ["sigmoid_norm", "sft"], [1.0, 0.7], beta=0.3)
    ours = replace(dpo_nll(beta=0.3, alpha=0.7), score=mean_log_ratio(0.3))
    agree(ours(pairs).mean(), theirs, *(y.policy for y in both(pairs)))


# --- unpaired feedback and reward models ---------------------------------------------------------


def unpaired(pairs: Pairs, shift: float) -> Unpaired:
    other = replace(pairs.rejected, policy=pairs.rejected.policy.detach() + shift)
    desirable = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    return Unpaired(pairs.chosen, desirable, other)


@pytest.mark.parametrize("shift", [-4.0, 4.0], ids=["negative-kl", "positive-kl"])
def test_kto_agrees_given_the_baseline_of_its_batch(shift, pairs):
    """Its z₀ is the mean of one batch, luce's a running mean; both are clamped at 0."""
    batch = unpaired(pairs, shift)
    theirs = trl_kto(batch, beta=0.3, loss_type="kto", desirable_weight=1.2, undesirable_weight=0.8)
    objective = kto(beta=0.3, lam_d=1.2, lam_u=0.8)
    kl = objective.statistics(batch)["kl"].mean().item()
    assert (kl > 0) == (shift > 0)
    agree(objective(replace(batch, running={"kl": kl})).mean(), theirs, batch.response.policy)


def test_apo_zero_of_single_responses_is_kto_without_a_baseline(pairs):
    batch = replace(unpaired(pairs, 0.0), mismatched=None)
    settings = {"desirable_weight": 1.2, "undesirable_weight": 0.8}
    theirs = trl_kto(batch, beta=0.3, loss_type="apo_zero_unpaired", **settings)
    ours = Pointwise(log_ratio(0.3), prospect(1.2, 0.8))
    agree(ours(batch).mean(), theirs, batch.response.policy)


@pytest.mark.parametrize("with_margin", [True, False])
@pytest.mark.parametrize("center", [None, 0.01])
def test_reward_models_agree_with_margin_and_centering(with_margin, center):
    generator = torch.Generator().manual_seed(2)
    rewards = torch.randn(6, generator=generator, dtype=torch.float64).requires_grad_()
    margin = torch.tensor([0.5, 0.0, 1.5], dtype=torch.float64) if with_margin else None
    nothing, lengths = torch.zeros(0, dtype=torch.float64), torch.ones(3, dtype=torch.long)
    sides = [Responses(nothing, lengths, reward=part) for part in rewards.split(3)]
    ours = bradley_terry(center=center or 0.0)(Pairs(*sides, margin=margin)).mean()
    agree(ours, trl_reward(rewards, margin, center), rewards)
