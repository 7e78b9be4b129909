"""The diagnostics of runs against exact policies, closed forms and hand counts."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from luce.diagnostics import saturation as saturation_module
from luce.diagnostics.baselines import TokenPair
from luce.diagnostics.calibration import calibration
from luce.diagnostics.calibration_finding import calibration_finding
from luce.diagnostics.cards import DIAGNOSTICS
from luce.diagnostics.displacement import displacement
from luce.diagnostics.divergence import Divergence, squared_divergence
from luce.diagnostics.length_effects import length_effects, repeats
from luce.diagnostics.misspecification import tastes
from luce.diagnostics.overoptimization import Point, watched
from luce.diagnostics.samples import mean_repetition, repetition, survival_curve
from luce.diagnostics.saturation import saturation
from luce.intervals import Estimate
from luce.models.tabular import actions, divergence_of_pairs, survival
from luce.objectives.presets import OBJECTIVES
from luce.recipe.diagnose import DIAGNOSES
from luce.recipe.schema import Recipe


def policy(scores):
    return actions(len(scores)).normalize(torch.tensor(scores, dtype=torch.float64))


def test_every_diagnostic_has_a_card_and_a_key():
    default = Recipe.model_fields["diagnose"].default
    assert set(DIAGNOSTICS) == set(DIAGNOSES) == set(default)


class TestDivergence:
    start, later = policy([0.3, -0.2, 0.1, 0.0]), policy([0.5, -0.4, 0.15, 0.2])

    def pairs(self):
        rho = (self.later.log_prob - self.start.log_prob).tolist()
        n = len(rho)
        return [rho[i] for i in range(n) for _ in range(n)], [rho[j] for _ in range(n)
                                                             for j in range(n)]  # fmt: skip

    def test_the_squared_loss_is_that_of_gpo(self):
        uniform = policy([0.0] * 4)
        exact = divergence_of_pairs(self.later, self.start, uniform)
        assert squared_divergence(*self.pairs()).value == pytest.approx(float(exact), rel=1e-12)

    def test_near_the_start_kl_is_half_of_it_on_own_samples(self):
        start = policy([0.0] * 4)
        step = torch.tensor([1.0, -2.0, 0.5, 0.3], dtype=torch.float64)
        for size in (1e-1, 1e-2, 1e-3):
            near = policy((size * step).tolist())
            kl = float(near.kl(start))
            exact = float(divergence_of_pairs(near, start, start))
            assert kl / (exact / 2) == pytest.approx(1, abs=2 * size)

    def test_far_and_blind(self):
        def found(kl, per_token, squared):
            here = Estimate(kl, 0.9 * kl, 1.1 * kl, 50)
            there = Estimate(squared, 0.9 * squared, 1.1 * squared, 50)
            return Divergence(here, per_token, there).finding

        assert not found(2.0, 0.2, 4.0).alarm
        assert "far from its start" in found(40.0, 1.5, 80.0).words
        assert "do not look" in found(20.0, 0.2, 1.0).words
        assert not found(0.5, 0.05, 0.01).alarm  # both are small


class TestDisplacement:
    def test_mass_that_leaves_both_of_an_exact_policy(self):
        """Three actions; a preferred to b; the third takes what both lose."""
        before, after = policy([1.0, 1.0, 0.0]), policy([0.5, -1.0, 2.0])
        a, b = ([float(p.log_prob[i]) for p in (before, after)] for i in (0, 1))
        found = displacement(([a[0]], [b[0]]), ([a[1]], [b[1]]), ([1], [1]))
        assert found is not None
        left = math.log(float(after.probability[:2].sum()) / float(before.probability[:2].sum()))
        assert found.mass.value == pytest.approx(left, rel=1e-12)
        assert found.both_fell.value == 1 and found.from_chosen.value < 0

    def test_the_preferred_one_may_be_the_rejected(self):
        given = (([-2.0, -3.0], [-2.0, -3.0]), ([-1.0, -3.5], [-4.0, -2.5]), ([1, 2], [2, 1]))
        straight = displacement(*given)
        before, after, tokens = ((b, a) for a, b in given)
        turned = displacement(before, after, tokens, [0.0, 0.0])
        assert straight is not None and turned is not None
        for name in ("chosen", "rejected", "chosen_per_token", "mass", "both_fell"):
            assert getattr(straight, name).value == getattr(turned, name).value
        assert displacement(*given, [0.5, 0.5]) is None

    @pytest.mark.parametrize(("fall", "alarm"), [(0.2, False), (0.8, True)])
    def test_an_alarm_counts_tokens(self, fall, alarm):
        n, t = 40, 10
        before = ([-50.0] * n, [-50.0] * n)
        after = ([-50.0 - fall * t] * n, [-50.0 - 2 * fall * t] * n)
        found = displacement(before, after, ([t] * n, [t] * n))
        assert found is not None and found.finding.alarm is alarm


class TestLength:
    def test_slope_and_matched_accuracy_by_hand(self):
        found = length_effects(
            [2.0, -1.0, 0.5, -0.5], [1.0, -1.0, 0.0, 0.0], [5, 2, 4, 4], [3, 3, 4, 4]
        )
        assert found.slope.value == pytest.approx((2 * 2 + 1) / (4 + 1))
        assert found.n_matched == 2 and found.matched.value == 0.5
        assert found.accuracy.value == 0.5 and found.rule.value == 0.5

    def test_a_model_of_length_alone_is_found_out_and_a_better_one_is_not(self):
        draw = np.random.default_rng(0)
        n = 400
        chosen, rejected = draw.integers(5, 40, n), draw.integers(5, 40, n)
        rejected[:80] = chosen[:80]
        apart = (chosen - rejected).astype(float)
        liked = np.where(np.abs(apart) < 2, draw.random(n) < 0.5, apart > 0)
        labels = liked.astype(float)
        by_length = (apart + 0.01 * draw.normal(size=n)).tolist()
        lengths = chosen.tolist(), rejected.tolist(), labels.tolist()
        assert length_effects(by_length, apart.tolist(), *lengths).finding.alarm
        knows = np.where(liked, 1.0, -1.0).tolist()
        assert not length_effects(knows, apart.tolist(), *lengths).finding.alarm

    def test_survival_of_a_chain(self):
        ends = torch.tensor([0.5, 0.5, 0.5], dtype=torch.float64)
        found = survival_curve([1] * 4 + [2] * 2 + [3] * 2, [True] * 7 + [False])
        exact = [1.0, *survival(ends).tolist()]
        assert found.tokens == (0, 1, 2, 3)
        assert found.shares == pytest.approx(exact)
        assert found.unended.value == 1 / 8

    def test_repetition(self):
        assert repetition([1, 2, 3]) is None
        assert repetition([7] * 8) == pytest.approx(1 - 1 / 5)
        assert mean_repetition([None]) is None
        circles = mean_repetition([0.9] * 10)
        said = repeats(mean_repetition([0.0] * 10), circles)
        assert said is not None and said.alarm
        calm = repeats(circles, circles)
        assert calm is not None and not calm.alarm


class TestCalibration:
    draw = np.random.default_rng(1)
    z = draw.normal(size=600) * 2
    labels = (draw.random(600) < 1 / (1 + np.exp(-z))).astype(float).tolist()

    @pytest.mark.parametrize(("times", "alarm"), [(1.0, False), (0.3, False), (5.0, True)])
    def test_only_too_sure_is_an_alarm(self, times, alarm):
        fit = calibration((times * self.z).tolist(), self.labels)
        assert calibration_finding(fit).alarm is alarm

    def test_worse_than_a_coin(self):
        fit = calibration((-self.z).tolist(), self.labels)
        assert "than under a coin" in calibration_finding(fit).words


def test_gold_that_falls_while_the_margin_rises():
    gold = [0.0, 0.2, 0.3, 0.15, 0.0]
    points = [Point(float(i), 0.5 * i, g, 0.02) for i, g in enumerate(gold)]
    found = watched(points, [0, 10, 20, 30, 40])
    assert found.alarm and "step 20" in found.words and "step 20" in str(found.remedy)
    assert not watched(points[:3], [0, 10, 20]).alarm


class TestSaturation:
    def test_effective_pairs_and_beta_by_hand(self):
        beta = 0.2
        z = np.array([0.0, 0.0, 12.0, 12.0])
        pulls = beta / (1 + np.exp(z))
        found = saturation([beta / 2] * 4, pulls.tolist(), slope_at_zero=0.5)
        assert found is not None
        assert found.beta_before == pytest.approx(beta)
        assert found.beta == pytest.approx(2 * pulls.mean())
        assert found.effective.value == pytest.approx(0.5, abs=1e-4)
        assert found.out.value == 0.5

    def test_nothing_pulled(self):
        assert saturation([0.0], [0.0]) is None

    def test_the_alarm(self):
        done = saturation([0.1] * 50, [1e-5] * 50)
        assert done is not None and done.finding.alarm
        fine = saturation([0.1] * 50, [0.03] * 50)
        assert fine is not None and not fine.finding.alarm


class TestTastes:
    def world(self, second, n=2000):
        """Pairs of random words; who judges goes by two of them and by length."""
        draw = np.random.default_rng(3)
        pairs = []
        for _ in range(n):
            sides = [draw.integers(0, 30, draw.integers(3, 14)) for _ in range(2)]
            who = 1.0 if draw.random() < 0.5 else second
            worth = (
                [0.0, 0.0]
                if who is None
                else [3.0 * (s < 3).sum() + who * 1.0 * len(s) for s in sides]
            )
            if draw.random() > 1 / (1 + math.exp(worth[1] - worth[0])):
                sides = sides[::-1]
            pairs.append(TokenPair(sides[0].astype(np.int32), sides[1].astype(np.int32)))
        return pairs

    @pytest.mark.slow
    def test_two_tastes_that_differ_are_told_from_one(self):
        two = tastes(self.world(-1.0))
        assert two is not None and two.finding.alarm and 0.3 < two.share <= 0.5
        assert max(two.longer) > 0.7 and min(two.longer) < 0.3
        one = tastes(self.world(1.0))
        assert one is not None and not one.finding.alarm

    def test_noise_is_no_second_taste(self):
        noisy = tastes(self.world(None))
        assert noisy is not None and not noisy.finding.alarm

    def test_few_pairs_or_one_prompt_are_not_looked_at(self):
        pairs = self.world(-1.0, 320)
        assert tastes(pairs[:100]) is None
        assert tastes(pairs, ["the same"] * 320) is None


def test_what_remedies_name_is_there():
    """Objectives, commands and recipe keys, in backquotes."""
    texts = [path.read_text() for path in Path(saturation_module.__file__).parent.glob("*.py")]
    named = {word for text in texts for word in re.findall(r"`([a-z_0-9]+)`", text)}
    assert {"dpo_nll", "dpop", "rdpo", "ipo", "mixture"} <= named
    assert {"dpo_nll", "dpop", "rdpo", "ipo", "mixture"} <= set(OBJECTIVES)
    for text in texts:
        for bare in re.findall(r"\((?:as )?([a-z]+_?dpo|[a-z]?ipo|rpo)\b", text):
            assert bare in OBJECTIVES, bare
