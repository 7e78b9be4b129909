"""Policy gradients are exact: the mean over every response that a small policy can give."""

import itertools

import pytest
import torch

from luce.numerics import segment_sum
from luce.objectives.policy_gradient import (
    ADVANTAGES,
    KL_ESTIMATORS,
    dr_grpo,
    gae,
    k2,
    kl_shaped_reward,
    ppo_clip,
    reinforce,
    reinforce_sequence,
    rewards_to_go,
    rloo,
    terminal_reward,
)


def f64(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def ints(*values) -> torch.Tensor:
    return torch.tensor(values)


END, VOCABULARY, LONGEST = 0, 3, 3


def all_responses() -> list[tuple[int, ...]]:
    """Every response of up to three tokens of {end, a, b} that stops at its end token."""
    found, open_ = [], [()]
    while open_:
        prefix = open_.pop()
        for token in range(VOCABULARY):
            y = (*prefix, token)
            (found if token == END or len(y) == LONGEST else open_).append(y)
    return found


RESPONSES = all_responses()
PREFIXES = sorted({y[:t] for y in RESPONSES for t in range(len(y))})
LENGTHS = ints(*(len(y) for y in RESPONSES))
CONTEXT = ints(*(PREFIXES.index(y[:t]) for y in RESPONSES for t in range(len(y))))
TOKEN = ints(*(token for y in RESPONSES for token in y))
GENERATOR = torch.Generator().manual_seed(0)
LOGITS, REFERENCE_LOGITS = torch.randn(
    2, len(PREFIXES), VOCABULARY, generator=GENERATOR, dtype=torch.float64
)
REWARD = torch.randn(len(RESPONSES), generator=GENERATOR, dtype=torch.float64)
REFERENCE = REFERENCE_LOGITS.log_softmax(-1)[CONTEXT, TOKEN]


def logits() -> torch.Tensor:
    return LOGITS.clone().requires_grad_()


def tokens_of(table: torch.Tensor) -> torch.Tensor:
    """log π of every token of every response."""
    return table.log_softmax(-1)[CONTEXT, TOKEN]


def probability(table: torch.Tensor) -> torch.Tensor:
    """π(y) of every response."""
    return segment_sum(tokens_of(table), LENGTHS).exp()


def expected_gradient(per_token: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """E over responses of the gradient of the summed token values: the samples do not move."""
    cost = segment_sum(per_token, LENGTHS)
    return torch.autograd.grad((probability(table).detach() * cost).sum(), table)[0]


def exact(objective, table: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(objective(table), table)[0]


def expected_reward(table: torch.Tensor) -> torch.Tensor:
    return (probability(table) * REWARD).sum()


def kl(table: torch.Tensor) -> torch.Tensor:
    log_ratio = segment_sum(tokens_of(table) - REFERENCE, LENGTHS)
    return (probability(table) * log_ratio).sum()


def forward_kl(table: torch.Tensor) -> torch.Tensor:
    log_ratio = segment_sum(REFERENCE - tokens_of(table), LENGTHS)
    return (segment_sum(REFERENCE, LENGTHS).exp() * log_ratio).sum()


def values(gamma: float = 1.0) -> torch.Tensor:
    """The exact value before each token, the reward being at the end."""
    p = LOGITS.softmax(-1)

    def value(prefix: tuple[int, ...]) -> float:
        total = 0.0
        for token in range(VOCABULARY):
            y = (*prefix, token)
            future = REWARD[RESPONSES.index(y)].item() if y in RESPONSES else gamma * value(y)
            total += p[PREFIXES.index(prefix), token].item() * future
        return total

    return f64(*(value(prefix) for prefix in PREFIXES))[CONTEXT]


def test_the_listed_responses_are_all_there_are():
    assert len(RESPONSES) == 1 + 2 + 4 * 3
    assert probability(LOGITS).sum().item() == pytest.approx(1)


def test_reinforce_of_a_sequence_is_reinforce_of_its_tokens_with_the_reward_at_the_end():
    table = logits()
    togo = rewards_to_go(terminal_reward(REWARD, LENGTHS), LENGTHS, gamma=1.0)
    by_token = segment_sum(reinforce(tokens_of(table), togo), LENGTHS)
    torch.testing.assert_close(by_token, reinforce_sequence(tokens_of(table), LENGTHS, REWARD))


def test_reinforce_follows_the_exact_gradient_of_the_expected_reward():
    table = logits()
    togo = rewards_to_go(terminal_reward(REWARD, LENGTHS), LENGTHS)
    found = expected_gradient(reinforce(tokens_of(table), togo), table)
    torch.testing.assert_close(found, -exact(expected_reward, table))


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_gae_with_the_exact_values_is_unbiased_whatever_lambda(lam):
    table = logits()
    advantage = gae(terminal_reward(REWARD, LENGTHS), values(), LENGTHS, lam=lam)
    found = expected_gradient(reinforce(tokens_of(table), advantage), table)
    torch.testing.assert_close(found, -exact(expected_reward, table))


@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_gae_with_lambda_one_is_the_reward_to_go_less_the_value(gamma):
    reward = terminal_reward(REWARD, LENGTHS)
    advantage = gae(reward, values(gamma), LENGTHS, gamma, lam=1.0)
    torch.testing.assert_close(advantage, rewards_to_go(reward, LENGTHS, gamma) - values(gamma))


@pytest.mark.parametrize("beta", [0.0, 0.1, 2.0])
def test_the_kl_shaped_reward_follows_the_exact_gradient_of_reward_less_kl(beta):
    table = logits()
    shaped = kl_shaped_reward(REWARD, tokens_of(table), REFERENCE, LENGTHS, beta)
    found = expected_gradient(reinforce(tokens_of(table), rewards_to_go(shaped, LENGTHS)), table)
    torch.testing.assert_close(found, -exact(lambda t: expected_reward(t) - beta * kl(t), table))


def test_the_first_step_of_ppo_is_reinforce():
    table = logits()
    policy, advantage = tokens_of(table), torch.linspace(-1, 1, len(TOKEN), dtype=torch.float64)
    step = torch.autograd.grad(ppo_clip(policy, policy.detach(), advantage).sum(), table)[0]
    same = torch.autograd.grad(reinforce(tokens_of(table), advantage).sum(), table)[0]
    torch.testing.assert_close(step, same)


def group_gradient(advantages, n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """(the mean over every group of n samples of three outcomes, the exact gradient of E[r])."""
    table = LOGITS[0].clone().requires_grad_()
    reward = f64(0.0, 1.0, 10.0)
    log_pi = table.log_softmax(-1)
    group = ints(*itertools.product(range(3), repeat=n))
    weight = log_pi.detach()[group].sum(1).exp()
    advantage = advantages(reward[group].flatten(), torch.full((len(group),), n))
    cost = reinforce(log_pi[group].flatten(), advantage).reshape(-1, n).mean(1)
    found = torch.autograd.grad((weight * cost).sum(), table, retain_graph=True)[0]
    return found, torch.autograd.grad(-(log_pi.exp() * reward).sum(), table)[0]


def test_rloo_is_unbiased():
    found, wanted = group_gradient(rloo)
    torch.testing.assert_close(found, wanted)


def test_the_mean_that_counts_the_response_itself_shrinks_the_gradient():
    found, wanted = group_gradient(dr_grpo)
    torch.testing.assert_close(found, wanted * 2 / 3)


@pytest.mark.parametrize("name", ["grpo_ddof_0", "grpo_ddof_1"])
def test_dividing_by_the_spread_turns_the_gradient(name):
    found, wanted = group_gradient(ADVANTAGES[name])
    assert torch.cosine_similarity(found, wanted, dim=0).item() < 0.999


@pytest.mark.parametrize("name", KL_ESTIMATORS)
def test_the_mean_of_an_estimator_is_the_kl_where_it_says_so(name):
    estimate = segment_sum(KL_ESTIMATORS[name].value(tokens_of(LOGITS), REFERENCE), LENGTHS)
    mean = (probability(LOGITS) * estimate).sum()
    close = mean.item() == pytest.approx(kl(LOGITS).item(), rel=1e-12)
    assert close == KL_ESTIMATORS[name].unbiased


GRADIENTS = {"KL(π ‖ π_ref)": kl, "KL(π_ref ‖ π)": forward_kl, None: lambda table: 0 * table.sum()}


@pytest.mark.parametrize("name", KL_ESTIMATORS)
def test_the_gradient_of_an_estimator_is_of_what_it_says(name):
    """Taken of whole responses: one log-probability each."""
    table = logits()
    whole = segment_sum(tokens_of(table), LENGTHS)
    value = KL_ESTIMATORS[name].value(whole, segment_sum(REFERENCE, LENGTHS))
    mean = (probability(table).detach() * value).sum()
    found = torch.autograd.grad(mean, table)[0]
    for what, objective in GRADIENTS.items():
        same = torch.allclose(found, exact(objective, table), atol=1e-12)
        assert same == (what == KL_ESTIMATORS[name].gradient)


def test_k2_summed_over_tokens_leaves_out_what_follows():
    """Its gradient is right at the last tokens only, where nothing follows."""
    table = logits()
    found = expected_gradient(k2(tokens_of(table), REFERENCE), table)
    right = exact(kl, table)
    last = [i for i, prefix in enumerate(PREFIXES) if len(prefix) == LONGEST - 1]
    earlier = [i for i, prefix in enumerate(PREFIXES) if len(prefix) < LONGEST - 1]
    torch.testing.assert_close(found[last], right[last])
    assert not torch.allclose(found[earlier], right[earlier], rtol=0.05)
