"""Objectives on what networks of 16 bits give them, against float32; and far out in float32."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from law_batches import ON_PAIRS, batch_of, certain, gradients, made, make_pairs
from test_extremes import ONE_TOKEN, check_finite, nats_for_90, set_apart

from luce.data.pack import pack
from luce.models.policy import CausalPolicy, load_policy
from luce.objectives import OBJECTIVES
from luce.types import Branch, Group, Pairs, Place

EVERY = pytest.mark.parametrize("name", OBJECTIVES)
LENGTHS = tuple((12 + 3 * i, 40 - 4 * i) for i in range(8))

NOTHING_PASSES = ("wpo", "alpha_dpo", "beta_dpo")
"""Part of their cost carries no gradient on purpose, and moves all the same."""


def policy(folder: Path, precision: str) -> CausalPolicy:
    """The tiny policy in float32, with weights of 16 bits, or under autocast."""
    mixed = precision == "autocast"
    found = load_policy(str(folder), dtype="float32" if mixed else precision)
    found.autocast = torch.bfloat16 if mixed else None
    return found


@pytest.fixture(scope="module")
def outputs(tiny_model_dir: Path) -> dict[str, list[torch.Tensor]]:
    """Token log-probabilities of chosen and of rejected responses, by precision."""
    draw = np.random.default_rng(0)

    def branch(length: int) -> Branch:
        ids = draw.integers(5, 200, length).astype(np.int32)
        return Branch(ids, np.ones(length, dtype=bool))

    prompt = np.arange(5, 17, dtype=np.int32)
    groups = [
        Group(prompt, (branch(a), branch(b)), f"g{i}", Place("x", i + 1))
        for i, (a, b) in enumerate(LENGTHS)
    ]
    sizes = [length for pair in LENGTHS for length in pair]
    found = {}
    for precision in ("float32", "bfloat16", "float16", "autocast"):
        with torch.no_grad():
            tokens = policy(tiny_model_dir, precision).log_probs(pack(groups))
        assert tokens.dtype == torch.float32  # whatever the network's own numbers are
        parts = tokens.split(sizes)
        found[precision] = [torch.cat(parts[side::2]) for side in (0, 1)]
    return found


def judged(tokens: list[torch.Tensor], reference: list[torch.Tensor]) -> Pairs:
    """Pairs of these log-probabilities; the reference is a little off those of float32."""
    pairs = make_pairs(seed=7, lengths=LENGTHS, dtype=torch.float32)
    off = torch.Generator().manual_seed(1)
    sides = [
        replace(
            y,
            policy=own.clone().requires_grad_(),
            reference=(exact + 0.3 * torch.randn(len(exact), generator=off)).clamp(max=0),
        )
        for y, own, exact in zip((pairs.chosen, pairs.rejected), tokens, reference, strict=True)
    ]
    return certain(replace(pairs, chosen=sides[0], rejected=sides[1]))


PER_TOKEN = {"bfloat16": 0.05, "float16": 0.007, "autocast": 0.05}
"""Nats by which the log-probability of a token, of some eight nats, is off float32, in the mean."""


@pytest.mark.parametrize("precision", PER_TOKEN)
def test_log_probabilities_of_16_bits_are_near_those_of_float32(outputs, precision):
    for half, exact in zip(outputs[precision], outputs["float32"], strict=True):
        assert 0 < float((half - exact).abs().mean()) < PER_TOKEN[precision]


@pytest.mark.parametrize("precision", PER_TOKEN)
@EVERY
def test_a_cost_is_off_float32_by_no_more_than_its_log_probabilities_are(outputs, name, precision):
    """|C₁₆ − C₃₂| ≤ 3/2 Σ |∂C/∂ log π| |δ log π|, the sum over tokens, the larger slope of both
    ends: the objective adds no error of its own."""
    objective, costs, slopes = made(name), [], []
    for tokens in (outputs["float32"], outputs[precision]):
        pairs = judged(tokens, outputs["float32"])
        cost = objective(batch_of(objective, pairs))
        assert cost.dtype == torch.float32 and cost.isfinite().all()
        found = gradients(cost, pairs)
        costs.append(float(cost.detach().double().sum()))
        slopes.append(torch.cat([found[0], found[len(found) // 2]]).abs())
    off = (torch.cat(outputs[precision]) - torch.cat(outputs["float32"])).abs()
    bound = 1.5 * float((torch.maximum(*slopes) * off).sum()) + 1e-5 * (1 + abs(costs[0]))
    if name in NOTHING_PASSES:
        bound = 0.05 * (1 + abs(costs[0]))
    assert abs(costs[1] - costs[0]) <= bound


FAR = make_pairs(lengths=ONE_TOKEN, dtype=torch.float32)


@pytest.mark.parametrize("sign", [1, -1])
@EVERY
def test_at_a_log_probability_of_minus_ten_thousand(name, sign):
    """Of one token, and of a thousand; the reference is a thousand nats away, either way. AlphaPO's
    score is π^(−α/|y|), which float32 does not hold of a single token."""
    for tokens in (1000,) if name == "alphapo" else (1, 1000):
        pairs = make_pairs(lengths=((tokens, tokens),) * 4, dtype=torch.float32)
        sides = []
        for turn, y in enumerate((pairs.chosen, pairs.rejected)):
            own = torch.full_like(y.policy, -1e4 / tokens)
            away = sign * (1 - 2 * turn) * 1e3 / tokens
            reward = torch.full_like(y.length, away).requires_grad_()
            reference = (own - away).clamp(max=0)
            sides.append(
                replace(y, policy=own.requires_grad_(), reference=reference, reward=reward)
            )
        check_finite(made(name), replace(pairs, chosen=sides[0], rejected=sides[1]))


@EVERY
def test_at_margins_of_a_thousand(name):
    objective = made(name)
    far = set_apart(FAR, nats_for_90(objective) * 1000 / 90)
    check_finite(objective, far)
    if name in ON_PAIRS and name not in ("orpo", "simper", "fdpo", "chipo", "alphapo"):
        reached = objective.margin(certain(far)).detach().abs().max()
        assert reached > 900 or name == "aot_unpaired"


@EVERY
def test_of_a_response_of_ten_thousand_tokens(name):
    lengths = ((10_000, 1), (1, 10_000), (10_000, 9_000), (3, 4))
    check_finite(made(name), make_pairs(seed=6, lengths=lengths, dtype=torch.float32))


def test_where_float32_ends_is_known():
    """At 10⁴ nats of log π/π_ref in one token, two scores that grow as its exponential are beyond
    float32; training refuses such a step and names the row. Every other cost is a number."""
    beyond = set()
    for name in OBJECTIVES:
        objective = made(name)
        cost = objective(batch_of(objective, certain(set_apart(FAR, 1e4))))
        if not cost.isfinite().all():
            beyond.add(name)
    assert beyond == {"fdpo", "alphapo"}
