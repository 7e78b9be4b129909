"""Policy-gradient pieces: numbers worked by hand, laws, errors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.errors import LuceError
from luce.numerics import segment_sum
from luce.objectives.policy_gradient import (
    ADVANTAGES,
    KL_ESTIMATORS,
    clipped_value_loss,
    dr_grpo,
    gae,
    grpo,
    k1,
    k2,
    k3,
    kl_shaped_reward,
    ppo_clip,
    reinforce,
    reinforce_sequence,
    rewards_to_go,
    rloo,
    terminal_reward,
    to_tokens,
)


def f64(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def ints(*values) -> torch.Tensor:
    return torch.tensor(values)


# Values


def test_where_rewards_lie():
    assert to_tokens(f64(3, 5), ints(2, 1)).tolist() == [3, 3, 5]
    assert terminal_reward(f64(3, 5, 7), ints(2, 1, 3)).tolist() == [0, 3, 5, 0, 0, 7]


def test_reinforce():
    """−3·(−0.5), −(−1)·(−2); and −3·(−2.5), −(−1)·(−4)."""
    assert reinforce(f64(-0.5, -2), f64(3, -1)).tolist() == [1.5, -2]
    assert reinforce_sequence(f64(-0.5, -2, -4), ints(2, 1), f64(3, -1)).tolist() == [7.5, -4]


def test_rewards_to_go():
    """1 + ½·2 + ¼·4 = 3, 2 + ½·4 = 4, 4; then 8 + ½·16 = 16, 16."""
    togo = rewards_to_go(f64(1, 2, 4, 8, 16), ints(3, 2), gamma=0.5)
    assert togo.tolist() == [3, 4, 4, 16, 16]
    assert rewards_to_go(f64(1, 2, 4, 8, 16), ints(3, 2)).tolist() == [7, 6, 4, 24, 16]


def test_gae():
    """δ₂ = 2 − 0.25 = 1.75, δ₁ = 1 + 0.9·0.25 − 0.5 = 0.725, A₁ = 0.725 + 0.45·1.75 = 1.5125.
    With V = 4 after the last token δ₂ = 2 + 0.9·4 − 0.25 = 5.35, A₁ = 0.725 + 0.45·5.35."""
    tokens = f64(1, 2, 7), f64(0.5, 0.25, 3), ints(2, 1)
    advantage = gae(*tokens, gamma=0.9, lam=0.5)
    torch.testing.assert_close(advantage, f64(1.5125, 1.75, 4))
    cut_off = gae(*tokens, gamma=0.9, lam=0.5, last_value=f64(4, 0))
    torch.testing.assert_close(cut_off, f64(3.1325, 5.35, 4))


def test_the_defaults_of_gae_are_no_discount_and_lambda_0_95():
    advantage = gae(f64(0, 0, 1), f64(0, 0, 0), ints(3))
    torch.testing.assert_close(advantage, f64(0.95**2, 0.95, 1))
    torch.testing.assert_close(gae(f64(0, 1), f64(0, 0.5), ints(2), lam=0.0), f64(0.5, 0.5))


def test_advantages():
    """{1, 2, 6}: mean 3, Σ(r − 3)² = 14; the others' means are 4, 3.5, 1.5. {4, 0}: mean 2."""
    reward, sizes = f64(1, 2, 6, 4, 0), ints(3, 2)
    torch.testing.assert_close(rloo(reward, sizes), f64(-3, -1.5, 4.5, 4, -4))
    torch.testing.assert_close(dr_grpo(reward, sizes), f64(-2, -1, 3, 2, -2))
    s0, s1 = math.sqrt(14 / 3), math.sqrt(14 / 2)
    torch.testing.assert_close(
        grpo(reward, sizes, ddof=0, eps=0.5),
        f64(-2 / (s0 + 0.5), -1 / (s0 + 0.5), 3 / (s0 + 0.5), 0.8, -0.8),
    )
    torch.testing.assert_close(
        grpo(reward, sizes, ddof=1, eps=0.5)[:3],
        f64(-2 / (s1 + 0.5), -1 / (s1 + 0.5), 3 / (s1 + 0.5)),
    )
    torch.testing.assert_close(
        grpo(f64(0, 2e-4), ints(2), ddof=0), f64(-0.5, 0.5), msg="the default ε is 1e-4"
    )


def test_ppo_clip():
    """Each ratio with a good and a bad token; ratios 0.5, 1.1, 2 and clips of 0.2."""
    log_ratio = f64(0.5, 0.5, 1.1, 1.1, 2, 2).log()
    advantage = f64(3, -3, 3, -3, 3, -3)
    cost = ppo_clip(log_ratio - 1, torch.full_like(log_ratio, -1), advantage)
    torch.testing.assert_close(cost, f64(-1.5, 2.4, -3.3, 3.3, -3.6, 6))
    wide = ppo_clip(log_ratio, torch.zeros_like(log_ratio), advantage, clip_low=0.6, clip_high=0.5)
    torch.testing.assert_close(wide, f64(-1.5, 1.5, -3.3, 3.3, -4.5, 6))


def test_clipped_value_loss():
    """V_old = 0, ε = 0.2. Target 2: V = 1 is held at 0.2, ½·1.8². Target −2: ½·3². V = 0.1 moves
    freely: ½·1.9²; so does V = 8.1 from 8, ½·0.1²."""
    cost = clipped_value_loss(f64(1, 1, 0.1), f64(0, 0, 0), f64(2, -2, 2))
    torch.testing.assert_close(cost, f64(1.62, 4.5, 1.805))
    torch.testing.assert_close(clipped_value_loss(f64(-1), f64(0), f64(-2)), f64(1.62))
    torch.testing.assert_close(clipped_value_loss(f64(8.1), f64(8), f64(8)), f64(0.005))
    torch.testing.assert_close(clipped_value_loss(f64(9), f64(8), f64(10), clip=0.5), f64(1.125))


def test_kl_estimators():
    """log π − log π_ref = ±½: ±½; ⅛; e^∓½ − 1 ± ½."""
    policy, reference = f64(-1, -1.5), f64(-1.5, -1)
    torch.testing.assert_close(k1(policy, reference), f64(0.5, -0.5))
    torch.testing.assert_close(k2(policy, reference), f64(0.125, 0.125))
    expected = f64(math.exp(-0.5) - 0.5, math.exp(0.5) - 1.5)
    torch.testing.assert_close(k3(policy, reference), expected)


def test_k3_keeps_its_digits_where_the_policies_nearly_agree():
    """x²/2 − x³/6 at x = 1e-6; e⁻ˣ − 1 + x in so many steps has four digits left."""
    assert k3(f64(1e-6), f64(0)).item() == pytest.approx(5e-13 - 1e-18 / 6, rel=1e-3)


@pytest.mark.parametrize("name", KL_ESTIMATORS)
def test_estimators_are_finite_where_the_policies_are_far_apart(name):
    policy = torch.tensor([-90.0, 0.0], requires_grad=True)
    value = KL_ESTIMATORS[name].value(policy, torch.tensor([0.0, -90.0]))
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), policy)[0].isfinite().all()


def test_kl_shaped_reward():
    """−½·(1), 3 − ½·(−1); −½·2 + 5."""
    shaped = kl_shaped_reward(f64(3, 5), f64(-1, -2, -1), f64(-2, -1, -3), ints(2, 1), beta=0.5)
    assert shaped.tolist() == [-0.5, 3.5, 4]


# Laws

RAGGED = st.lists(
    st.lists(st.tuples(*[st.floats(-5, 5)] * 2), min_size=1, max_size=9), min_size=1, max_size=5
)
FRACTION = st.floats(0, 1)


@settings(deadline=None, max_examples=50)
@given(RAGGED, FRACTION, FRACTION)
def test_sums_ahead_are_those_of_the_recursion_response_by_response(responses, gamma, lam):
    togo, advantage = [], []
    for response in responses:
        g, a, after, rows = 0.0, 0.0, 0.0, []
        for r, v in reversed(response):
            g = r + gamma * g
            a = r + gamma * after - v + gamma * lam * a
            after = v
            rows.append((g, a))
        togo += [g for g, _ in reversed(rows)]
        advantage += [a for _, a in reversed(rows)]
    reward, value = f64(*(x for y in responses for x in y)).T
    lengths = ints(*(len(y) for y in responses))
    torch.testing.assert_close(rewards_to_go(reward, lengths, gamma), f64(*togo))
    torch.testing.assert_close(gae(reward, value, lengths, gamma, lam), f64(*advantage))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.floats(-5, 5), min_size=2, max_size=6), min_size=1, max_size=4))
def test_advantages_group_by_group(groups):
    reward, sizes = f64(*(r for g in groups for r in g)), ints(*(len(g) for g in groups))
    baseline = [(sum(g) - r) / (len(g) - 1) for g in groups for r in g]
    torch.testing.assert_close(rloo(reward, sizes), reward - f64(*baseline))
    for ddof in (0, 1):
        standard = [(f64(*g) - f64(*g).mean()) / (f64(*g).std(correction=ddof) + 1) for g in groups]
        torch.testing.assert_close(grpo(reward, sizes, ddof=ddof, eps=1.0), torch.cat(standard))


@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rewards_have_no_advantage_and_an_offset_changes_none(name, dtype):
    equal = torch.tensor([0.1] * 3 + [1e6 + 0.1] * 7, dtype=dtype)
    assert ADVANTAGES[name](equal, ints(3, 7)).tolist() == [0] * 10
    reward = torch.tensor([1, 0, 4, 0.5, 2], dtype=dtype)
    shifted = ADVANTAGES[name](reward + 1024, ints(3, 2))
    torch.testing.assert_close(shifted, ADVANTAGES[name](reward, ints(3, 2)))
    sums = segment_sum(shifted, ints(3, 2))
    torch.testing.assert_close(sums, torch.zeros(2, dtype=dtype), atol=1e-5, rtol=0)


def test_the_table_has_both_standard_deviations():
    reward, sizes = f64(1, 2, 6), ints(3)
    assert ADVANTAGES.keys() == {"rloo", "grpo_ddof_0", "grpo_ddof_1", "dr_grpo"}
    for ddof in (0, 1):
        torch.testing.assert_close(
            ADVANTAGES[f"grpo_ddof_{ddof}"](reward, sizes), grpo(reward, sizes, ddof=ddof)
        )
    assert ADVANTAGES["rloo"] is rloo and ADVANTAGES["dr_grpo"] is dr_grpo


@pytest.mark.parametrize("clip_low,clip_high", [(0.2, 0.28), (0.0, 0.0), (0.9, 3.0)])
def test_ppo_clip_is_the_smaller_of_two(clip_low, clip_high):
    log_ratio, advantage = torch.cartesian_prod(
        torch.linspace(-3, 3, 25, dtype=torch.float64), torch.linspace(-2, 2, 9).double()
    ).T
    ratio = log_ratio.exp()
    held = ratio.clamp(1 - clip_low, 1 + clip_high)
    expected = -torch.minimum(ratio * advantage, held * advantage)
    cost = ppo_clip(log_ratio, torch.zeros_like(log_ratio), advantage, clip_low, clip_high)
    torch.testing.assert_close(cost, expected)


def test_the_ratio_that_overflows_has_no_gradient_where_it_is_clipped():
    policy = torch.tensor([200.0, 200.0, -200.0], requires_grad=True)
    cost = ppo_clip(policy, torch.zeros(3), torch.tensor([1.0, 0.0, -1.0]))
    torch.testing.assert_close(cost.detach(), torch.tensor([-1.2, 0.0, 0.8]))
    assert torch.autograd.grad(cost.sum(), policy)[0].tolist() == [0, 0, 0]


def test_no_gradient_flows_through_rewards_advantages_or_old_policies():
    def leaf(*numbers):
        return f64(*numbers).requires_grad_()

    policy, other, lengths = leaf(-1, -2, -1), leaf(-2, -1, -3), ints(2, 1)
    for constant in (
        terminal_reward(leaf(1, 2), lengths),
        kl_shaped_reward(leaf(1, 2), policy, other, lengths, 0.5),
        rewards_to_go(leaf(1, 2, 3), lengths),
        gae(leaf(1, 2, 3), leaf(1, 2, 3), lengths, last_value=leaf(1, 1)),
        *(advantage(leaf(1, 2, 4), ints(3)) for advantage in ADVANTAGES.values()),
    ):
        assert not constant.requires_grad
    for cost, inputs in (
        (reinforce(policy, other), [other]),
        (reinforce_sequence(policy, lengths, weight := leaf(1, 2)), [weight]),
        (ppo_clip(policy, old := leaf(-1, -1, -1), other), [old, other]),
        (clipped_value_loss(policy, old, other), [old, other]),
    ):
        assert torch.autograd.grad(cost.sum(), [policy, *inputs], allow_unused=True)[1:] == (
            (None,) * len(inputs)
        )


# Errors


def test_a_group_of_one_is_refused_by_its_number():
    for advantage in ADVANTAGES.values():
        with pytest.raises(LuceError, match=r"group 1 of the batch has 1 response.*at least 2"):
            advantage(f64(1, 2, 3), ints(2, 1))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: terminal_reward(f64(1, 2), ints(2, 0)), "lengths: response 1 .* no token"),
        (lambda: rewards_to_go(f64(1, 2), ints(2, 1)), "lengths sum to 3, but there are 2 tokens"),
        (lambda: gae(f64(1, 2), f64(1, 2), ints(1)), "lengths sum to 1, but there are 2 tokens"),
        (lambda: reinforce_sequence(f64(1, 2), ints(0, 2), f64(1, 2)), "response 0 of the batch"),
        (lambda: kl_shaped_reward(f64(1), f64(1), f64(1), ints(2), 0.1), "sum to 2, .* 1 tokens"),
        (lambda: rloo(f64(1, 2, 3), ints(2)), "sizes sum to 2, but there are 3 rewards"),
        (lambda: rewards_to_go(f64(1), ints(1), gamma=1.5), r"gamma: 1.5 is not in \[0, 1\]"),
        (lambda: gae(f64(1), f64(1), ints(1), lam=-0.5), r"lam: -0.5 is not in \[0, 1\]"),
        (lambda: gae(f64(1), f64(1), ints(1), gamma=math.inf), r"gamma: inf is not in \[0, 1\]"),
        (lambda: grpo(f64(1, 2), ints(2), ddof=0, eps=0.0), "eps: 0.0 is not positive"),
        (lambda: ppo_clip(f64(1), f64(1), f64(1), 1.0, 0.2), "clip_low: 1.0, clip_high: 0.2"),
        (lambda: ppo_clip(f64(1), f64(1), f64(1), -0.1, 0.2), "clip_low: -0.1"),
        (lambda: ppo_clip(f64(1), f64(1), f64(1), 0.1, -0.1), "clip_high: -0.1"),
        (lambda: clipped_value_loss(f64(1), f64(1), f64(1), -0.1), "clip: -0.1 is negative"),
    ],
)
def test_errors_name_what_was_found(call, message):
    with pytest.raises(LuceError, match=message):
        call()


def test_an_empty_batch_is_no_error():
    nothing, none = f64(), torch.zeros(0, dtype=torch.long)
    assert rewards_to_go(nothing, none).tolist() == terminal_reward(nothing, none).tolist() == []


def test_a_value_may_be_held_in_place():
    torch.testing.assert_close(clipped_value_loss(f64(1), f64(0), f64(2), clip=0.0), f64(2))
