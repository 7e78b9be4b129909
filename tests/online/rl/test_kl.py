"""KL and entropy of samples: on the tokens of responses only, and right within their error."""

import torch

from luce.models.engine import SamplingSettings
from luce.numerics import segment_sum
from luce.objectives.policy_gradient import KL_ESTIMATORS
from luce.online.rl import Rloo, draw_rollouts, experience, sample_metrics
from luce.online.rl.rollout import Prompt, RolloutSettings
from luce.types import Place


def test_estimates_agree_with_the_exact_kl_within_their_standard_error(world):
    settings = RolloutSettings(50, SamplingSettings(max_new_tokens=2))
    rollouts = draw_rollouts(world.actors(), [world.prompt] * 40, settings, seed=2)
    with torch.no_grad():
        policy, reference = world.tabular(world.policy), world.tabular(world.reference)
        exact = float(policy.kl(reference))
        entropy = float(-policy.expectation(policy.log_prob))
    lengths = torch.tensor([n for r in rollouts for n in r.lengths])
    behavior = torch.cat([r.behavior for r in rollouts])
    other = torch.cat([r.reference for r in rollouts])
    assert exact > 0.1
    for name in ("k1", "k3"):
        each = segment_sum(KL_ESTIMATORS[name].value(behavior, other), lengths)
        error = float(each.std()) / len(each) ** 0.5
        assert abs(float(each.mean()) - exact) < 4 * error < 0.5 * exact
        metric = {"k1": "kl", "k3": "kl/k3"}[name]
        found = sample_metrics(experience(Rloo(beta=0.0), rollouts), range(len(rollouts)))
        assert abs(found[metric] - float(each.mean())) < 1e-9
    whole = torch.cat([r.entropy for r in rollouts])
    error = float(whole.std()) / len(whole) ** 0.5
    assert abs(float(whole.mean()) - entropy) < 4 * error


def test_prompts_and_padding_never_enter(world):
    """Prompts of other lengths in one batch: the KL is that of each response by itself."""
    prompts = [
        Prompt(str(n), Place("p", n + 1), "a", ids)
        for n, ids in enumerate([(1,), (2, 1, 1, 2, 1, 2, 2, 1), (1, 2, 2)])
    ]
    settings = RolloutSettings(4, SamplingSettings(max_new_tokens=2))
    rollouts = draw_rollouts(world.actors(), prompts, settings, seed=0)
    found = sample_metrics(experience(Rloo(beta=0.1), rollouts), range(3))
    total, tokens, count = 0.0, 0, 0
    for rollout in rollouts:
        for branch in rollout.group.branches:
            ids = torch.tensor([*rollout.prompt.ids, *branch.ids.tolist()])[None]
            said = []
            for policy in (world.policy, world.reference):
                with torch.no_grad(), policy.plain_attention():
                    logits = policy.module(input_ids=ids).logits[0].log_softmax(-1)
                start = len(rollout.prompt.ids)
                said.append(
                    sum(float(logits[t - 1, ids[0, t]]) for t in range(start, ids.shape[1]))
                )
            total += said[0] - said[1]
            tokens += len(branch)
            count += 1
    assert abs(found["kl"] - total / count) < 1e-5
    assert abs(found["kl_per_token"] - total / tokens) < 1e-5
    assert abs(found["length"] - tokens / count) < 1e-9
