"""TRL 1.16's objectives without a reference agree to 1e-9 in float64, over the whole path from
logits, where they follow the papers. Where they do not stands in docs/trl.md."""

import pytest
import torch
from trl_driver import NO_PROMPT, agree, both, random_pairs, trl_cpo, trl_orpo, without_constructor

from luce.objectives import Objective
from luce.objectives.labels import flipped
from luce.objectives.losses import LOSSES
from luce.objectives.presets import alphapo, cpo, orpo, simpo
from luce.objectives.scores import log_prob, mean_log_prob
from luce.types import Pairs, Responses

PROMPT = torch.tensor([-2.0, -0.5], dtype=torch.float64)
ODDS = 1e-6
"""ORPO's odds are float32 there, whatever the input."""


@pytest.fixture
def pairs() -> Pairs:
    return random_pairs()


SAME = {
    "simpo": (
        simpo(beta=2.0, gamma=1.0),
        {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0},
    ),
    "alphapo": (
        alphapo(beta=2.5, alpha=0.25, gamma=0.25),
        {"loss_type": "simpo", "beta": 2.5, "simpo_gamma": 0.25, "alpha": 0.25},
    ),
    "alphapo below 0": (
        alphapo(beta=2.5, alpha=-0.5, gamma=0.0),
        {"loss_type": "simpo", "beta": 2.5, "simpo_gamma": 0.0, "alpha": -0.5},
    ),
    "cpo": (cpo(beta=0.3, alpha=0.0), {"loss_type": "sigmoid", "beta": 0.3}),
    "cpo, label_smoothing": (
        Objective(log_prob(0.3), LOSSES["logistic"], labels=flipped(0.2)),
        {"loss_type": "sigmoid", "beta": 0.3, "label_smoothing": 0.2},
    ),
    "hinge": (
        Objective(log_prob(0.3), LOSSES["hinge"]),
        {"loss_type": "hinge", "beta": 0.3},
    ),
    "ipo": (
        Objective(mean_log_prob(0.6), LOSSES["square"], scale=1 / 0.36),
        {"loss_type": "ipo", "beta": 0.3},
    ),
}


@pytest.mark.parametrize("prompt", [NO_PROMPT, PROMPT], ids=["no prompt", "a prompt"])
@pytest.mark.parametrize("name", SAME)
def test_losses_without_a_reference_agree(name, prompt, pairs):
    ours, settings = SAME[name]
    theirs = trl_cpo(pairs, prompt, **({"cpo_alpha": 0.0} | settings))
    agree(ours(pairs).mean(), theirs, *(y.policy for y in both(pairs)))


def test_cpo_agrees_on_one_pair():
    pairs = random_pairs([3], [5])
    theirs = trl_cpo(pairs, PROMPT, loss_type="sigmoid", beta=0.3, cpo_alpha=0.7)
    agree(cpo(beta=0.3, alpha=0.7)(pairs).mean(), theirs, *(y.policy for y in both(pairs)))


def test_its_cpo_weighs_the_likelihood_of_a_batch_by_length(pairs):
    theirs = trl_cpo(pairs, loss_type="sigmoid", beta=0.3, cpo_alpha=0.7)
    preference = cpo(beta=0.3, alpha=0.0)(pairs).mean()
    token_mean = -pairs.chosen.policy.mean()
    agree(preference + 0.7 * token_mean, theirs, *(y.policy for y in both(pairs)))


def test_orpo_agrees_on_one_pair_after_a_prompt_of_one_token():
    pairs = random_pairs([3], [5])
    leaves = [y.policy for y in both(pairs)]
    agree(orpo(lam=0.2)(pairs).mean(), trl_orpo(pairs, beta=0.2), *leaves, tolerance=ODDS)


def test_its_orpo_learns_the_prompt_too(pairs):
    theirs = trl_orpo(pairs, 0.2, PROMPT)
    bare = orpo(lam=0.2)
    preference = Objective(bare.score, bare.loss, scale=bare.scale)(pairs).mean()
    n = len(pairs) * len(PROMPT) + len(pairs.chosen.policy)
    whole = -(len(pairs) * PROMPT.sum() + pairs.chosen.policy.sum()) / n
    agree(preference + whole, theirs, *(y.policy for y in both(pairs)), tolerance=ODDS)


def test_its_orpo_has_no_gradient_where_a_response_is_certain():
    """nan there, finite here."""
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    trainer = without_constructor(ORPOTrainer, beta=0.1)
    certain = torch.zeros(1, requires_grad=True)
    losses = trainer.odds_ratio_loss(certain, torch.tensor([-1.0]))[0]
    (theirs,) = torch.autograd.grad(losses.sum(), certain)
    assert theirs.isnan().all()
    y, other = (Responses(x, torch.tensor([1])) for x in (certain, torch.tensor([-1.0])))
    (ours,) = torch.autograd.grad(orpo()(Pairs(y, other)).sum(), certain)
    assert ours.isfinite().all()
