"""The experiments of the papers, each a small file: a world, a method, a figure, a table."""

from importlib import import_module
from typing import TYPE_CHECKING

from luce.errors import LuceError, did_you_mean

if TYPE_CHECKING:
    from luce.lab.experiment import Experiment

EXPERIMENTS: dict[str, tuple[str, str]] = {
    "gibbs": (
        "luce.lab.gibbs:EXPERIMENT",
        "Free energy and temperature of a policy, and what no policy can see.",
    ),
    "gpo-bandit": (
        "luce.lab.gpo_bandit:EXPERIMENT",
        "Six losses on a bandit of three actions: which go greedy, and at which β.",
    ),
    "gpo-bayes": (
        "luce.lab.gpo_bayes:EXPERIMENT",
        "Every loss finds who is preferred; how strongly, each says otherwise.",
    ),
    "gpo-gaussians": (
        "luce.lab.gpo_gaussians:EXPERIMENT",
        "Mixtures of Gaussians: the loss on data falls while the KL divergence grows.",
    ),
    "gpo-beta-matching": (
        "luce.lab.gpo_beta_matching:EXPERIMENT",
        "One β for all losses: the same local regularization after conversion.",
    ),
    "gpo-kl": (
        "luce.lab.gpo_kl:EXPERIMENT",
        "A small language model in training: KL divergence against the loss on the data.",
    ),
    "gpo-win-rate": (
        "luce.lab.gpo_win_rate:EXPERIMENT",
        "Win rates of every loss over β, and of loss against loss, on the built-in world.",
    ),
    "gpo-losses": (
        "luce.lab.gpo_losses:EXPERIMENT",
        "The six losses of GPO: how they push, and which are convex.",
    ),
    "online-regret": (
        "luce.lab.online_regret:EXPERIMENT",
        "Learning in rounds against learning offline, on exact linear worlds.",
    ),
    "online-coverage": (
        "luce.lab.online_coverage:EXPERIMENT",
        "How much of what matters π₀ has to show for offline learning to be enough.",
    ),
    "cyclic": (
        "luce.lab.cyclic:EXPERIMENT",
        "Rock, scissors, paper: what a reward makes of it, and what the game does.",
    ),
    "evaluator-heatmaps": (
        "luce.lab.evaluator_heatmaps:EXPERIMENT",
        "Whose feedback: evaluators and dimensions that go together, and that do not.",
    ),
    "over-optimization": (
        "luce.lab.over_optimization:EXPERIMENT",
        "The proxy rises while the gold reward falls, and a guard stops before.",
    ),
    "pbde-fig1": (
        "luce.lab.pbde_fig1:EXPERIMENT",
        "A reward model learns the logarithm of what the annotator likes.",
    ),
    "pbde-fig2": (
        "luce.lab.pbde_fig2:EXPERIMENT",
        "DPO recovers an annotator who judges as DPO assumes, and no other.",
    ),
    "pbde-fig3": (
        "luce.lab.pbde_fig3:EXPERIMENT",
        "DPO after a Luce annotator: a product of experts, β = 1, 4, 16.",
    ),
    "pbde-fig5": (
        "luce.lab.pbde_fig5:EXPERIMENT",
        "Two annotators taken for one are served lukewarm coffee.",
    ),
    "pbde-fig8": (
        "luce.lab.pbde_fig8:EXPERIMENT",
        "The geometric score: between what the model was and what is liked.",
    ),
    "pbde-fig10": (
        "luce.lab.pbde_fig10:EXPERIMENT",
        "IPO tilts the model by how often a response is preferred.",
    ),
    "pbde-fig4": (
        "luce.lab.pbde_fig4:EXPERIMENT",
        "Who is preferred to whom: one person, two people, and models of the two.",
    ),
    "pbde-fig9": (
        "luce.lab.pbde_fig9:EXPERIMENT",
        "SLiC: margin and likelihood, δ × λ, against exact optima.",
    ),
    "pbde-fig11": (
        "luce.lab.pbde_fig11:EXPERIMENT",
        "Two annotators told apart, without anybody saying who judged.",
    ),
    "pbde-table2": (
        "luce.lab.pbde_table2:EXPERIMENT",
        "Luce's rule prefers short texts for every annotator; normalizing mends it.",
    ),
    "pbde-fig6": (
        "luce.lab.pbde_fig6:EXPERIMENT",
        "Language models as annotators: two tastes taken for one write what neither likes.",
    ),
    "pbde-matched-scores": (
        "luce.lab.matched_scores:EXPERIMENT",
        "Judged by one rule, learnt by another: lengths go to the wrong end.",
    ),
    "pbde-finite-data": (
        "luce.lab.pbde_finite_data:EXPERIMENT",
        "Error against judgements: which pairs to ask, and annotators who drift.",
    ),
    "pbde-errata": (
        "luce.lab.pbde_errata:EXPERIMENT",
        "Equations that cannot be meant as printed, beside what is computed.",
    ),
    "length-survival": (
        "luce.lab.length_survival:EXPERIMENT",
        "Responses that never end, and what a cap can see of them.",
    ),
    "length-partition": (
        "luce.lab.length_partition:EXPERIMENT",
        "A partition function that diverges below a critical β.",
    ),
    "length-bias": (
        "luce.lab.length_bias:EXPERIMENT",
        "What five objectives do to length when the reward grows with it.",
    ),
    "length-position": (
        "luce.lab.length_position:EXPERIMENT",
        "The same objectives on a policy that may end later at every position.",
    ),
    "length-remedy": (
        "luce.lab.length_remedy:EXPERIMENT",
        "What normalizing by length recovers, and from whose labels.",
    ),
}
"""Experiment → where it lives, and its line in `luce lab list`."""


def load(name: str) -> "Experiment":
    """The experiment of that name.

    Raises:
        LuceError: there is none.
    """
    if name not in EXPERIMENTS:
        raise LuceError(f"luce lab: no experiment {name!r}. {did_you_mean(name, EXPERIMENTS)}")
    module, attribute = EXPERIMENTS[name][0].split(":")
    return getattr(import_module(module), attribute)
