"""Rounds of samples: the same for the same seed, refused where they are wrong, read again."""

from dataclasses import replace

import pytest
import torch

from luce.errors import CheckpointError, LuceError, ModelError
from luce.models.engine import SamplingSettings
from luce.online.rl import RolloutSettings, Rounds, draw_rollouts
from luce.online.rl import rollout as module
from luce.online.rl.rollout import refuse_gap, sampler_gap

SETTINGS = RolloutSettings(3, SamplingSettings(max_new_tokens=2), block=2)


def draw(world, seed=0, count=2, **given):
    actors = replace(world.actors(), **given)
    return draw_rollouts(actors, [world.prompt] * count, SETTINGS, seed)


def same(a, b) -> bool:
    tensors = ("reward", "ended", "sampler", "behavior", "entropy", "reference")
    return a.texts == b.texts and all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in tensors
    )


def test_samples_follow_from_the_seed(world):
    first, again, other = draw(world, 0, 9), draw(world, 0, 9), draw(world, 1, 9)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not all(same(a, b) for a, b in zip(first, other, strict=True))
    assert len({r.texts for r in first}) > 1  # the same prompt again is sampled anew


def test_sampler_and_trainer_agree(world):
    mean, largest = sampler_gap(draw(world, count=20))
    assert mean <= largest < 1e-6


def test_a_gap_beyond_rounding_is_refused_with_the_remedy(world):
    one = draw(world)[0]
    refuse_gap([one], "float32")
    shifted = replace(one, sampler=one.sampler + 0.02)
    with pytest.raises(ModelError, match="Set `model.layout: padded`"):
        refuse_gap([shifted], "float32")
    refuse_gap([shifted], "bfloat16")  # what 16 bits explain
    with pytest.raises(ModelError, match="online: sampler and trainer"):
        refuse_gap([replace(one, sampler=one.sampler + 0.1)], "bfloat16")


def test_a_sampler_of_other_weights_is_found_out(world, monkeypatch):
    whole = module.generate

    def stale(policy, *given, **more):
        return whole(world.reference, *given, **more)

    monkeypatch.setattr(module, "generate", stale)
    with pytest.raises(ModelError, match="the samples are not the trained policy's"):
        draw(world, count=10)


@pytest.mark.parametrize(
    "grade, said",
    [
        (
            lambda asked: [[1.0] * 2 for _ in asked],
            "2 rewards for the 3 responses to prompts.jsonl",
        ),
        (lambda asked: [[1.0] * 3], "0 rewards for the 3"),
        (lambda asked: [[1.0, float("nan"), 0.0] for _ in asked], "is nan"),
    ],
)
def test_a_scorer_that_does_not_grade_is_named(world, grade, said):
    with pytest.raises(LuceError) as error:
        draw(world, grade=grade)
    assert said in str(error.value) and "online.annotator" in str(error.value)


def test_a_round_is_drawn_once_and_then_read(world, tmp_path, monkeypatch):
    asked = []
    actors = world.actors()

    def counted(batch):
        asked.append(len(batch))
        return actors.grade(batch)

    rounds = Rounds(tmp_path / "rounds", replace(actors, grade=counted), SETTINGS)
    prompts = [world.prompt] * 5
    first = rounds.take(1, prompts, "v")
    assert asked == [2, 2, 1]
    again = rounds.take(1, prompts, "v", draw=False)
    assert asked == [2, 2, 1] and all(map(same, first, again))
    for a, b in zip(first, again, strict=True):
        assert [x.ids.tolist() for x in a.group.branches] == [
            x.ids.tolist() for x in b.group.branches
        ]
    lines = (rounds.place(1) / "samples.jsonl").read_text().splitlines()
    assert len(lines) == 5 and '"reward"' in lines[0]


def test_a_round_of_other_weights_is_drawn_again(world, tmp_path):
    rounds = Rounds(tmp_path / "rounds", world.actors(), SETTINGS)
    first = rounds.take(1, [world.prompt] * 2, "v")
    with torch.no_grad():
        for parameter in world.policy.trainable().values():
            parameter.add_(0.3 * torch.randn_like(parameter))
    other = rounds.take(1, [world.prompt] * 2, "w")
    assert not all(map(same, first, other))
    with pytest.raises(CheckpointError, match="stopped within this round"):
        rounds.take(1, [world.prompt] * 2, "v", draw=False)


def test_a_block_that_is_torn_is_drawn_again_to_the_same(world, tmp_path):
    rounds = Rounds(tmp_path / "rounds", world.actors(), SETTINGS)
    first = rounds.take(1, [world.prompt] * 4, "v")
    torn = rounds.place(1) / "block-0001.safetensors"
    torn.write_bytes(torn.read_bytes()[:100])
    assert all(map(same, first, rounds.take(1, [world.prompt] * 4, "v")))


def test_rounds_differ_and_old_ones_are_let_go(world, tmp_path):
    rounds = Rounds(tmp_path / "rounds", world.actors(), SETTINGS)
    first, second = (rounds.take(n, [world.prompt] * 2, "v") for n in (1, 2))
    assert not all(map(same, first, second))
    rounds.forget(before=2)
    assert not list(rounds.place(1).glob("block-*")) and list(rounds.place(2).glob("block-*"))
    assert (rounds.place(1) / "samples.jsonl").exists()
