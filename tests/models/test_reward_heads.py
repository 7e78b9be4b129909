"""A reward model with a head for each annotator: its mean, its weights, its files."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from luce.data.pack import pack
from luce.errors import LuceError
from luce.models.export import save_model
from luce.models.reward import PACE, RewardModel, load_reward_model
from luce.objectives import make_objective
from luce.train.batch import collate
from luce.train.learners import RewardLearner


@pytest.fixture
def model(tiny_model_dir) -> RewardModel:
    loaded = load_reward_model(str(tiny_model_dir), heads=3, seed=1)
    with torch.no_grad():
        loaded.prior.copy_(torch.tensor([0.5, 0.3, 0.2]).log() / PACE)
    return loaded


def test_a_reward_is_the_mean_over_annotators(model, groups):
    packed = pack(groups, keep_last=True)
    every = model.all_rewards(packed)
    assert model.heads == 3 and every.shape == (len(packed.lengths), 3)
    assert model.weights.tolist() == pytest.approx([0.5, 0.3, 0.2])
    expected = every @ torch.tensor([0.5, 0.3, 0.2])
    torch.testing.assert_close(model.rewards(packed), expected)
    torch.testing.assert_close(model.plain_rewards(packed), every.detach(), rtol=1e-4, atol=1e-4)
    assert every[:, 0].detach().std() > 0 and not torch.allclose(every[:, 0], every[:, 1])


def test_one_head_has_no_weights_to_learn(tiny_model_dir, groups):
    alone = load_reward_model(str(tiny_model_dir))
    assert alone.heads == 1 and alone.prior is None and alone.weights.tolist() == [1]
    assert not any("prior" in name for name in alone.trainable())
    answer = RewardLearner(alone).respond(groups)
    assert answer.rewards is None and answer.prior is None and answer.reward is not None


def test_heads_and_weights_come_back_from_the_files(model, groups, tmp_path):
    packed = pack(groups, keep_last=True)
    save_model(model, tmp_path / "rm", packed=packed)
    again = load_reward_model(str(tmp_path / "rm"))
    assert again.heads == 3 and again.weights.tolist() == pytest.approx([0.5, 0.3, 0.2])
    torch.testing.assert_close(again.all_rewards(packed), model.all_rewards(packed))
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm")
    assert plain.config.num_labels == 3


def test_a_mixture_teaches_every_head_and_the_weights(model, groups):
    pairs = [group for group in groups if len(group.branches) == 2]
    assert pairs
    objective = make_objective("mixture", {"K": 3, "of": "reward"})
    batch = collate(RewardLearner(model).respond(pairs), pairs, "pair")
    cost = objective(batch)
    z = (batch.chosen.rewards - batch.rejected.rewards).detach()
    p = (torch.tensor([0.5, 0.3, 0.2]) * z.sigmoid()).sum(1)
    torch.testing.assert_close(cost.detach(), -p.log())
    cost.sum().backward()
    trainable = model.trainable()
    gradient = trainable["annotators.prior"].grad
    # ∂ cost/∂ logit_i = w_i − responsibility_i
    shares = objective.responsibilities(batch).detach().sum(0)
    expected = PACE * (len(pairs) * torch.tensor([0.5, 0.3, 0.2]) - shares)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-4)
    assert (trainable["score.weight"].grad.norm(dim=1) > 0).all()


def test_annotators_without_a_head_are_named(model, groups):
    pairs = [group for group in groups if len(group.branches) == 2]
    batch = collate(RewardLearner(model).respond(pairs), pairs, "pair")
    with pytest.raises(LuceError, match="3 heads"):
        make_objective("mixture", {"K": 4, "of": "reward"}).margins(batch)
