"""Where a reward chooses other than the majority, and what is drawn of it all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from luce.errors import LuceError
from luce.models.tabular import nash_equilibrium, score_optimum, worst_case_win_rate
from luce.objectives import presets
from luce.online.nash import (
    Game,
    condorcet,
    draw,
    fixed_point,
    game_of,
    measured,
    multiplicative_weights,
    rock_paper_scissors,
    solve,
)
from luce.online.nash.figure import place


def test_a_reward_passes_over_the_condorcet_winner() -> None:
    """The first response beats both others, .51 each; the second has the best mean, .66. So on
    uniform pairs Bradley-Terry and IPO take the second, and lose to the first."""
    game = condorcet(0.01)
    assert bool((game.preference[0, 1:] > 0.5).all())
    assert game.preference.mean(1).argmax() == 1
    for objective in (presets.dpo(0.01), presets.ipo(0.01)):
        offline = score_optimum(
            game.preference, objective.score, objective.loss, game.reference.outcomes,
            game.reference,
        )  # fmt: skip
        assert offline.probability[1] > 0.999
        assert worst_case_win_rate(offline, game.preference) == pytest.approx(0.49, abs=1e-3)
        assert game.gap(offline) > 0.02
    expected = torch.tensor([1.0, 0.0, 0.0]).double()
    torch.testing.assert_close(
        nash_equilibrium(game.preference).probability, expected, atol=1e-9, rtol=0
    )
    assert game.equilibrium.probability[0] > 0.7
    assert condorcet(0.001).equilibrium.probability[0] > 0.999


def test_a_trajectory_measures_each_policy_by_itself() -> None:
    game = rock_paper_scissors(0.2)
    found = solve(game, fixed_point(game, 0.5), 6)
    assert len(found) == 7 and torch.equal(found.log_probs[0], game.reference.log_prob)
    for log_prob, gap, divergence in zip(found.log_probs, found.gap, found.divergence, strict=True):
        policy = type(found.policy)(game.reference.outcomes, log_prob)
        assert game.gap(policy) == pytest.approx(gap.item(), abs=1e-15)
        assert game.equilibrium.kl(policy).item() == pytest.approx(divergence.item(), abs=1e-15)
    mean = found.probabilities[-3:].mean(0)
    torch.testing.assert_close(found.average(3).probability, mean)
    torch.testing.assert_close(found.averages().probabilities[2], found.probabilities[:3].mean(0))
    torch.testing.assert_close(found.average().probability, found.averages().probabilities[-1])
    tail = found.probabilities[-2:]
    assert found.swing(2) == pytest.approx((tail[0] - tail[1]).abs().max().item())
    assert found.distance == (tail[1] - game.equilibrium.probability).abs().max().item()


def test_a_policy_that_lost_an_action_is_infinitely_far() -> None:
    game = rock_paper_scissors(0.2)
    one = game.reference.outcomes.weights([1.0, 0.0, 0.0])
    found = measured(game, one.log_prob.unsqueeze(0))
    assert found.divergence[0] == float("inf") and found.gap[0].isfinite()


def test_a_figure_shows_ways_and_gaps_and_saves_nothing() -> None:
    game = rock_paper_scissors(0.05)
    ways = {
        "cycles": solve(game, fixed_point(game), 20),
        "damped": solve(game, fixed_point(game, 0.08), 20),
    }
    figure = draw(ways, ("rock", "scissors", "paper"))
    simplex, gaps = figure.axes
    assert [line.get_label() for line in gaps.lines] == ["cycles", "damped"]
    torch.testing.assert_close(
        torch.from_numpy(np.asarray(gaps.lines[0].get_ydata())), ways["cycles"].gap
    )
    assert {t.get_text() for t in simplex.texts} == {"rock", "scissors", "paper"}
    start = torch.from_numpy(np.asarray(simplex.lines[1].get_xydata()))[0]
    torch.testing.assert_close(start, torch.tensor([0.5, 0.75**0.5 / 3]).double())
    figure.canvas.draw()
    assert place(torch.eye(3).double())[2].tolist() == [0.5, 0.75**0.5]


def test_the_code_of_the_page_runs() -> None:
    page = (Path(__file__).parents[3] / "docs/games.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.split("```py\n")[1].split("```")[0], names)
    assert names["found"].distance < 1e-6 and names["sampled"].distance < 0.1
    assert len(names["figure"].axes) == 2


def test_a_figure_of_two_or_four_responses_has_gaps_only() -> None:
    two = game_of(((0.5, 0.6), (0.4, 0.5)), 0.1)
    found = solve(two, fixed_point(two), 5)
    assert len(draw({"it": found}).axes) == 1
    with pytest.raises(LuceError, match="none to draw"):
        draw({})
    free = Game(two.preference, two.reference, 0.0)
    other = solve(free, multiplicative_weights(free, 0.1), 5)
    with pytest.raises(LuceError, match="different games"):
        draw({"a": found, "b": other})
