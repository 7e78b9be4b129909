"""DPO after an annotator who judges as DPO assumes: how much likelier than under π_pre."""

from luce.lab.experiment import Check, Experiment, near
from luce.lab.pbde_density import Foretold, over, peak_in, theory_is
from luce.lab.pbde_frame import Ended, Frame
from luce.lab.pbde_networks import Arm
from luce.lab.pbde_world import World
from luce.models.tabular import luce_annotator, policy_with_scores
from luce.objectives import OBJECTIVES
from luce.objectives.scores import log_ratio

BETA = 4.0


def arms(space: World) -> list[Foretold]:
    """The annotator who compares β log p*/π_pre, and the Luce annotator beside him."""
    own = luce_annotator(space.target, log_ratio(BETA), space.pretrained)
    objective = OBJECTIVES["dpo"](beta=BETA)
    product = space.space.normalize(space.pretrained.log_prob + space.target.log_prob / BETA)
    return [
        Foretold(Arm("compares 4·log p*/π_pre", objective, own), space.target, "p*", 0.05, 0.08),
        Foretold(
            Arm("compares log p*", objective, space.one_person), product, "π_pre p*^(1/4)/Z",
            0.015, 0.035,
        ),
    ]  # fmt: skip


def checks(ended: Ended, fine: World, quick: bool) -> list[Check]:
    """Closed forms, and how high the densities are."""
    score = log_ratio(BETA)
    scores = score(fine.target.responses(fine.pretrained))
    optimum = policy_with_scores(scores, score, fine.space, fine.pretrained)
    return [
        theory_is("own kind: TV(optimum of the score, p*)", optimum, fine.target, 0.0),
        theory_is("Luce: TV(theory, p*)", arms(fine)[1].theory, fine.target, 0.311),
        near(
            "own kind: highest density right of 0",
            over(ended[0], lambda p: peak_in(p, left=False)),
            0.240,
            0.03,
        ),
    ]


def words(ended: Ended, space: World) -> str:
    """The verdict."""
    own, luce = (over(runs, space.target.total_variation).value for runs in ended)
    return (
        "Holds. The same objective on the same pairs recovers p* from the annotator who judges as "
        f"it assumes (total variation {own:.3f}) and misses it by {luce:.2f} with the Luce "
        "annotator: what DPO learns depends on who judges as much as on DPO."
    )


FRAME = Frame(arms, checks, words, columns=2)
EXPERIMENT = Experiment(
    name="pbde-fig2",
    claim="DPO recovers p* if annotator and model share the same preference behaviour.",
    source="Dumoulin et al., arXiv:2311.14115, theorem 2, eq. 14 and 15, figure 2",
    run=FRAME.run,
    seeds=3,
    quick_seeds=3,
    verdict="holds",
    stops="From a Luce annotator the same objective on the same pairs misses p* by 0.31 in total "
    "variation.",
    cpu_s=(64, 6),
)
