"""A worked number, with its gradient, for every published method."""

import math
from dataclasses import replace

import pytest
import torch

from luce.errors import RecipeError
from luce.objectives import OBJECTIVES, Objective
from luce.objectives.presets import (
    bradley_terry,
    cpo,
    dpo,
    ipo,
    kto,
    orpo,
    robust_dpo,
    sft,
    simpo,
    slic,
)
from luce.types import CostFunction, Demonstrations, Pairs, Responses, Unpaired

# log π: w −4, l −4.5;  log π_ref: −2, −3;  |y|: 2, 3;  h = −0.5;  means: −2, −1.5
E = math.exp


def nls(z):  # −log σ(z)
    return math.log(1 + E(-z))


def sigma(z):
    return 1 / (1 + E(-z))


ODDS_W, ODDS_L = E(-2) / (1 - E(-2)), E(-1.5) / (1 - E(-1.5))
Z_ODDS = math.log(ODDS_W / ODDS_L)

# name: (cost, d cost / d log π of a chosen token, of a rejected token) with default parameters
WORKED = {
    "dpo": (nls(-0.05), -0.1 * sigma(0.05), 0.1 * sigma(0.05)),
    "cdpo": (
        0.9 * nls(-0.05) + 0.1 * nls(0.05),
        0.1 * (0.1 * sigma(-0.05) - 0.9 * sigma(0.05)),
        0.1 * (0.9 * sigma(0.05) - 0.1 * sigma(-0.05)),
    ),
    "robust_dpo": (
        (0.9 * nls(-0.05) - 0.1 * nls(0.05)) / 0.8,
        -0.1 * (0.9 * sigma(0.05) + 0.1 * sigma(-0.05)) / 0.8,
        0.1 * (0.9 * sigma(0.05) + 0.1 * sigma(-0.05)) / 0.8,
    ),
    "ipo": ((-0.5 - 5) ** 2, 2 * (-0.5 - 5), -2 * (-0.5 - 5)),
    "slic": (1 - (-4 + 4.5) + 0.1 * 4, -1 - 0.1, 1.0),
    "simpo": (nls(2 * (-2 + 1.5) - 1), -2 / 2 * sigma(2), 2 / 3 * sigma(2)),
    "orpo": (
        4 / 2 + 0.1 * nls(Z_ODDS),
        -1 / 2 - 0.1 * sigma(-Z_ODDS) / (1 - E(-2)) / 2,
        0.1 * sigma(-Z_ODDS) / (1 - E(-1.5)) / 3,
    ),
    "rdpo": (nls(-0.05 + 0.01 * (2 - 3)), -0.1 * sigma(0.06), 0.1 * sigma(0.06)),
    "ln_dpo": (nls(5 * (-2 / 2 + 1.5 / 3)), -5 / 2 * sigma(2.5), 5 / 3 * sigma(2.5)),
    "cpo": (nls(0.1 * 0.5) + 4 / 2, -0.1 * sigma(-0.05) - 1 / 2, 0.1 * sigma(-0.05)),
    "gpo_hinge": (1 + 0.05, -0.1, 0.1),
    "gpo_square": (1.05**2, -0.2 * 1.05, 0.2 * 1.05),
    "gpo_exponential": (E(0.05), -0.1 * E(0.05), 0.1 * E(0.05)),
    "gpo_truncated_quadratic": (1.05**2, -0.2 * 1.05, 0.2 * 1.05),
    "gpo_savage": (
        sigma(0.05) ** 2,
        -2 * 0.1 * sigma(0.05) ** 2 * sigma(-0.05),
        2 * 0.1 * sigma(0.05) ** 2 * sigma(-0.05),
    ),
    # the chosen response is desirable, the rejected one is not; aw = −2, al = −1.5, KL = 0.5
    "kto": (
        (1 - sigma(0.1 * (-2 - 0.5))) + (1 - sigma(0.1 * (0.5 + 1.5))),
        -0.1 * sigma(-0.25) * sigma(0.25),
        0.1 * sigma(0.2) * sigma(-0.2),
    ),
    "sft": (4 / 2, -1 / 2, 0.0),
    # rewards 0.3 and 0.8, margin 0.25; the gradient is that of the rewards
    "bradley_terry": (nls(-0.5 - 0.25), -sigma(0.75), sigma(0.75)),
}


def worked_batch(name: str, pair: Pairs):
    """The batch of the table above in the objective's structure, and its two gradient leaves."""
    w, r = pair.chosen, pair.rejected
    if name == "kto":
        both = Responses(
            torch.cat([w.policy, r.policy]),
            torch.cat([w.lengths, r.lengths]),
            torch.cat([w.reference, r.reference]),
        )
        desirable = torch.tensor([1.0, 0.0], dtype=torch.float64)
        return Unpaired(both, desirable, running={"kl": 0.5}), (w.policy, r.policy)
    if name == "sft":
        return Demonstrations(w), (w.policy, r.policy)
    if name == "bradley_terry":
        w = replace(w, reward=torch.tensor([0.3], dtype=torch.float64, requires_grad=True))
        r = replace(r, reward=torch.tensor([0.8], dtype=torch.float64, requires_grad=True))
        margin = torch.tensor([0.25], dtype=torch.float64)
        return Pairs(w, r, margin=margin), (w.reward, r.reward)
    return pair, (w.policy, r.policy)


def test_every_objective_has_a_worked_number():
    assert OBJECTIVES.keys() == WORKED.keys()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_cost_and_gradient(name, pair):
    batch, leaves = worked_batch(name, pair)
    cost = OBJECTIVES[name]()(batch).sum()
    slopes = torch.autograd.grad(cost, leaves, allow_unused=True)
    assert cost.item() == pytest.approx(WORKED[name][0], abs=1e-12)
    for slope, leaf, expected in zip(slopes, leaves, WORKED[name][1:], strict=True):
        slope = torch.zeros_like(leaf) if slope is None else slope
        torch.testing.assert_close(slope, torch.full_like(slope, expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_is_a_cost_function_that_says_who_it_is(name):
    objective = OBJECTIVES[name]()
    assert isinstance(objective, CostFunction)
    assert objective.name == name
    assert objective.formula and objective.source
    again = OBJECTIVES[name](**objective.parameters)
    assert again.formula == objective.formula


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_without_the_reference_it_needs_is_an_error(name, pair):
    objective = OBJECTIVES[name]()
    batch, _ = worked_batch(name, pair)
    bare = {
        role: replace(getattr(batch, role), reference=None)
        for role in ("chosen", "rejected", "response")
        if hasattr(batch, role)
    }
    if objective.needs_reference:
        with pytest.raises(Exception, match="Set `reference:` in the recipe"):
            objective(replace(batch, **bare))
    else:
        torch.testing.assert_close(objective(replace(batch, **bare)), objective(batch))


# --- parameters other than the defaults -----------------------------------------------------------


def cost(objective: Objective, pair: Pairs) -> float:
    return objective(pair).item()


def test_ipo_per_token_takes_the_mean_log_ratio(pair):
    assert cost(ipo(tau=0.1, per_token=True), pair) == pytest.approx((-1 + 0.5 - 5) ** 2)


def test_simpo_takes_gamma_or_its_ratio_to_beta(pair):
    assert cost(simpo(beta=2.5, gamma=0.25), pair) == pytest.approx(nls(2.5 * -0.5 - 0.25))
    assert cost(simpo(beta=2.5, gamma_beta_ratio=0.1), pair) == pytest.approx(
        nls(2.5 * -0.5 - 0.25)
    )
    assert simpo(beta=10.0, gamma_beta_ratio=0.3).parameters == {"beta": 10.0, "gamma": 3.0}
    with pytest.raises(RecipeError, match=r"^objective.simpo: `gamma` and `gamma_beta_ratio`"):
        simpo(gamma=0.5, gamma_beta_ratio=0.5)


def test_slic_counts_the_likelihood_of_the_chosen_response(pair):
    assert cost(slic(delta=0.25, lam=0.5), pair) == pytest.approx(0 + 0.5 * 4)
    assert cost(slic(delta=2.0, lam=0.0), pair) == pytest.approx(2 - 0.5)
    assert cost(slic(lam=0.5, nll="mean"), pair) == pytest.approx(0.5 + 0.5 * 2)


def test_cpo_and_orpo_take_the_sum_where_told(pair):
    assert cost(cpo(alpha=0.5, nll="sum"), pair) == pytest.approx(nls(0.05) + 0.5 * 4)
    assert cost(orpo(lam=0.2, nll="sum"), pair) == pytest.approx(4 + 0.2 * nls(Z_ODDS))


def test_robust_dpo_can_be_negative(pair):
    certain = replace(pair.chosen, policy=torch.zeros(2, dtype=torch.float64))
    assert cost(robust_dpo(beta=20.0, eps=0.4), replace(pair, chosen=certain)) < 0


def test_kto_weighs_its_two_sides(pair):
    batch, _ = worked_batch("kto", pair)
    costs = kto(beta=0.1, lam_d=1.2, lam_u=0.8)(batch).tolist()
    assert costs == pytest.approx([1.2 * sigma(0.25), 0.8 * sigma(-0.2)], abs=1e-12, rel=0)


def test_reward_models_take_any_margin_loss_and_center(pair):
    batch, _ = worked_batch("bradley_terry", pair)
    assert cost(bradley_terry(loss="square", center=0.01), batch) == pytest.approx(
        (1 + 0.75) ** 2 + 0.01 * 1.1**2
    )


def test_a_soft_label_mixes_both_orders(pair):
    label = torch.tensor([0.8], dtype=torch.float64)
    assert cost(dpo(), replace(pair, label=label)) == pytest.approx(
        0.8 * nls(-0.05) + 0.2 * nls(0.05)
    )


def test_sft_counts_every_token_alike(responses):
    y = responses([[-1.0, -3.0], [-0.5, -0.5, -2.0, -1.0]])
    batch = Demonstrations(y)
    objective = sft()
    mean = (objective(batch) * objective.weight(batch)).sum() / objective.weight(batch).sum()
    assert mean.item() == pytest.approx((4 + 4) / 6)


BAD = {
    "dpo": {"beta": 0.0},
    "cdpo": {"eps": 0.5},
    "robust_dpo": {"eps": -0.1},
    "ipo": {"tau": 0.0},
    "slic": {"lam": -1.0},
    "simpo": {"gamma": -0.5},
    "orpo": {"lam": math.nan},
    "rdpo": {"alpha": math.inf},
    "ln_dpo": {"beta": -1.0},
    "cpo": {"alpha": -1.0},
    "kto": {"lam_d": 0.0, "lam_u": 0.0},
    "bradley_terry": {"center": -0.01},
} | {name: {"beta": math.nan} for name in OBJECTIVES if name.startswith("gpo_")}


def test_every_parameter_can_be_wrong():
    assert BAD.keys() == OBJECTIVES.keys() - {"sft"}


@pytest.mark.parametrize("name", BAD)
def test_an_impossible_parameter_is_named(name):
    with pytest.raises(RecipeError, match=rf"^objective\.{name}[.:]"):
        OBJECTIVES[name](**BAD[name])
