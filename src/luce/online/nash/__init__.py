"""Preferences as a game: solvers for its equilibrium, exact and from sampled duels.

A solver is an endless iterator of policies; `solve` takes so many steps of it and measures each
against the equilibrium.
"""

from luce.online.nash.dynamics import fixed_point, multiplicative_weights, nash_md
from luce.online.nash.figure import draw
from luce.online.nash.game import (
    CONDORCET,
    ROCK_PAPER_SCISSORS,
    Game,
    condorcet,
    game_of,
    rock_paper_scissors,
)
from luce.online.nash.gradient import nash_md_gradient
from luce.online.nash.self_play import (
    Learner,
    Method,
    descent,
    inpo,
    ipo_md,
    iterated_dpo,
    newton,
    online_ipo,
    optimum,
    regularized_sppo,
    self_play,
    sppo,
)
from luce.online.nash.trajectory import Trajectory, measured, solve

__all__ = [
    "CONDORCET",
    "ROCK_PAPER_SCISSORS",
    "Game",
    "Learner",
    "Method",
    "Trajectory",
    "condorcet",
    "descent",
    "draw",
    "fixed_point",
    "game_of",
    "inpo",
    "ipo_md",
    "iterated_dpo",
    "measured",
    "multiplicative_weights",
    "nash_md",
    "nash_md_gradient",
    "newton",
    "online_ipo",
    "optimum",
    "regularized_sppo",
    "rock_paper_scissors",
    "self_play",
    "solve",
    "sppo",
]
