"""Solvers whose step is known in closed form: a policy answers an opponent it can see whole.

Each is an endless iterator of policies that begins with the reference; `solve` measures it. All of
them take the step

    π_{t+1} ∝ ρ exp(κ P π′/η),   ρ ∝ π_t^{1−κ} π_ref^κ,

a step of mirror descent, and differ in the opponent π′ and in κ. κ = 1 is the best answer.
"""

from collections.abc import Iterator

from luce.errors import LuceError
from luce.models.tabular import KlBandit, TabularPolicy
from luce.online.nash.game import Game


def fixed_point(game: Game, damping: float = 1.0) -> Iterator[TabularPolicy]:
    """Answers to oneself: the opponent is π_t and κ the damping.

    Undamped (1) it is π_{t+1} ∝ π_ref exp(P π_t/η), the map whose fixed point is the equilibrium.
    It goes there where `rotation` λ < 1, and cycles where λ > 1, which is at small η. Damped, it
    goes there for κ < 2/(1 + λ²), soonest at `game.damping`: mirror descent with the reference as
    a magnet (Sokota et al., 2023, arXiv:2206.05825).
    """
    _check_share("damping", damping)
    eta, policy = game.priced(), game.reference
    while True:
        yield policy
        policy = _step(game.near(policy, damping), policy, game, damping / eta)


def nash_md(game: Game, step: float | None = None) -> Iterator[TabularPolicy]:
    """Nash mirror descent: the opponent is the mixture ρ itself (Munos et al., 2023,
    arXiv:2312.00886).

    Args:
        step: κ, the share of the reference in the mixture. None is the published schedule
            κ_t = 2/(t + 2), and the policies are π_t: KL(π* ‖ π_t) ≤ 8/(η² (t + 1)), theorem 1.

    A fixed κ has no such bound: π_t comes to a policy that is *not* the equilibrium, since it
    answers ρ and not itself. But ρ comes to the equilibrium at the price η′/(1 − κ), if η′ is the
    price in the step. So with a fixed κ the step is taken at η′ = (1 − κ) η and the policies are
    the mixtures ρ, which go to the equilibrium at η: they are those of the `fixed_point` damped
    by κ, to the last digit.
    """
    eta, policy, t = game.priced(), game.reference, 0
    if step is not None:
        _check_share("step", step, below=True)
    while True:
        share = 2 / (t + 2) if step is None else step
        mixture = game.near(policy, share)
        yield policy if step is None else mixture
        price = eta if step is None else (1 - step) * eta
        policy = _step(mixture, mixture, game, share / price)
        t += 1


def multiplicative_weights(game: Game, step: float) -> Iterator[TabularPolicy]:
    """π_{t+1} ∝ π_t exp(step · P π_t), which SPPO approximates (Wu et al., 2024, arXiv:2405.00675,
    section 4; step is its η).

    This is the game *without* a price, whatever `game.eta`: measure it on a game with η = 0. The
    average of the policies goes to an equilibrium, with a gap of the order of `step`; the last one
    need not. In a cycle it moves away from the equilibrium to the edge, where it circles.
    """
    if not step > 0:
        raise LuceError(f"step: {step:g} must be greater than 0.")
    policy = game.reference
    while True:
        yield policy
        policy = _step(policy, policy, game, step)


def _step(start: TabularPolicy, opponent: TabularPolicy, game: Game, size: float) -> TabularPolicy:
    return KlBandit(start, game.preference @ opponent.probability, 1 / size).optimum()


def _check_share(name: str, share: float, below: bool = False) -> None:
    if not (0 < share < 1 or (share == 1 and not below)):
        raise LuceError(f"{name}: {share:g} must lie in (0, 1{')' if below else ']'}.")
