"""Methods that are the same under other names, at costs and at gradients."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from law_batches import LAW, batch_of, certain, hard, joined, leaves, make_pairs, some_pairs

from luce.objectives import LOSSES, Mixture, Objective, Pointwise, WeightedSum, pointwise
from luce.objectives.labels import flipped, reverse_kl, unbiased
from luce.objectives.presets import (
    alpha_dpo,
    alphapo,
    aot,
    aot_unpaired,
    apo_zero,
    beta_dpo,
    bradley_terry,
    cal_dpo,
    cdpo,
    chipo,
    cpo,
    dpo,
    dpo_nll,
    dpo_rw,
    dpop,
    dr_dpo,
    exo,
    exo_rw,
    fdpo,
    gdpo,
    gpo_hinge,
    gpo_square,
    infonca,
    inpo,
    ipo,
    kto,
    ld_dpo,
    ln_dpo,
    luce,
    luce_length_normalized,
    mixture,
    modpo,
    mpo,
    nca,
    nca_list,
    nll,
    odpo,
    orpo,
    pbde_geometric,
    plackett_luce,
    rdpo,
    rebel,
    robust_dpo,
    rrhf,
    rso_hinge,
    rso_sigmoid,
    sampo,
    sft,
    simpo,
    slic,
    sppo,
    tdpo1,
    tdpo2,
    wpo,
    xpo,
)
from luce.objectives.scores import geometric, log_odds, log_prob, log_ratio, mean_log_prob
from luce.types import Demonstrations, Lists, Pairs, Unpaired

FEW = settings(LAW, max_examples=6)


def same(one, other, pairs: Pairs, scale: float = 1.0) -> None:
    """Both cost the same on these pairs, up to a factor, and so do their gradients."""
    of = leaves(pairs)
    costs = one(pairs), scale * other(pairs)
    torch.testing.assert_close(*costs)
    slopes = [torch.autograd.grad(c.sum(), of, allow_unused=True) for c in costs]
    for leaf, a, b in zip(of, *slopes, strict=True):
        zero = torch.zeros_like(leaf)
        torch.testing.assert_close(zero if a is None else a, zero if b is None else b)


def with_certain_reference(pairs: Pairs) -> Pairs:
    """The same pairs under a reference that gives every token probability 1."""
    sides = {
        side: replace(y, reference=torch.zeros_like(y.policy))
        for side, y in (("chosen", pairs.chosen), ("rejected", pairs.rejected))
    }
    return replace(pairs, **sides)


LIKE_DPO = {
    "cdpo at ε = 0": cdpo(eps=0.0),
    "robust_dpo at ε = 0": robust_dpo(eps=0.0),
    "dpo_nll at α = 0": dpo_nll(alpha=0.0),
    "xpo at α = 0": xpo(alpha=0.0),
    "dpop at λ = 0": dpop(beta=0.1, lam=0.0),
    "modpo at w = 1": modpo(w=1.0),
    "rdpo at α = 0": rdpo(alpha=0.0),
    "ld_dpo at α = 1": ld_dpo(alpha=1.0),
    "tdpo2 at α = 0": tdpo2(alpha=0.0),
    "rso_sigmoid": rso_sigmoid(gamma=0.1),
    "beta_dpo at α = ρ = 0": beta_dpo(alpha=0.0, rho=0.0),
    "f-DPO of the reverse KL": fdpo(divergence="reverse_kl"),
    "mpo of it alone": mpo(weights=(1.0, 0.0, 0.0)),
}


@pytest.mark.parametrize("name", LIKE_DPO)
@given(pairs=some_pairs())
@FEW
def test_with_its_parameter_at_its_end_it_is_dpo(name, pairs):
    same(LIKE_DPO[name], dpo(), pairs)


@given(pairs=some_pairs(least=1, most=1))
@FEW
def test_of_a_batch_of_one_pair(pairs):
    """No other pair to be sorted with, to be pooled with, or to be standardized by."""
    for one in (aot(), aot_unpaired(), dr_dpo()):
        same(one, dpo(), pairs)
    same(alpha_dpo(beta=2.5, gamma=0.6), simpo(beta=2.5, gamma=1.5), pairs)


@given(pairs=some_pairs())
@FEW
def test_limits_of_dpo(pairs):
    """β′ → ∞ is the mean of the batch; α → 0 the reverse KL; ε → 0 the hard label, up to ε."""
    mean = dr_dpo(beta_prime=1e7)(pairs)
    torch.testing.assert_close(mean, dpo()(pairs).mean().expand(len(pairs)), rtol=1e-5, atol=1e-5)
    near = fdpo(divergence="alpha", alpha=1e-6)(pairs)
    torch.testing.assert_close(near, dpo()(pairs), rtol=1e-4, atol=1e-4)


@given(pairs=some_pairs())
@FEW
def test_of_certain_labels(pairs):
    one = certain(pairs)
    same(gdpo(), dpo(), one)
    same(odpo(alpha=0.0), dpo(), hard(pairs))
    same(fdpo(divergence="alpha", alpha=1.0), fdpo(divergence="forward_kl"), one)
    alike = replace(one, score_rejected=torch.zeros_like(one.chosen.length))
    alike = replace(alike, score_chosen=torch.ones_like(one.chosen.length))
    same(odpo(), dpo(), alike)  # log 1 = 0


@pytest.mark.parametrize("beta", [0.1, 0.7, 3.0])
@given(pairs=some_pairs())
@FEW
def test_gpo_square_is_beta_squared_times_ipo_at_half_beta(beta, pairs):
    same(gpo_square(beta), ipo(beta / 2), pairs, beta**2)


def test_that_identity_with_its_number():
    """β = 0.1, h = 2.3: both are 0.5929."""
    phi = LOSSES["square"].phi(torch.tensor(0.23, dtype=torch.float64))
    assert phi.item() == pytest.approx(0.5929)
    assert 0.01 * (2.3 - 1 / 0.1) ** 2 == pytest.approx(0.5929)


@pytest.mark.parametrize("gamma", [0.05, 2.0])
@given(pairs=some_pairs())
@FEW
def test_a_hinge_on_a_scaled_ratio_is_a_scaled_hinge_with_delta_one_over_gamma(gamma, pairs):
    one = certain(pairs)
    h = Objective(log_ratio(1.0), LOSSES["hinge"]).margin(one)
    torch.testing.assert_close(rso_hinge(gamma)(one), gamma * torch.relu(1 / gamma - h))
    same(rso_hinge(gamma), gpo_hinge(gamma), pairs)
    # SLiC's hinge on log-ratios with δ = 1/γ
    bare = with_certain_reference(pairs)
    same(rso_hinge(gamma), slic(delta=1 / gamma, lam=0.0), bare, gamma)


@given(pairs=some_pairs())
@FEW
def test_of_the_luce_rule(pairs):
    luce_of_means = Objective(mean_log_prob(1.0), LOSSES["logistic"])
    same(Objective(geometric(1.0), LOSSES["logistic"]), luce(), pairs)
    same(pbde_geometric(alpha=1.0), luce(), pairs)
    same(simpo(beta=1.0, gamma=0.0), luce_length_normalized(), pairs)
    same(luce_of_means, luce_length_normalized(), pairs)
    same(cpo(beta=1.0, alpha=0.0), luce(), pairs)
    same(mixture(K=1), luce(), pairs)
    same(Mixture(log_prob(1.0), (1.0,)), luce(), pairs)
    same(mixture(weights=(1.0, 1e-300)), luce(), certain(pairs))
    same(simpo(beta=50.0, gamma=0.0), luce_length_normalized(scale=50.0), pairs)


@given(pairs=some_pairs())
@FEW
def test_under_a_reference_that_is_certain(pairs):
    bare = with_certain_reference(pairs)
    same(dpo(), cpo(alpha=0.0), bare)
    same(dpo(beta=1.0), luce(), bare)
    same(ln_dpo(beta=2.0), simpo(beta=2.0, gamma=0.0), bare)
    same(pbde_geometric(alpha=0.25), Objective(log_prob(4.0), LOSSES["logistic"]), bare)


@given(pairs=some_pairs())
@FEW
def test_of_the_length_normalized(pairs):
    same(alphapo(alpha=0.0, beta=2.0, gamma=1.0), simpo(), pairs)
    near = alphapo(alpha=1e-7, beta=2.0, gamma=1.0)(pairs)
    torch.testing.assert_close(near, simpo()(pairs), rtol=1e-4, atol=1e-4)
    same(simpo(beta=2.5, gamma=0.75), simpo(beta=2.5, gamma_beta_ratio=0.3), pairs)
    same(alpha_dpo(beta=2.0, gamma=0.5, alpha=0.0), simpo(beta=2.0, gamma=1.0), pairs)


@given(pairs=some_pairs(longest=1))
@FEW
def test_of_responses_of_one_token(pairs):
    same(ln_dpo(beta=0.1), dpo(), pairs)
    same(ipo(0.3, per_token=True), ipo(0.3), pairs)
    same(ld_dpo(alpha=0.3), dpo(), pairs)
    same(sampo(), dpo(), pairs)
    same(cpo(nll="mean"), cpo(nll="sum"), certain(pairs))


@given(seed=st.integers(0, 999), n=st.integers(1, 4))
@FEW
def test_of_responses_of_equal_length(seed, n):
    """(h/n − 1/2τ)² = (h − n/2τ)² / n² = ipo(τ/n) / n²."""
    pairs = make_pairs(seed, ((n, n), (n, n)))
    same(ipo(0.3, per_token=True), ipo(0.3 / n), pairs, 1 / n**2)
    for one in (ld_dpo(alpha=0.3), rdpo(alpha=0.7), sampo(seed=3)):
        same(one, dpo(), pairs)
    same(ln_dpo(beta=0.1 * n), dpo(), pairs)


@given(pairs=some_pairs(), eps=st.floats(0, 0.45))
@FEW
def test_of_label_models(pairs, eps):
    """A flip rate is a softer label, and its correction a sharper one."""
    label = pairs.label
    assert label is not None
    softer = replace(pairs, label=(1 - 2 * eps) * label + eps)
    torch.testing.assert_close(cdpo(eps=eps)(pairs), dpo()(softer))
    torch.testing.assert_close(robust_dpo(eps=eps)(softer), dpo()(pairs))
    for model in (flipped(0.0), unbiased(0.0)):
        same(replace(dpo(), labels=model), dpo(), pairs)
    same(replace(dpo(), labels=reverse_kl(0.2)), exo(eps=0.2), pairs)


@given(pairs=some_pairs())
@FEW
def test_of_squares(pairs):
    """REBEL's regression; INPO with τ = η; IPO as half of its square; SPPO without its half."""
    one = certain(pairs)
    same(inpo(eta=0.2, tau_over_eta=1.0), ipo(0.2), pairs)
    zero = torch.zeros_like(one.chosen.length)
    graded = replace(one, score_chosen=zero + 1 / (2 * 0.3), score_rejected=zero)
    same(rebel(1.0), ipo(0.3), graded)
    a, b = (y.log_prob - y.reference_log_prob for y in (one.chosen, one.rejected))
    squares = (a - 1 / 0.6) ** 2 + (b + 1 / 0.6) ** 2
    torch.testing.assert_close(2 * sppo(0.3)(one), squares)
    same(cal_dpo(0.3), WeightedSum(((1.0, dpo(1.0)), (1.0, sppo(0.3)))), pairs)


@given(pairs=some_pairs())
@FEW
def test_an_earlier_iterate_at_the_reference_is_ipo(pairs):
    history = {
        side: replace(y, columns={**y.columns, "history": y.reference_tokens})
        for side, y in (("chosen", pairs.chosen), ("rejected", pairs.rejected))
    }
    same(inpo(eta=0.2, tau_over_eta=0.3), ipo(0.2), replace(pairs, **history))


@given(pairs=some_pairs())
@FEW
def test_without_what_they_add(pairs):
    """No divergence, certain tokens, a bound out of reach: DPO."""

    def columns(**given: float) -> Pairs:
        found = {}
        for side, y in (("chosen", pairs.chosen), ("rejected", pairs.rejected)):
            more = {name: torch.full_like(y.policy, x) for name, x in given.items()}
            found[side] = replace(y, columns={**y.columns, **more})
        return replace(pairs, **found)

    for one in (tdpo1(), tdpo2(alpha=3.0)):
        torch.testing.assert_close(one(columns(kl=0.0)), dpo()(pairs))
    heavy = wpo(beta=0.1)(columns(sum_p2=1e-9))  # every weight is at its bound, 1
    torch.testing.assert_close(heavy, dpo()(pairs))
    free = replace(chipo(R=1e9), loss=LOSSES["logistic"])
    same(chipo(R=1e9), free, pairs)


# --- other structures -----------------------------------------------------------------------------


def as_lists(pairs: Pairs) -> Lists:
    """Each pair as a ranking of two, graded 1 and 0."""
    n = len(pairs)
    both = joined(pairs.chosen, pairs.rejected)
    order = torch.arange(2 * n).reshape(2, n).T.flatten()
    return Lists(both.take(order), torch.full((n,), 2), torch.tensor([1.0, 0.0] * n).double())


@given(pairs=some_pairs())
@FEW
def test_a_list_of_two_is_a_pair(pairs):
    one, lists = certain(pairs), as_lists(pairs)
    for ranked in (plackett_luce(), infonca(beta=0.1, alpha=1e-3), dpo_rw(beta_r=1e-3)):
        torch.testing.assert_close(ranked(lists), dpo()(one))
    eps = 1 / (1 + math.exp(1 / 0.4))
    torch.testing.assert_close(exo_rw(beta_r=0.4)(lists), exo(eps=eps)(one))
    torch.testing.assert_close(nca_list(beta=0.1, alpha=1e-3)(lists), nca(beta=0.1)(one))
    soft = replace(pairs, label=torch.full_like(one.chosen.length, 1 - eps))
    torch.testing.assert_close(infonca(beta=0.1, alpha=0.4)(lists), dpo()(soft))
    entropy = (1 - eps) * math.log(1 - eps) + eps * math.log(eps)
    torch.testing.assert_close(dpo_rw(beta_r=0.4)(lists), dpo()(soft) + entropy)
    hinge = torch.relu(-Objective(mean_log_prob(1.0), LOSSES["hinge"]).margin(one))
    torch.testing.assert_close(rrhf(sft_weight=0.0)(lists), hinge)


@given(pairs=some_pairs())
@FEW
def test_the_entropy_of_equal_grades_is_that_of_their_number(pairs):
    """Cross-entropy less divergence is log K, in ragged lists."""
    objective = plackett_luce(beta=0.3)
    batch = batch_of(objective, pairs)
    shuffled = replace(batch, scores=torch.zeros_like(batch.scores))
    uniform = infonca(beta=0.3, alpha=1.0)(shuffled)
    divergence = dpo_rw(beta=0.3, beta_r=1.0)(shuffled)
    torch.testing.assert_close(uniform - divergence, batch.sizes.double().log())


def singles(pairs: Pairs) -> Unpaired:
    """Every chosen response as a desirable one, every rejected one as an undesirable one."""
    n = len(pairs)
    label = torch.tensor([1.0] * n + [0.0] * n, dtype=torch.float64)
    return Unpaired(joined(pairs.chosen, pairs.rejected), label)


@given(pairs=some_pairs())
@FEW
def test_apo_zero_is_kto_without_a_baseline_on_both_responses(pairs):
    one = certain(pairs)
    costs = kto()(singles(pairs)).reshape(2, -1).sum(0)
    torch.testing.assert_close(apo_zero()(one), costs)
    held = Pointwise(
        log_ratio(0.1), pointwise.prospect(), pointwise.kl_baseline(), structure="pair"
    )
    torch.testing.assert_close(held(replace(one, running={})), costs)


@given(pairs=some_pairs())
@FEW
def test_nca_of_a_pair_is_that_of_its_responses(pairs):
    one = certain(pairs)
    each = Pointwise(log_ratio(0.01), pointwise.noise_contrast(0.5))
    torch.testing.assert_close(nca()(one), each(singles(pairs)).reshape(2, -1).sum(0))


@given(pairs=some_pairs())
@FEW
def test_the_likelihood_of_the_chosen_response_is_the_cost_of_imitating_it(pairs):
    one, y = certain(pairs), Demonstrations(pairs.chosen)
    for with_it, without in (
        (cpo(alpha=1.0), cpo(alpha=0.0)),
        (dpo_nll(alpha=1.0), dpo()),
        (orpo(), Objective(log_odds(), LOSSES["logistic"], scale=0.1)),
    ):
        torch.testing.assert_close(with_it(one) - without(one), sft()(y))
    torch.testing.assert_close(slic(lam=1.0)(one) - slic(lam=0.0)(one), nll()(y))
    torch.testing.assert_close(mpo(weights=(0.0, 0.0, 1.0))(one), sft()(y))


@given(pairs=some_pairs())
@FEW
def test_a_reward_model_on_implicit_rewards_is_dpo(pairs):
    one, score = replace(pairs, margin=None), log_ratio(0.1)
    graded = replace(
        one,
        chosen=replace(one.chosen, reward=score(one.chosen)),
        rejected=replace(one.rejected, reward=score(one.rejected)),
    )
    torch.testing.assert_close(bradley_terry()(graded), dpo()(one))
    ipo_like = bradley_terry(loss="square")(graded)
    torch.testing.assert_close(ipo_like, gpo_square()(one))
