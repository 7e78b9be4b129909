"""The experiments of GPO that are exact or nearly so: their quick runs pass every check, and an
error planted into what they test makes one fail."""

import json
import math
from pathlib import Path

import pytest
import torch

from luce.lab import gpo_bandit, gpo_bandit_world, gpo_bayes, gpo_beta_matching, gpo_gaussians
from luce.lab.gpo_bandit_world import DATA, train
from luce.lab.gpo_beta_matching import EXPERIMENT as MATCHING
from luce.lab.gpo_family import CASE_I, CASE_II, FAMILY, stiffness
from luce.lab.gpo_gaussians_world import Humps, World, descend, remote_minima
from luce.lab.gpo_losses import EXPERIMENT as LOSS_SHAPES
from luce.lab.write import plain
from luce.models.tabular import actions, divergence_of_pairs, pairs_of
from luce.objectives import LOSSES, OBJECTIVES, MarginLoss


def failed(result):
    return [check.what for check in result.checks if not check.passed]


def passes(experiment, result, figures, tables):
    assert failed(result) == []
    assert set(result.figures) == figures and set(result.tables) == tables
    told = plain(experiment, result, experiment.quick_seeds, True)
    json.dumps(told, allow_nan=False)
    assert "(nan" not in result.verdict and "inf" not in result.verdict.split()


def steeper(name, factor=2.0):
    """The same loss of a margin that was multiplied."""
    phi = LOSSES[name].phi
    return MarginLoss(lambda z: phi(factor * z), lambda z: f"f({factor:g}·{z})")


def test_the_family_is_split_by_its_tails():
    assert set(CASE_I) == {"logistic", "exponential", "savage"}
    assert set(CASE_II) == {"hinge", "square", "truncated_quadratic"}
    assert [stiffness(name) for name in FAMILY] == [0.5, None, 1.0, 1.0, 1.0, 0.5]


def test_the_shapes_of_the_losses():
    passes(LOSS_SHAPES, LOSS_SHAPES.run(20, True), {"losses"}, {"losses"})


def test_a_steeper_loss_is_seen_in_the_shapes(monkeypatch):
    monkeypatch.setitem(LOSSES, "savage", steeper("savage"))
    wrong = failed(LOSS_SHAPES.run(2, True))
    assert "savage: f′(0)" in wrong and "savage: concave left of" in wrong


def test_a_loss_that_is_not_convex_is_seen_by_its_chords(monkeypatch):
    monkeypatch.setitem(LOSSES, "exponential", LOSSES["savage"])
    assert any("exponential: share of chords" in what for what in failed(LOSS_SHAPES.run(2, True)))


def test_who_is_preferred():
    passes(gpo_bayes.EXPERIMENT, gpo_bayes.EXPERIMENT.run(20, True), {"bayes"}, {"bayes"})


def test_a_loss_that_prefers_the_wrong_side_is_seen(monkeypatch):
    reversed_square = MarginLoss(
        lambda z: (1 + z) ** 2, lambda z: "(1 + z)²", bayes_consistent=False, tail="II"
    )
    monkeypatch.setitem(LOSSES, "square", reversed_square)
    wrong = failed(gpo_bayes.EXPERIMENT.run(2, True))
    assert {"square: pairs with the right sign", "square: minimizer at p = 0.75"} <= set(wrong)


@pytest.fixture(scope="module")
def bandit():
    return gpo_bandit.EXPERIMENT.run(20, True), train(
        {name: LOSSES[name] for name in FAMILY}, gpo_bandit.BETAS, 2, gpo_bandit.LOOKS
    )


@pytest.mark.slow
def test_six_losses_on_the_bandit(bandit):
    passes(gpo_bandit.EXPERIMENT, bandit[0], {"bandit"}, {"bandit"})
    assert "for β up to 2 in 18000 steps" in bandit[0].verdict
    rows = {(r["loss"], r["beta"]): r for r in bandit[0].tables["bandit"]}
    for row in rows.values():  # an independent program, full batch
        assert row["full_batch_a"] == pytest.approx(row["reference_a"], abs=1e-3)


@pytest.mark.slow
def test_losses_or_betas_that_were_mixed_up_are_seen(bandit):
    found = bandit[1]
    assert [c.what for c in gpo_bandit._checks(found) if not c.passed] == []
    for axis, moved in ((0, "losses"), (2, "betas")):
        mixed = gpo_bandit_world.Trained(
            found.steps, found.probability.roll(1, axis + 1), found.full_batch.roll(1, axis)
        )
        wrong = [c.what for c in gpo_bandit._checks(mixed) if not c.passed]
        assert len(wrong) > 5, moved


@pytest.mark.parametrize("name", FAMILY)
def test_a_bandit_is_trained_as_by_its_objective(name, monkeypatch):
    """The full batch of 40 steps, against the objective on pairs of a tabular policy. b wins as
    often as it loses; Adam makes steps of the rounding of a gradient near 0, hence the tolerance.
    """
    monkeypatch.setattr(gpo_bandit_world, "STEPS", 40)
    found = train({name: LOSSES[name]}, [0.5, 2.0], 3, [10])
    assert found.probability.shape == (2, 1, 3, 2, 3, 3) and found.steps == (10, 40)
    space, uniform = actions(3), actions(3).uniform()
    chosen, rejected = torch.tensor(DATA["order"]).T
    for b, beta in enumerate((0.5, 2.0)):
        theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([theta], lr=0.01)
        for _ in range(40):
            optimizer.zero_grad()
            batch = pairs_of(space.normalize(theta), chosen, rejected, None, uniform)
            OBJECTIVES[FAMILY[name]](beta=beta)(batch).mean().backward()
            optimizer.step()
        expected = theta.detach().softmax(0)
        torch.testing.assert_close(found.full_batch[0, 0, b], expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(
            found.full_batch[0, 1:, b], torch.full((2, 3), 1 / 3, dtype=torch.float64)
        )


def test_moved_mixtures():
    experiment = gpo_gaussians.EXPERIMENT
    passes(experiment, experiment.run(30, True), {"gaussians"}, {"curves"})


def test_a_squared_loss_without_its_half_is_seen(monkeypatch):
    right = World.curves
    monkeypatch.setattr(World, "curves", lambda self, c: (2 * right(self, c)[0], right(self, c)[1]))
    wrong = failed(gpo_gaussians.EXPERIMENT.run(2, True))
    assert "drawn, c = 1: squared loss" in wrong and "drawn, c = 1: KL" not in wrong


def test_both_curves_of_one_gaussian_by_hand():
    """N(c, 1) against N(0, 1): KL = c²/2; under μ = N(m, s²) log π_c/π = cx − c²/2 has the variance
    c² s²."""
    world = World(Humps((0.0, 0.0, 0.0)), Humps((2.0, 2.0, 2.0), 0.5))
    c = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    squared, kl = world.curves(c)
    torch.testing.assert_close(kl, c**2 / 2)
    torch.testing.assert_close(squared, c**2 / 4)
    estimate = world.estimated(2.0, 100_000, 0)
    assert estimate == pytest.approx((1.0, 2.0), rel=0.02)
    assert descend(world, [1.5], True).item() == pytest.approx(0.0, abs=1e-6)
    assert world.on_policy_ratio(0.7) == pytest.approx(4.0)


def test_the_curves_are_those_of_tabular_policies():
    world = gpo_gaussians.DRAWN
    c = torch.tensor([0.7], dtype=torch.float64)
    moved = World(Humps(tuple(m + 0.7 for m in world.reference.means)), world.data)
    pi, reference = moved.reference.on_grid(), world.reference.on_grid()
    squared, kl = world.curves(c)
    assert kl.item() == pytest.approx(pi.kl(reference).item(), abs=1e-9)
    expected = divergence_of_pairs(pi, reference, world.data.on_grid()).item()
    assert squared.item() == pytest.approx(expected, abs=1e-9)


def test_only_minima_away_from_the_reference_count():
    c = torch.linspace(-2, 2, 401, dtype=torch.float64)
    assert remote_minima(-torch.cos(2 * math.pi * c), c) == pytest.approx([-1.0, 1.0])
    assert remote_minima(c**2, c) == []


def test_betas_that_are_matched():
    passes(MATCHING, MATCHING.run(20, True), {"matching"}, {"errors", "kl"})


def test_a_beta_that_was_converted_wrongly_is_seen(monkeypatch):
    monkeypatch.setitem(gpo_beta_matching.FACTOR, "logistic", 1.0)
    wrong = failed(MATCHING.run(2, True))
    assert "logistic: its β / the square's" in wrong
    assert "logistic: KL / that of the square, matched β" in wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    [LOSS_SHAPES, gpo_bayes.EXPERIMENT, gpo_gaussians.EXPERIMENT, MATCHING, gpo_bandit.EXPERIMENT],
    ids=lambda experiment: experiment.name,
)
def test_every_check_holds_in_the_full_run_and_the_page_shows_its_numbers(experiment):
    result = experiment.run(experiment.seeds, False)
    assert failed(result) == []
    page = Path(__file__).parents[2].joinpath("docs/lab_gpo.md").read_text(encoding="utf-8")
    assert experiment.name in page
    for row in result.tables.get("bandit", ()):
        assert f" {row['a']:.3f} " in page
    for row in result.tables.get("errors", ()):
        assert f"| {row['error']:.4f} ± {(row['error_high'] - row['error_low']) / 2:.4f} |" in page
