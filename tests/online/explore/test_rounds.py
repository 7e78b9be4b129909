"""The loop on linear worlds: what it asks, what it learns, and the orderings of the strategies."""

from dataclasses import replace

import pytest
import torch

from luce.models.tabular import LINEAR_WORLDS, LinearWorld, cover, coverage_gap
from luce.online.explore import STRATEGIES, Candidates, TwoSamples, learn
from luce.online.explore.rounds import _candidates


class Recorder:
    """Two samples, remembered."""

    def __init__(self):
        self.seen: list[Candidates] = []

    def choose(self, candidates, generator):
        return TwoSamples().choose(candidates, generator)

    def observe(self, candidates, pairs):
        self.seen.append(candidates)


def at(trajectory, comparisons):
    return trajectory.regret[comparisons // 50 - 1]


@pytest.fixture(scope="module")
def found():
    return {
        world: {
            name: learn(make(40), strategy, seed=1)
            for name, strategy in STRATEGIES.items()
            if world != "biased" or name in ("two_samples", "moving")
        }
        for world, make in LINEAR_WORLDS.items()
    }


def test_a_trajectory_counts_its_comparisons_and_repeats_with_its_seed():
    world = cover(3)
    one, two = (learn(world, STRATEGIES["two_samples"], 5, 3, 20) for _ in range(2))
    assert one.comparisons.tolist() == [20, 40, 60]
    assert one.regret.shape == (3, 3)
    assert torch.equal(one.regret, two.regret)
    assert not torch.equal(one.regret, learn(world, STRATEGIES["two_samples"], 6, 3, 20).regret)


def test_offline_asks_the_initial_policy_and_online_the_current_one():
    """π₀ of this world never takes action 2, which is the best by far once it is tilted to."""
    features = torch.eye(3, dtype=torch.float64).expand(1, 1, 3, 3)
    log = torch.tensor([[[0.5, 0.4995, 0.0005]]], dtype=torch.float64).log()
    world = LinearWorld(features, torch.tensor([[-9.0, 0.0, 9.0]], dtype=torch.float64), log, 0.5)
    shares = {}
    for name in ("offline", "two_samples"):
        recorder = Recorder()
        strategy = replace(STRATEGIES[name], explorer=lambda d, worlds, r=recorder: r)
        learn(world, strategy, 0, rounds=3, comparisons=200)
        assert recorder.seen[-1].features is not None
        shares[name] = recorder.seen[-1].features[..., 0].mean().item()
    assert shares["offline"] == pytest.approx(0.5, abs=0.1)  # how often action 0 is sampled
    assert shares["two_samples"] < 0.05


def test_the_enhancer_over_all_actions_is_offered_a_sample_and_every_action():
    world = cover(2, actions=4)
    context = torch.zeros(2, 3, dtype=torch.int64)
    drawn = _candidates(
        world.reference, context, STRATEGIES["enhancer_actions"], torch.Generator().manual_seed(0)
    )
    assert drawn.shape == (2, 3, 5)
    assert (drawn[..., 1:] == torch.arange(4)).all()


def test_a_moving_reference_multiplies_the_tilts():
    """After one round both are π₀ exp(r̂/η); later the moving one is farther from π₀."""
    world = coverage_gap(20)
    fixed, moving = (learn(world, STRATEGIES[n], 1, 4) for n in ("two_samples", "moving"))
    assert torch.equal(fixed.deployed_kl[0], moving.deployed_kl[0])
    assert torch.equal(fixed.deployed_regret, fixed.regret)
    assert torch.equal(moving.deployed_regret[0], moving.regret[0])
    assert (moving.deployed_kl[3] > fixed.deployed_kl[3]).double().mean() > 0.8


def test_where_the_reference_hides_features_online_beats_offline_and_exploring_beats_online(found):
    regret = {name: at(run, 600).mean().item() for name, run in found["gap"].items()}
    assert regret["offline"] > 3 * regret["two_samples"]
    assert regret["two_samples"] > regret["enhancer_actions"]
    assert regret["two_samples"] > regret["enhancer_samples"]


def test_offline_regret_in_the_gap_rises_before_it_falls(found):
    offline = found["gap"]["offline"]
    risen = at(offline, 300) - at(offline, 50)
    assert risen.mean() > 3 * risen.std() / 40**0.5
    assert at(offline, 600).mean() < at(offline, 300).mean()


def test_where_the_reference_covers_online_does_not_beat_offline(found):
    worse = at(found["cover"]["two_samples"], 600) - at(found["cover"]["offline"], 600)
    assert worse.mean() > 2 * worse.std() / 40**0.5


@pytest.mark.parametrize("world", ["gap", "biased"])
def test_a_moving_reference_drifts_and_is_worse_for_the_first_one(found, world):
    fixed, moving = found[world]["two_samples"], found[world]["moving"]
    assert moving.deployed_kl[-1].mean() > 1.4 * fixed.deployed_kl[-1].mean()
    assert moving.deployed_reward[-1].mean() > fixed.deployed_reward[-1].mean()
    assert moving.deployed_regret[-1].mean() > 2 * fixed.deployed_regret[-1].mean()
    assert moving.regret[-1].mean() > 2 * fixed.regret[-1].mean()


def test_best_and_worst_learn_from_the_first_round():
    """With an argmax and an argmin that return the same response, the regret would stay at its
    start of 1.14 for ever."""
    world = cover(20)
    run = learn(world, STRATEGIES["best_worst"], 1, 2)
    assert run.regret[0].mean() < 0.7 * world.regret(world.reference).mean()
