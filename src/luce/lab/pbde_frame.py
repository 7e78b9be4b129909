"""The frame of the figures on the line: networks are trained, and theory is laid over them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from luce.lab.experiment import Check, Result
from luce.lab.pbde_density import Foretold, densities, distances, rows
from luce.lab.pbde_networks import Learnt, learn, setting
from luce.lab.pbde_world import FINE, World, world
from luce.report.plots import library_style

Ended = Sequence[Sequence[Learnt]]
"""What was learnt: arm by arm, seed by seed."""


@dataclass(frozen=True)
class Frame:
    """A figure of densities that are learnt and foretold.

    Attributes:
        arms: what is learnt in a world, and the density that each has to end at.
        checks: what more has to hold, beside the distances from theory: of the arms, of what they
            ended at, of a fine world for closed forms; whether the run is quick.
        words: the verdict, of what was learnt in a world.
        columns: of the figure.
    """

    arms: Callable[[World], list[Foretold]]
    checks: Callable[[Ended, World, bool], Sequence[Check]]
    words: Callable[[Ended, World], str]
    columns: int = 3

    def run(self, seeds: int, quick: bool) -> Result:
        """`seeds` networks for each arm."""
        size = setting(quick)
        space = world(size.points)
        foretold = self.arms(space)
        ended = learn([one.arm for one in foretold], space, size, seeds)
        return self.result(foretold, ended, space, quick)

    def result(
        self, foretold: Sequence[Foretold], ended: Ended, space: World, quick: bool
    ) -> Result:
        """Checks, figure and verdict."""
        checks = (*distances(foretold, ended, quick), *self.checks(ended, world(FINE), quick))
        with library_style():
            figures = {"densities": densities(foretold, ended, space, columns=self.columns)}
        tables = {"densities": rows(foretold, ended, space)}
        return Result(checks, figures, tables, self.words(ended, space))
