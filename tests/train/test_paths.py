"""Every path through the model gives the same costs and the same gradient: padded, packed, shared,
in any order, cut into any micro-batches."""

import random

import pytest
import torch

from luce.data.pack import pack
from luce.models.policy import load_policy
from luce.models.reference import compute_reference, open_reference
from luce.objectives.build import make_objective
from luce.train.learners import PolicyLearner
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer

from .conftest import branch


def real_groups(n, seed=0):
    """Pairs over the tiny tokenizer's ids, of uneven lengths."""
    from dataclasses import replace

    from .conftest import make_groups

    draw = random.Random(seed)
    groups = []
    for group in make_groups(n, seed=seed):
        ids = lambda k: [draw.randint(3, 299) for _ in range(k)]  # noqa: E731
        prompt = branch(*ids(draw.randint(1, 20))).ids
        responses = (branch(*ids(draw.randint(1, 15))), branch(*ids(draw.randint(1, 15))))
        groups.append(replace(group, prompt=prompt, branches=responses))
    return groups


def gradient(model_dir, cache_dir, layout, groups, budget, objective):
    """Cost per pair by id, and the gradient of their mean."""
    policy = load_policy(str(model_dir), dtype="float32", layout=layout)
    cache = compute_reference(open_reference("initial", policy), groups, pack, cache_dir)
    with torch.no_grad():
        for parameter in policy.trainable().values():  # away from the reference
            generator = torch.Generator().manual_seed(parameter.numel())
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    settings = TrainSettings(
        batch_size=len(groups), max_tokens_per_batch=budget, max_grad_norm=1e9, learning_rate=1e-9
    )
    trainer = Trainer(PolicyLearner(policy, cache), make_objective(objective, {}), groups, settings)
    margins = dict(
        zip([g.id for g in groups], trainer.per_group(groups)["rewards/margins"], strict=True)
    )
    record = next(trainer.steps())
    return margins, record["loss"], {n: p.grad.clone() for n, p in policy.trainable().items()}


@pytest.mark.parametrize("objective", ["dpo", "simpo"])
def test_every_path_gives_the_same_costs_and_the_same_gradient(tiny_model_dir, tmp_path, objective):
    groups = real_groups(9)
    margins, loss, grads = gradient(
        tiny_model_dir, tmp_path / "padded", "padded", groups, 10_000, objective
    )
    shuffled = random.Random(1).sample(groups, len(groups))
    for layout in ("padded", "packed", "shared"):
        for rows, budget in ((groups, 10_000), (shuffled, 70), (groups, 1)):
            place = tmp_path / f"{layout}-{budget}"
            got_margins, got_loss, got = gradient(
                tiny_model_dir, place, layout, rows, budget, objective
            )
            assert got_loss == pytest.approx(loss, rel=1e-5)
            assert got_margins == pytest.approx(margins, rel=1e-4, abs=1e-5)
            for name, expected in grads.items():
                scale = float(expected.abs().max())
                torch.testing.assert_close(got[name], expected, rtol=1e-5, atol=1e-5 * scale)
