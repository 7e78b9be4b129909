"""What may be exchanged or shifted without a change."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_batches import (
    ON_PAIRS,
    QUICK,
    batch_of,
    certain,
    hard,
    judged,
    made,
    make_pairs,
    some_pairs,
    swap_some,
    without_likelihood,
)

from luce.objectives import OBJECTIVES, Objective

OBJECTIVES_ON_PAIRS = [name for name in ON_PAIRS if isinstance(made(name), Objective)]
LINEAR_LABELS = [  # a soft label is a mixture of the two hard ones
    name
    for name in ON_PAIRS
    if name not in ("gdpo", "exo", "sppo", "cal_dpo", "mixture", "dr_dpo", "odpo")
    and name not in ("aot_unpaired", "beta_dpo")  # which pairs and which β follow the label
]


@pytest.mark.parametrize("name", ON_PAIRS)
@given(pairs=some_pairs(), which=st.integers(0, 31))
@QUICK
def test_swapping_some_pairs_and_their_labels_changes_nothing(name, pairs, which):
    """Neither for these pairs nor, where the scope is the batch, for the others."""
    objective = without_likelihood(made(name))
    where = torch.tensor([bool(which >> i & 1) for i in range(len(pairs))])
    for one in (judged(objective, pairs), hard(pairs)):
        torch.testing.assert_close(objective(one), objective(swap_some(one, where)))


@pytest.mark.parametrize("name", ON_PAIRS)
def test_no_label_is_a_label_of_one(name):
    objective, pairs = made(name), make_pairs()
    ones = replace(pairs, label=torch.ones_like(pairs.chosen.length))
    torch.testing.assert_close(objective(certain(pairs)), objective(ones))


@pytest.mark.parametrize("name", LINEAR_LABELS)
@given(pairs=some_pairs())
@QUICK
def test_a_soft_label_mixes_the_costs_of_both_orders(name, pairs):
    """Labels above one half, so that a batch-wide term takes the same side of each pair."""
    objective = without_likelihood(made(name))
    p = 0.51 + 0.49 * pairs.label
    agrees = objective(certain(pairs))
    contradicts = objective(certain(pairs).swap())
    mixed = p * agrees + (1 - p) * contradicts
    torch.testing.assert_close(objective(replace(pairs, label=p)), mixed)


@pytest.mark.parametrize("name", OBJECTIVES_ON_PAIRS)
@given(pairs=some_pairs(), constant=st.floats(-20, 20))
@QUICK
def test_adding_a_constant_to_all_scores_changes_nothing(name, pairs, constant):
    objective = replace(made(name), regularizers=())
    score, batch = objective.score, judged(objective, pairs)
    moved = replace(score, value=lambda y, other: score.value(y, other) + constant / score.scale)
    torch.testing.assert_close(objective(batch), replace(objective, score=moved)(batch))


NOT_OF_THE_RATIO_ALONE = {  # what else of log π or log π_ref they read
    "dpo_nll": "likelihood",
    "mpo": "likelihood",
    "xpo": "likelihood of the reference's sample",
    "wpo": "weight",
    "inpo": "the iterate before",
    "pbde_geometric": "log π_ref",
    "aot": "each side sorted by itself",
    "alpha_dpo": "margin without reference",
}
RATIO = [
    name for name in OBJECTIVES if made(name).needs_reference and name not in NOT_OF_THE_RATIO_ALONE
]


@pytest.mark.parametrize("name", RATIO)
@given(pairs=some_pairs(), shift=st.floats(-5, 5))
@QUICK
def test_shifting_policy_and_reference_together_changes_nothing(name, pairs, shift):
    """An implicit reward sees log π − log π_ref alone."""
    objective, c = made(name), pairs.chosen
    shifted = replace(c, policy=c.policy + shift, reference=c.reference_tokens + shift)
    batches = (batch_of(objective, p) for p in (pairs, replace(pairs, chosen=shifted)))
    torch.testing.assert_close(*(objective(batch) for batch in batches), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NOT_OF_THE_RATIO_ALONE)
def test_what_reads_more_than_the_ratio_is_listed_rightly(name):
    objective, pairs = made(name), make_pairs()
    shifts = torch.linspace(-3, 3, len(pairs.chosen.policy), dtype=torch.float64)
    c = pairs.chosen
    shifted = replace(c, policy=c.policy + shifts, reference=c.reference_tokens + shifts)
    assert not torch.equal(objective(pairs), objective(replace(pairs, chosen=shifted)))


def at_the_reference(pairs):
    """The pairs where policy, reference and the iterate before are the same."""

    def agreed(y):
        columns = {**y.columns, "kl": torch.zeros_like(y.policy), "history": y.reference}
        return replace(y, policy=y.reference.clone().requires_grad_(), columns=columns)

    return replace(pairs, chosen=agreed(pairs.chosen), rejected=agreed(pairs.rejected))


NOT_INDIFFERENT = ("rdpo", "pbde_geometric", "aot", "alpha_dpo")  # length, log π_ref, log π


INDIFFERENT = [n for n in ON_PAIRS if made(n).needs_reference and n not in NOT_INDIFFERENT]


@pytest.mark.parametrize("name", INDIFFERENT)
@given(pairs=some_pairs())
@QUICK
def test_where_policy_and_reference_agree_the_margin_is_zero(name, pairs):
    objective = made(name)
    z = objective.margin(at_the_reference(judged(objective, pairs)))
    torch.testing.assert_close(z, torch.zeros_like(z), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if made(n).needs_reference])
@given(pairs=some_pairs())
@QUICK
def test_costs_and_gradients_are_finite_where_policy_and_reference_agree(name, pairs):
    objective, pairs = made(name), at_the_reference(pairs)
    costs = objective(batch_of(objective, pairs))
    found = torch.autograd.grad(costs.sum(), (pairs.chosen.policy, pairs.rejected.policy))
    assert costs.isfinite().all() and all(g.isfinite().all() for g in found)
    assert any(bool(g.any()) for g in found)  # the start of a run is no dead point
