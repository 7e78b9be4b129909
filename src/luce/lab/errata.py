"""What the papers' texts get wrong or leave out: each would make a faithful-looking test wrong."""

from dataclasses import dataclass

PBDE = "Dumoulin et al., 2023"
GPO = "Tang et al., 2024"
INFINITY = "Malladi, 2024"
PHYSICAL = "Viewing DPO from a physical perspective"
ITERATIVE = "Xiong, 2024"


@dataclass(frozen=True)
class Erratum:
    """A place in a paper, what it says, and what is so.

    Attributes:
        paper, place: where.
        said: by the text.
        found: by the authors' program, by the source that they cite, or by us.
        shown_by: the experiments that show it.
    """

    paper: str
    place: str
    said: str
    found: str
    shown_by: tuple[str, ...]


ERRATA = (
    Erratum(
        PBDE,
        "table 1",
        "learning rate 0.0005",
        "The authors' program has 0.0001, and their figures fit that: peaks of 0.585 at 0.0001, of "
        "0.62 to 0.64 at 0.0005. Runs here are at 0.0005, and higher for it",
        ("pbde-fig1",),
    ),
    Erratum(
        PBDE,
        "figure 1",
        "pairs uniform on [−10, 10]²",
        "The program draws them from π_pre; both recover p*, at different distances",
        ("pbde-fig1", "pbde-finite-data"),
    ),
    Erratum(
        PBDE,
        "eq. 19, RRHF",
        "−(s_w − s_l)⁺",
        "(s_l − s_w)⁺; as printed a wrong order has no gradient and a right one no bound",
        ("pbde-errata",),
    ),
    Erratum(
        PBDE,
        "eq. 20, SLiC",
        "δ − (…)⁺",
        "(δ − …)⁺, as in eq. 21 and in the program",
        ("pbde-errata", "pbde-fig9"),
    ),
    Erratum(
        PBDE,
        "section 5 and appendix A.2",
        "not said: what the likelihood of SLiC is taken over, and where runs start",
        "8192 fresh samples of π_pre a step; the reward model starts from random weights, all "
        "other runs from π_pre",
        ("pbde-fig9", "pbde-fig1"),
    ),
    Erratum(
        PBDE,
        "eq. 26 to 28",
        "log p/|x|",
        "50 log p/|x| in the program; table 2 needs the factor",
        ("pbde-errata", "pbde-table2", "pbde-fig6"),
    ),
    Erratum(
        PBDE,
        "eq. 29 and 30",
        "one π_θ",
        "one for each annotator: the index i is lost, and without it the mixture is one person",
        ("pbde-errata", "pbde-fig11"),
    ),
    Erratum(
        GPO,
        "table 1",
        "six convex losses",
        "Savage is not convex: it is concave left of z = −log 2",
        ("gpo-losses", "pbde-errata"),
    ),
    Erratum(
        GPO,
        "section 4.1",
        "the expansion suggests that matching β gets better with a larger β",
        "In a table the optimum is ρ(β) = ρ(1)/β exactly: the error depends on the preferences "
        "alone, like ε² for 1/2 ± ε",
        ("gpo-beta-matching",),
    ),
    Erratum(
        GPO,
        "appendix A.2",
        "the mixtures' parameters (lost from the text)",
        "Drawn by the recipe that is left; one world by hand beside it",
        ("gpo-gaussians",),
    ),
    Erratum(
        "Azar et al., 2023",
        "section 5.4, D3",
        "DPO drives an action that no pair shows to 0, IPO does not",
        "A softmax policy keeps its third under both, which see only θ_a − θ_b",
        ("gpo-bandit",),
    ),
    Erratum(
        INFINITY,
        "the two assumptions",
        "r_LM = |y| r* favours long responses, and r* = log π*/|y|",
        "Together r_LM = log π*, Luce's rule, which favours short ones",
        ("length-bias", "pbde-table2"),
    ),
    Erratum(
        INFINITY,
        "takeaways",
        "a length-normalized objective undoes labels of |y| r*, and forces log π(y_w) up",
        "Neither: it recovers r* from labels of r* only, and sees differences only",
        ("length-bias", "length-remedy"),
    ),
    Erratum(
        PHYSICAL,
        "after the minimum of KL",
        "“Z(x) does depend on y”",
        "It does not: a shift of r by a function of the prompt changes Z and no policy",
        ("gibbs",),
    ),
    Erratum(
        PHYSICAL,
        "background",
        "KTO, IPO and ORPO spelled out as Knowledge Training, Initial Public Offering, Order "
        "Police; IPO's reference is to another method",
        "Kahneman–Tversky, identity, odds ratio; the reference given is maximum preference "
        "optimization",
        (),
    ),
    Erratum(
        ITERATIVE,
        "uncertainty estimator",
        "Σ_t as a sum of (Δφ)ᵀ(Δφ), a number, over t from 1 to t − 1",
        "The outer products (Δφ)(Δφ)ᵀ, over s < t, and λI",
        ("online-regret",),
    ),
    Erratum(
        ITERATIVE,
        "takeaways",
        "online learning outperforms the offline variant by a large margin",
        "Not where π₀ covers the features",
        ("online-regret", "online-coverage"),
    ),
    Erratum(
        ITERATIVE,
        "best and worst of n",
        "not said: what the first round does, whose reward is constant",
        "argmax and argmin are the same response, and nothing is ever learnt: ties have to be "
        "broken at random",
        ("online-coverage",),
    ),
)
"""In the order of the papers."""
