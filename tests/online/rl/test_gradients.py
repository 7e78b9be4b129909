"""The gradient of the loop against the exact one, in a world whose every response is listed."""

from itertools import combinations_with_replacement, permutations

import pytest
import torch

from luce.models.tabular.bandit import kl_control_gradient, policy_gradient
from luce.online.rl import DrGrpo, Grpo, Ppo, Reinforce, Rloo, draw_rollouts, experience

SUM = "seq-mean-token-sum"
CLOSE = {"rtol": 1e-4, "atol": 1e-6}  # norms of the network are made in float32


def flat(policy) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in policy.trainable().values()])


def cleared(policy):
    for parameter in policy.trainable().values():
        parameter.grad = None


def expected(world, method, n: int, values=None, running_mean: float = 0.0):
    """The loop's gradient of one group of n samples, averaged over every way to draw them."""
    trainer = world.trainer(method, n=n)
    with torch.no_grad():
        probability = world.tabular(world.policy).probability
    total = torch.zeros(())
    for chosen in combinations_with_replacement(range(len(world.every)), n):
        orders = len(set(permutations(chosen)))
        value = None if values is None else torch.cat([values[i] for i in chosen])
        found = experience(method, [world.rollout(chosen, value)], running_mean)
        cleared(world.policy)
        trainer.add_gradients(found, [0])
        total = total + orders * probability[list(chosen)].prod() * flat(world.policy)
    return total


def climbing(world, beta: float, reward=None, entropy: float = 0.0):
    """∇J by the table: J = E[r] − β KL + α H, differentiated as it stands."""
    cleared(world.policy)
    policy = world.tabular(world.policy)
    reward = world.reward if reward is None else reward
    value = policy.expectation(reward)
    if beta:
        value = world.bandit(beta, reward).value(policy)
    if entropy:
        value = value - entropy * policy.expectation(policy.log_prob)
    value.backward()
    return flat(world.policy)


@pytest.mark.parametrize(
    "method, n",
    [
        (Reinforce(beta=0.0, baseline="none"), 1),
        (Reinforce(beta=0.3, baseline="none"), 1),
        (Reinforce(beta=0.3, baseline="running"), 1),
        (Reinforce(beta=0.3, baseline="batch"), 2),
        (Rloo(beta=0.3), 2),
        (Rloo(beta=0.3, clip_low=0.2, clip_high=0.2), 2),
    ],
    ids=["reinforce", "with-kl", "running", "batch", "rloo", "rloo-ratio"],
)
def test_the_expected_gradient_is_that_of_reward_less_kl(world, method, n):
    found = expected(world, method, n, running_mean=0.7)
    torch.testing.assert_close(found, -climbing(world, method.beta), **CLOSE)


def test_the_exact_gradient_is_that_of_the_bandit(world):
    """∇_θ J through the network is the bandit's gradient of the logits, carried on by ∇ log π."""
    policy = world.tabular(world.policy)
    for beta in (0.0, 0.3):
        with torch.no_grad():
            logits = policy_gradient(policy, world.reward)
            if beta:
                logits = kl_control_gradient(policy, world.bandit(beta))
        cleared(world.policy)
        (world.tabular(world.policy).log_prob * logits).sum().backward()
        torch.testing.assert_close(flat(world.policy), climbing(world, beta))


def test_dr_grpo_has_the_gradient_but_for_the_factor_of_its_group(world):
    method = DrGrpo(loss_agg_mode=SUM)
    found = expected(world, method, 2)
    torch.testing.assert_close(found, -climbing(world, 0.0) / 2, **CLOSE)
    norm = expected(world, DrGrpo(), 2)  # the sum over tokens divided by max_new_tokens
    torch.testing.assert_close(norm, found / world.longest, **CLOSE)


def test_ppo_at_lambda_1_has_the_gradient_whatever_the_critic_says(world):
    method = Ppo(beta=0.3, lam=1.0, whiten=False, loss_agg_mode=SUM)
    draw = torch.Generator().manual_seed(0)
    # V may look at the prompt and the tokens before: equal prefixes have equal values
    of = {prefix: torch.randn((), generator=draw, dtype=torch.float64)
          for ids in world.every for prefix in (ids[:k] for k in range(len(ids)))}  # fmt: skip
    values = [torch.stack([of[ids[:k]] for k in range(len(ids))]) for ids in world.every]
    found = expected(world, method, 1, values)
    torch.testing.assert_close(found, -climbing(world, 0.3), **CLOSE)


def test_entropy_in_the_reward_has_the_gradient_of_the_entropy(world):
    method = Rloo(beta=0.3, entropy=0.5)
    found = expected(world, method, 2)
    torch.testing.assert_close(found, -climbing(world, 0.3, entropy=0.5), **CLOSE)


def test_a_response_that_was_cut_pays_its_penalty(world):
    method = Rloo(beta=0.0, missing_eos_penalty=2.0)
    cut = ~world.ended(range(len(world.every)))
    assert 0 < int(cut.sum()) < len(cut)
    found = expected(world, method, 2)
    exact = -climbing(world, 0.0, reward=world.reward - 2.0 * cut)
    torch.testing.assert_close(found, exact, **CLOSE)


def test_the_kl_in_the_loss_has_the_gradient_that_its_estimator_is_said_to_have(
    make_world,
):
    """On responses of one token k2 climbs down KL(π ‖ π_ref) and k3 down KL(π_ref ‖ π)."""
    world = make_world(1)
    world.reward.zero_()
    grpo = {"beta": 0.3, "loss_agg_mode": SUM}
    k2, k3 = (expected(world, Grpo(kl_estimator=name, **grpo), 2) for name in ("k2", "k3"))
    with torch.no_grad():
        reference = world.tabular(world.reference)
    for found, divergence in (
        (k2, lambda policy: policy.kl(reference)),
        (k3, lambda policy: reference.kl(policy)),
    ):
        cleared(world.policy)
        (0.3 * divergence(world.tabular(world.policy))).backward()
        torch.testing.assert_close(found, flat(world.policy), **CLOSE)


@pytest.mark.parametrize("kind", [Grpo, DrGrpo, Rloo])
def test_group_rewards_that_are_equal_move_nothing(world, kind):
    method = kind(beta=0.0)
    world.reward.fill_(0.1)
    found = experience(method, [world.rollout([0, 3, 5])])
    world.trainer(method, n=3).add_gradients(found, [0])
    assert not flat(world.policy).any()


def test_sampled_gradients_agree_with_the_exact_one_within_their_standard_error(world):
    method = Rloo(beta=0.3)
    trainer = world.trainer(method, n=4)
    exact = -climbing(world, 0.3)
    draw = torch.Generator().manual_seed(1)
    directions = torch.randn(4, len(exact), generator=draw, dtype=torch.float64)
    along = []
    rollouts = draw_rollouts(trainer.actors, [world.prompt] * 150, trainer.rollout, seed=5)
    for rollout in rollouts:
        cleared(world.policy)
        trainer.add_gradients(experience(method, [rollout]), [0])
        along.append(directions @ flat(world.policy))
    found = torch.stack(along)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - directions @ exact).abs() < 4 * error).all()
