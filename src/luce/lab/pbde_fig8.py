"""The geometric score after a Luce annotator: a geometric mean of π_pre and what he likes."""

from luce.lab.experiment import Check, Experiment, near
from luce.lab.pbde_density import Foretold, over, peak_in, theory_is
from luce.lab.pbde_frame import Ended, Frame
from luce.lab.pbde_networks import Arm
from luce.lab.pbde_world import World
from luce.models.tabular import policy_with_scores
from luce.objectives import OBJECTIVES
from luce.objectives.scores import geometric

BOUNDS = {1.0: (0.05, 0.06), 1 / 4: (0.015, 0.035), 1 / 16: (0.022, 0.045)}
"""α → total variation from theory at most: as published, and in a quick run."""
TO_TARGET = {1.0: 0.0, 1 / 4: 0.313, 1 / 16: 0.482}
"""α → total variation of theory itself from p*, as an independent program found it."""


def arms(space: World) -> list[Foretold]:
    """One for each α, with π_pre^(1−α) p*^α."""
    pre, likes = space.pretrained.log_prob, space.target.log_prob
    return [
        Foretold(
            Arm(f"α = {alpha:g}", OBJECTIVES["pbde_geometric"](alpha=alpha), space.one_person),
            space.space.normalize((1 - alpha) * pre + alpha * likes),
            "π_pre^(1−α) p*^α/Z",
            *bounds,
        )
        for alpha, bounds in BOUNDS.items()
    ]


def checks(ended: Ended, fine: World, quick: bool) -> list[Check]:
    """Closed forms, and how high the densities are."""
    found: list[Check] = []
    for (alpha, tv), one in zip(TO_TARGET.items(), arms(fine), strict=True):
        score = geometric(alpha)
        optimum = policy_with_scores(fine.target.log_prob, score, fine.space, fine.pretrained)
        found += [
            theory_is(
                f"{one.arm.label}: TV(optimum of the score, theory)", optimum, one.theory, 0.0
            ),
            theory_is(f"{one.arm.label}: TV(theory, p*)", one.theory, fine.target, tv),
        ]
    found.append(
        near(
            "α = 1/4: highest density left of 0",
            over(ended[1], lambda p: peak_in(p, left=True)),
            0.205,
            0.02,
        )
    )
    return found


def words(ended: Ended, space: World) -> str:
    """The verdict."""
    full = over(ended[0], space.target.total_variation).value
    little = over(ended[2], space.pretrained.total_variation).value
    return (
        f"Holds. α goes from p* (α = 1: total variation {full:.3f} from it) to π_pre (α = 1/16: "
        f"{little:.2f} from π_pre). For small α it is nearly DPO with β = 1/α: only the exponent "
        "of π_pre is 1 − α there in place of 1."
    )


FRAME = Frame(arms, checks, words)
EXPERIMENT = Experiment(
    name="pbde-fig8",
    claim="With f = 1/α and g = (1 − 1/α) log π_pre the optimum is π ∝ π_pre^(1−α) p*^α.",
    source="Dumoulin et al., arXiv:2311.14115, eq. 18, figure 8",
    run=FRAME.run,
    seeds=3,
    quick_seeds=3,
    verdict="holds",
    stops="For small α it is nearly DPO with β = 1/α, and as far from p*.",
    cpu_s=(103, 8),
)
