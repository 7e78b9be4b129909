"""Every solver comes to the equilibrium at its price; DPO does not."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch

from luce.errors import LuceError
from luce.intervals import mean_interval
from luce.models.tabular import KlBandit, TabularPolicy, fit_pairs, kl_control_gradient, rotation
from luce.objectives import presets
from luce.online.nash import (
    Game,
    Method,
    descent,
    fixed_point,
    game_of,
    inpo,
    ipo_md,
    iterated_dpo,
    multiplicative_weights,
    nash_md,
    nash_md_gradient,
    online_ipo,
    regularized_sppo,
    rock_paper_scissors,
    self_play,
    solve,
    sppo,
)

Solver = Callable[[Game], Iterator[TabularPolicy]]
CLOSED: dict[str, Solver] = {
    "damped fixed point": lambda game: fixed_point(game, game.damping),
    "Nash-MD": lambda game: nash_md(game, game.damping),
}
LEARNT: dict[str, Solver] = {
    "Nash-MD, gradient": nash_md_gradient,
    "self-play, gradient": lambda game: nash_md_gradient(game, mixture=0.0),
    "online IPO": lambda game: self_play(game, online_ipo(game)),
    "IPO-MD": lambda game: self_play(game, ipo_md(game)),
    "INPO": lambda game: self_play(game, inpo(game)),
    "regularized SPPO": lambda game: self_play(game, regularized_sppo(game)),
}
EVERY = CLOSED | LEARNT
SCOPE = ((0.5, 0.9, 0.2), (0.1, 0.5, 0.8), (0.8, 0.2, 0.5))


def steps(game: Game) -> int:
    """Enough for 1e-6: each leaves (1 − damping)^½ of the way, or what rates make of it."""
    return 10 + int(29 / game.damping)


PRICED = [
    pytest.param(name, eta, marks=[pytest.mark.slow] if name in LEARNT and eta < 0.1 else [])
    for name in EVERY
    for eta in (0.2, 0.05, 0.01)
]


@pytest.mark.parametrize(("name", "eta"), PRICED)
def test_every_solver_comes_to_the_equilibrium(name: str, eta: float) -> None:
    game = rock_paper_scissors(eta)
    found = solve(game, EVERY[name](game), steps(game))
    assert found.distance < 1e-6 and found.gap[-1] < 1e-11 and found.divergence[-1] < 1e-10


@pytest.mark.parametrize("name", [name for name in EVERY if name != "regularized SPPO"])
def test_an_uneven_reference(name: str) -> None:
    plain = game_of(SCOPE, 0.1)
    reference = plain.reference.outcomes.weights([0.6, 0.3, 0.1])
    game = Game(plain.preference, reference, 0.1)
    found = solve(game, EVERY[name](game), 2 * steps(game))
    expected = torch.tensor([0.492747, 0.154147, 0.353106]).double()
    torch.testing.assert_close(found.policy.probability, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("eta", [1.0, 0.2, 0.05, 0.02, 0.01])
def test_undamped_answers_cycle_where_the_rotation_is_over_one(eta: float) -> None:
    game = rock_paper_scissors(eta)
    found = solve(game, fixed_point(game), 400)
    if rotation(game.equilibrium, game.preference, eta) < 1:
        assert found.distance < 1e-9 and eta >= 0.2
    else:
        assert found.swing(20) > 0.99 and eta <= 0.05


def test_the_best_damping_is_the_one_that_is_named() -> None:
    game = rock_paper_scissors(0.05)

    def left(damping: float) -> float:
        return solve(game, fixed_point(game, damping), 150).distance

    best = left(game.damping)
    assert best < left(1.4 * game.damping) and best < left(0.7 * game.damping)
    assert left(2.1 * game.damping) > 0.09 > left(1.9 * game.damping) > best  # stable under 2


def test_nash_md_by_its_published_schedule_keeps_its_bound() -> None:
    """KL(π* ‖ π_T) ≤ 8/(η² (T + 1)) (Munos et al., 2023, theorem 1)."""
    for eta in (0.5, 0.2, 0.05):
        found = solve(rock_paper_scissors(eta), nash_md(rock_paper_scissors(eta)), 500)
        t = torch.arange(1, 501)
        assert bool((found.divergence[1:] <= 8 / (eta**2 * (t + 1))).all())
        assert 1e-9 < found.distance < 0.02  # it goes there, and slowly


def test_the_published_schedule_by_hand() -> None:
    """κ₀ = 1: the best answer to π_ref. κ₁ = 2/3: ρ ∝ π₁^{1/3} for a uniform π_ref."""
    eta = 0.3
    game = rock_paper_scissors(eta)
    p = game.preference
    first = (p.mean(1) / eta).softmax(0)
    rho = first ** (1 / 3) / (first ** (1 / 3)).sum()
    second = (rho.log() + 2 / 3 * p @ rho / eta).softmax(0)
    found = solve(game, nash_md(game), 2).probabilities
    torch.testing.assert_close(found[1:], torch.stack([first, second]))


def test_what_answers_a_mixture_is_no_equilibrium_but_the_mixture_is() -> None:
    """π_{t+1} ∝ ρ exp(κ P ρ/η′) ends at π = π_ref exp(P ρ/η′) ≠ ρ."""
    eta, kappa = 0.2, 0.3
    game = rock_paper_scissors(eta)
    mixture = solve(game, nash_md(game, kappa), 200).policy
    inner = Game(game.preference, game.reference, (1 - kappa) * eta)
    answer = KlBandit(game.reference, game.preference @ mixture.probability, inner.eta).optimum()
    again = game.near(answer, kappa)
    torch.testing.assert_close(again.probability, mixture.probability)
    assert game.gap(mixture) < 1e-14 and inner.gap(answer) > 1e-3 and game.gap(answer) > 1e-3


def test_nash_md_with_a_fixed_share_is_the_damped_answer_seen_in_the_mixture() -> None:
    """ρ ∝ π^{1−κ} π_ref^κ of π ∝ ρ exp(κ P ρ/((1 − κ) η)) is ρ^{1−κ} π_ref^κ exp(κ P ρ/η)."""
    game = rock_paper_scissors(0.05)
    mirror, damped = solve(game, nash_md(game, 0.1), 50), solve(game, fixed_point(game, 0.1), 50)
    torch.testing.assert_close(mirror.log_probs, damped.log_probs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("eta", [0.2, 0.01])
def test_a_round_of_inpo_is_a_damped_answer(eta: float) -> None:
    """The minimum of luce's own cost, from another policy than the reference, is the closed form
    π_ref^κ π_t^{1−κ} exp(κ P π_t/η)."""
    game = rock_paper_scissors(eta)
    kappa = 0.25
    learnt = solve(game, self_play(game, inpo(game, kappa)), 4)
    closed = solve(game, fixed_point(game, kappa), 4)
    torch.testing.assert_close(learnt.log_probs, closed.log_probs, atol=1e-8, rtol=1e-8)


def test_the_optimum_of_ipo_on_its_own_duels_is_the_best_answer() -> None:
    """So online IPO has the equilibrium as its fixed point, and by whole optima it would cycle."""
    game = rock_paper_scissors(0.2)
    policy = game.reference.outcomes.weights([0.5, 0.3, 0.2])
    fitted = fit_pairs(
        presets.ipo(0.2), game.preference, policy.outcomes, game.reference, proposal=policy
    )
    answer = KlBandit(game.reference, game.preference @ policy.probability, 0.2).optimum()
    torch.testing.assert_close(fitted.probability, answer.probability, atol=1e-8, rtol=0)


def test_ipo_md_is_online_ipo_seen_in_the_mixture() -> None:
    """At τ = (1 − β) η the mixture moves as online IPO's policy does at τ = η: on tables the two
    are one method, with every share β and with the same sampled duels."""
    game = rock_paper_scissors(0.1)
    for duels in (None, 500):
        plain = solve(game, self_play(game, online_ipo(game, 0.02), duels, seed=3), 30)
        for mixture in (0.25, 0.75):
            method = ipo_md(game, mixture, 0.02)
            mixed = solve(game, self_play(game, method, duels, seed=3), 30)
            torch.testing.assert_close(mixed.log_probs, plain.log_probs, atol=1e-9, rtol=1e-9)


def test_the_gradient_of_nash_md_is_that_of_its_value() -> None:
    """A step from the reference: rate × ∇ of E_π[P(y ≻ ρ)] − τ KL(π ‖ π_ref), in closed form."""
    plain = rock_paper_scissors(0.2)
    game = Game(plain.preference, plain.reference.outcomes.weights([0.5, 0.3, 0.2]), 0.2)
    second = solve(game, nash_md_gradient(game, mixture=0.0, rate=0.7), 2).log_probs
    for before, after in zip(second[:-1], second[1:], strict=True):
        policy = TabularPolicy(game.reference.outcomes, before)
        bandit = KlBandit(game.reference, game.preference @ policy.probability, 0.2)
        moved = policy.outcomes.normalize(before + 0.7 * kl_control_gradient(policy, bandit))
        torch.testing.assert_close(moved.log_prob, after)


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("eta", [0.5, 0.2])
def test_dpo_on_its_own_duels_cycles_or_collapses(moving: bool, eta: float) -> None:
    game = rock_paper_scissors(eta)
    found = solve(game, self_play(game, iterated_dpo(game, moving)), 45)
    first = found.probabilities[1]
    if eta == 0.2:
        expected = torch.tensor([0.7915, 0.1042, 0.1042]).double()
        torch.testing.assert_close(first, expected, atol=5e-5, rtol=0)
    assert found.gap[2:].min() > 0.1 and found.swing(20) > 0.8
    crowded = (found.probabilities[-20:].amax(1) > 0.99).double().mean()
    if moving:  # onto one response, and for ever longer
        assert crowded > 0.5
    elif eta == 0.2:  # three rounds on, the same again
        again = found.probabilities[-3:] - found.probabilities[-6:-3]
        assert again.abs().max() < 1e-6


def test_where_dpo_settles_it_settles_elsewhere() -> None:
    """At η = 1 it does not cycle; what it comes to is no equilibrium."""
    game = rock_paper_scissors(1.0)
    found = solve(game, self_play(game, iterated_dpo(game)), 60)
    assert found.swing(10) < 1e-6 and found.gap[-1] > 0.01 and found.distance > 0.05


def test_sppo_plays_the_game_without_a_price() -> None:
    """Its last policy turns further and further out; the mean of its policies comes near the
    equilibrium, within the regret of multiplicative weights, 2 (log n/(step · T) + step/8)."""
    game = rock_paper_scissors(0.0)
    step, rounds = 1.0, 150
    ideal = solve(game, multiplicative_weights(game, step), rounds)
    learnt = solve(game, self_play(game, sppo(step)), rounds)
    for found in (ideal, learnt):
        averages = found.averages()
        assert found.gap[-50:].max() > 3 * found.gap[0]
        assert averages.gap[-1] < 0.06
        assert averages.gap[-1] <= 2 * (math.log(3) / (step * rounds) + step / 8)
    near = solve(game, self_play(game, sppo(0.02)), 50)
    wanted = solve(game, multiplicative_weights(game, 0.02), 50)
    torch.testing.assert_close(near.probabilities, wanted.probabilities, atol=1e-4, rtol=0)
    assert (near.probabilities[-1] - near.probabilities[0]).abs().max() > 0.02


DUELS = 4000
SAMPLED: dict[str, Callable[[Game, float, int], Iterator[TabularPolicy]]] = {
    "INPO": lambda game, d, seed: self_play(game, inpo(game, d), DUELS, seed),
    "regularized SPPO": lambda game, d, seed: self_play(
        game, regularized_sppo(game, d), DUELS, seed
    ),
    "online IPO": lambda game, d, seed: self_play(game, online_ipo(game, 0.6 * d), DUELS, seed),
    "IPO-MD": lambda game, d, seed: self_play(game, ipo_md(game, 0.5, 0.6 * d), DUELS, seed),
    "Nash-MD, gradient": lambda game, d, seed: nash_md_gradient(
        game, 0.125, 2.5 * d / game.eta, DUELS, seed
    ),
}


def check_sampled(name: str, eta: float, damping: float, rounds: int, seeds: int) -> None:
    """Means over the second half of the rounds; the 95 % interval of all three actions together."""
    game = rock_paper_scissors(eta)
    ends = torch.stack(
        [
            solve(game, SAMPLED[name](game, damping, seed), rounds).average(rounds // 2).probability
            for seed in range(seeds)
        ]
    )
    for wanted, values in zip(game.equilibrium.probability.tolist(), ends.T, strict=True):
        _, low, high = mean_interval(values.tolist(), z=2.394)
        assert low < wanted < high and high - low < 0.015


@pytest.mark.parametrize("name", [name for name in SAMPLED if name != "regularized SPPO"])
def test_from_drawn_duels_the_equilibrium_lies_in_the_interval(name: str) -> None:
    """It is narrow enough to leave out what the reference and offline IPO make of the game, which
    are .05 and more away."""
    check_sampled(name, 0.2, 0.5, 24, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_from_drawn_duels_with_more_seeds(name: str) -> None:
    check_sampled(name, 0.2, 0.3, 60, 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["online IPO", "IPO-MD", "Nash-MD, gradient"])
def test_from_drawn_duels_at_a_smaller_price(name: str) -> None:
    check_sampled(name, 0.05, 0.06, 500, 12)


def test_drawn_duels_are_those_of_their_seed() -> None:
    game = rock_paper_scissors(0.2)

    def run(seed: int) -> torch.Tensor:
        return solve(game, self_play(game, inpo(game, 0.3), 100, seed), 5).log_probs

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


def test_shares_of_duels_are_counted_and_expected() -> None:
    game = rock_paper_scissors(0.2)
    ours, theirs = (game.reference.outcomes.weights(w) for w in ([0.5, 0.5, 0.0], [0.2, 0.3, 0.5]))
    won, lost = game.duels(ours, theirs)
    assert won[0, 1].item() == pytest.approx(0.5 * 0.3 * 0.9)
    assert lost[1, 2].item() == pytest.approx(0.5 * 0.5 * 0.2)
    assert (won + lost).sum().item() == pytest.approx(1.0)
    drawn = game.duels(ours, theirs, 100_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.stack(drawn), torch.stack([won, lost]), atol=0.005, rtol=0)


def test_dpo_on_one_sided_duels_has_no_optimum_and_says_so() -> None:
    game = game_of(((0.5, 1.0), (0.0, 0.5)), 0.2)
    with pytest.raises(LuceError, match="no smallest value"):
        solve(game, self_play(game, iterated_dpo(game)), 1)
    method = iterated_dpo(game, learner=descent(0.1, 3))
    assert solve(game, self_play(game, method), 1).policy.probability[0] > 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: next(fixed_point(g, 0.0)), "damping: 0 must lie"),
        (lambda g: next(nash_md(g, 1.0)), "step: 1 must lie"),
        (lambda g: next(nash_md_gradient(g, 1.0)), "mixture: 1 must lie"),
        (lambda g: ipo_md(g, 1.0), "mixture: 1 must lie"),
        (lambda g: sppo(0.0), "step: 0 must be greater"),
        (lambda g: next(multiplicative_weights(g, -1.0)), "step: -1 must be greater"),
        (lambda g: inpo(rock_paper_scissors(0.0)), "eta: 0. This solver"),
        (lambda g: rock_paper_scissors(-1.0), "eta: -1 must be at least 0"),
        (lambda g: Game(g.preference[:2, :2], g.reference, 0.1), "3 outcomes, but the pref"),
        (lambda g: solve(g, fixed_point(g), 0), "steps: 0 must be"),
        (
            lambda g: next(self_play(g, Method(presets.kto(), descent(0.1)))),
            "kto: self-play learns from pairs",
        ),
    ],
)
def test_what_is_no_game_is_refused(call: Callable[[Game], object], message: str) -> None:
    with pytest.raises(LuceError, match=message):
        call(rock_paper_scissors(0.2))
