"""The mean that a step takes of token losses, and what the policy has moved by."""

from dataclasses import replace

import pytest
import torch

from luce.online.rl import DrGrpo, Grpo, Ppo, Taken, experience, policy_losses, value_losses
from luce.online.rl.losses import movement, token_weights, whole_weight

MODES = ("seq-mean-token-sum", "seq-mean-token-mean", "token-mean", "seq-mean-token-sum-norm")


def test_each_mode_is_the_mean_that_its_name_says():
    lengths, losses = torch.tensor([1, 3]), torch.tensor([2.0, 3.0, 6.0, 9.0])
    expected = {
        "seq-mean-token-sum": (2 + 18) / 2,
        "seq-mean-token-mean": (2 + 6) / 2,
        "token-mean": 20 / 4,
        "seq-mean-token-sum-norm": (2 / 5 + 18 / 5) / 2,
    }
    assert set(expected) == set(MODES)
    for mode, mean in expected.items():
        found = (losses * token_weights(mode, lengths, 5)).sum() / whole_weight(mode, lengths)
        assert float(found) == pytest.approx(mean)


@pytest.mark.parametrize("mode", MODES)
def test_how_a_step_is_cut_into_micro_batches_changes_nothing(world, mode):
    method = Grpo(loss_agg_mode=mode, beta=0.3)
    rollouts = [world.rollout(chosen) for chosen in ([0, 3, 5], [1, 2, 6], [4, 4, 0])]
    found = experience(method, rollouts)
    gradients, losses = [], []
    for budget in (1, 20, 1000):
        trainer = world.trainer(method, max_tokens_per_batch=budget)
        for parameter in world.policy.trainable().values():
            parameter.grad = None
        losses.append(trainer.add_gradients(found, [0, 1, 2])["loss"])
        gradients.append([p.grad.clone() for p in world.policy.trainable().values()])
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-7)
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def taken(**given) -> Taken:
    values = {
        "lengths": torch.tensor([4]),
        "behavior": torch.zeros(4),
        "advantage": torch.tensor([1.0, 1.0, -1.0, -1.0]),
    }
    return Taken(**(values | given))


def test_the_clipped_share_is_where_the_gradient_is_gone():
    method = DrGrpo()
    log_ratio = torch.tensor([0.3, -0.5, 0.3, -0.5], requires_grad=True)
    found = movement(method, log_ratio.detach(), taken())
    assert found["clipfrac"].tolist() == [1.0, 0.0, 0.0, 1.0]
    policy_losses(method, log_ratio, taken()).sum().backward()
    assert log_ratio.grad is not None
    assert (log_ratio.grad == 0).tolist() == [True, False, False, True]
    torch.testing.assert_close(found["ratio"], log_ratio.detach().exp())


def test_the_kl_in_the_loss_is_priced_by_beta():
    policy, reference = torch.tensor([-1.0, -2.0, 0.0, -1.0]), torch.tensor([-1.5, -2.0, 0.0, 0.0])
    plain = policy_losses(DrGrpo(), policy, taken(reference=reference))
    priced = policy_losses(DrGrpo(beta=0.5), policy, taken(reference=reference))
    x = reference - policy
    torch.testing.assert_close(priced - plain, 0.5 * (x.exp() - 1 - x))


def test_a_value_without_a_clip_is_fitted_by_half_its_square():
    given = taken(value=torch.zeros(4), returns=torch.tensor([1.0, 2.0, 0.0, -1.0]))
    value = torch.tensor([1.0, 1.0, 1.0, 1.0])
    found = value_losses(Ppo(clip_value=None), value, given)
    assert found.tolist() == [0.0, 0.5, 0.5, 2.0]
    held = value_losses(replace(Ppo(), clip_value=0.5), value, given)
    # moved by 1, held at .5: the larger of both errors counts
    assert held.tolist() == [0.125, 1.125, 0.5, 2.0]
