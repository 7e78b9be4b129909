"""Costs and gradients are numbers wherever a policy can be."""

from dataclasses import replace

import pytest
import torch
from law_batches import ON_PAIRS, batch_of, certain, gradients, hard, made, make_pairs, select

from luce.errors import LuceError
from luce.objectives import OBJECTIVES, WeightedSum
from luce.types import Pairs, Responses

ONE_TOKEN = ((1, 1),) * 6
SIDES = ("chosen", "rejected", "both")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
EVERY = pytest.mark.parametrize("name", OBJECTIVES)


def check_finite(objective, pairs: Pairs) -> None:
    """Costs, gradients and statistics are finite whatever the labels are; a metric may be nan
    where it does not apply, but not infinite."""
    soft = (pairs, hard(pairs)) if objective.structure == "pair" else ()
    for judged in (certain(pairs), *soft):
        batch = batch_of(objective, judged)
        costs = objective(batch)
        assert costs.isfinite().all(), costs
        assert all(g.isfinite().all() for g in gradients(costs, judged))
        for name, values in objective.metrics(batch).items():
            assert not values.isinf().any(), name
        for name, values in objective.statistics(batch).items():
            assert values.isfinite().any() and not values.isinf().any(), name


CURVED = ("orpo", "simper", "fdpo", "chipo", "alphapo")
"""Their scores are bounded, or grow faster than log π."""


def nats_for_90(objective) -> float:
    """How far log π/π_ref of one token must be from 0 for a margin of 90."""
    if isinstance(objective, WeightedSum):
        return max(nats_for_90(part) for _, part in objective.parts)
    if objective.name in CURVED or not hasattr(objective, "score"):
        return 90.0
    score = objective.score
    f = score.affine.f(make_pairs(lengths=((1, 1),)).chosen) if score.affine else 1.0
    return 90.0 / (score.scale * float(f))


def set_apart(pairs: Pairs, nats: float) -> Pairs:
    """Pairs of one token each: log π/π_ref and rewards take every combination of −nats, 0 and
    nats that is not the same for both."""
    combinations = [(1, 0), (0, 1), (1, -1), (-1, 1), (-1, 0), (0, -1)]
    sides = []
    for y, signs in zip(
        (pairs.chosen, pairs.rejected), zip(*combinations, strict=True), strict=True
    ):
        ratio = nats * torch.tensor(signs, dtype=y.policy.dtype)
        sides.append(
            Responses(
                ratio.clamp(max=0).requires_grad_(),
                y.lengths,
                (-ratio).clamp(max=0),
                {
                    name: ratio.clamp(max=0).clone().requires_grad_()
                    if name.startswith("policy")
                    else column
                    for name, column in y.columns.items()
                },
                ratio.clone().requires_grad_(),
            )
        )
    chosen, rejected = sides
    return replace(pairs, chosen=chosen, rejected=rejected)


@DTYPES
@EVERY
def test_at_margins_and_log_ratios_of_90(name, dtype):
    objective = made(name)
    pairs = make_pairs(lengths=ONE_TOKEN, dtype=dtype)
    for nats in (90.0, nats_for_90(objective)):
        check_finite(objective, set_apart(pairs, nats))


@pytest.mark.parametrize("name", [n for n in ON_PAIRS if n not in (*CURVED, "aot_unpaired")])
def test_the_margins_of_that_law_reach_90(name):
    """Those of AOT, unpaired, are between responses of the same rank."""
    objective = made(name)
    far = set_apart(make_pairs(lengths=ONE_TOKEN), nats_for_90(objective))
    reached = objective.margin(certain(far)).detach()
    assert reached.max() > 89 and reached.min() < -89


@DTYPES
@pytest.mark.parametrize("side", SIDES)
@EVERY
def test_at_probability_one(name, side, dtype):
    """log π is exactly 0 at every token: so are log Σ π² and, for ORPO, 1 − p."""
    pairs = make_pairs(dtype=dtype)

    def sure(y: Responses) -> Responses:
        zero = torch.zeros_like(y.policy)
        columns = {k: zero.clone().requires_grad_() for k in y.columns} | {"sum_p2": zero + 1}
        return Responses(zero.requires_grad_(), y.lengths, y.reference, columns, y.reward)

    sides = {role: sure(getattr(pairs, role)) for role in SIDES[:2] if side in (role, "both")}
    check_finite(made(name), replace(pairs, **sides))


@DTYPES
@EVERY
def test_at_length_one(name, dtype):
    check_finite(made(name), make_pairs(seed=3, lengths=ONE_TOKEN, dtype=dtype))


@DTYPES
@EVERY
def test_of_a_single_group(name, dtype):
    check_finite(made(name), make_pairs(seed=4, lengths=((3, 2),), dtype=dtype))


@DTYPES
@EVERY
def test_of_equal_pairs(name, dtype):
    """Every pair of the batch is the same: no spread, and nothing but ties."""
    one = make_pairs(seed=5, lengths=((2, 3),), dtype=dtype)
    index = torch.zeros(4, dtype=torch.long)
    check_finite(made(name), select(one, index))


EMPTY = {
    "pair": ("chosen", "rejected"),
    "unpaired": ("completion",),
    "list": ("responses",),
    "demonstration": ("completion",),
}


@EVERY
def test_a_response_without_tokens_is_an_error_that_names_it(name):
    objective = made(name)
    for lengths, role in zip(
        (((1, 2), (0, 2)), ((1, 2), (2, 0))), EMPTY[objective.structure], strict=False
    ):
        batch = batch_of(objective, certain(make_pairs(lengths=lengths)))
        with pytest.raises(LuceError, match=f"^{role}: response 1 of the batch has no scored tok"):
            objective(batch)
