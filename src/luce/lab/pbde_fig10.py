"""IPO after a Luce annotator: π_pre tilted by how often a response is preferred."""

from luce.lab.experiment import Check, Experiment, exactly, near
from luce.lab.pbde_density import Foretold, over, peak_in, theory_is
from luce.lab.pbde_frame import Ended, Frame
from luce.lab.pbde_networks import Arm
from luce.lab.pbde_world import World
from luce.models.tabular import score_optimum
from luce.objectives import LOSSES, OBJECTIVES
from luce.objectives.scores import log_ratio

BOUNDS = {0.1: (0.045, 0.07), 0.5: (0.01, 0.05), 1.0: (0.01, 0.045)}
"""τ → total variation from theory at most: as published, and in a quick run."""
REFERENCE = {0.1: (0.052, 0.5207), 0.5: (0.424, 0.1478), 1.0: (0.514, 0.1085)}
"""τ → total variation of theory itself from p*, and its highest density left of 0, as an
independent program found them."""


def arms(space: World) -> list[Foretold]:
    """One for each τ, with π_pre exp(P(x ≻ π_pre)/τ)."""
    wins = space.one_person @ space.pretrained.probability
    return [
        Foretold(
            Arm(f"τ = {tau:g}", OBJECTIVES["ipo"](tau=tau), space.one_person),
            space.space.normalize(space.pretrained.log_prob + wins / tau),
            "π_pre exp(P(win)/τ)/Z",
            *bounds,
        )
        for tau, bounds in BOUNDS.items()
    ]


def checks(ended: Ended, fine: World, quick: bool) -> list[Check]:
    """Closed forms, and how high the densities are."""
    found: list[Check] = []
    for (tau, (tv, peak)), one, runs in zip(REFERENCE.items(), arms(fine), ended, strict=True):
        optimum = score_optimum(
            fine.one_person,
            log_ratio(2 * tau),
            LOSSES["square"],
            fine.space,
            fine.pretrained,
            fine.pretrained,
        )
        label = one.arm.label
        found += [
            theory_is(f"{label}: TV(optimum of the square, theory)", optimum, one.theory, 0.0),
            theory_is(f"{label}: TV(theory, p*)", one.theory, fine.target, tv),
            near(
                f"{label}: theory's highest density left of 0",
                exactly(peak_in(one.theory, left=True)),
                peak,
                0.003,
            ),
            near(
                f"{label}: highest density left of 0, learnt",
                over(runs, lambda p: peak_in(p, left=True)),
                peak_in(one.theory, left=True),
                0.1 if tau < 0.5 else 0.035 if quick else 0.02,
            ),
        ]
    return found


def words(ended: Ended, space: World) -> str:
    """The verdict."""
    far = over(ended[2], space.target.total_variation).value
    return (
        "Holds: smaller τ follows the annotator further. Which density that is the paper does not "
        "say; it has a closed form, π ∝ π_pre exp(P(x ≻ π_pre)/τ), and the runs end there. The "
        "tilt is at most e^(1/τ), so that no τ recovers p* and at τ = 1 the policy stays near "
        f"π_pre ({far:.2f} in total variation from p*)."
    )


FRAME = Frame(arms, checks, words)
EXPERIMENT = Experiment(
    name="pbde-fig10",
    claim="IPO pulls the policy towards what is preferred, the further the smaller τ is.",
    source="Dumoulin et al., arXiv:2311.14115, eq. 22 and 23, appendix A.3, figure 10",
    run=FRAME.run,
    seeds=3,
    quick_seeds=3,
    verdict="holds",
    stops="The tilt is at most e^(1/τ), so that no τ recovers p*. Its closed form, π_pre exp(P(x ≻ "
    "π_pre)/τ), is not in the paper.",
    cpu_s=(107, 8),
)
