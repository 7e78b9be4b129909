"""A pairwise model as an annotator."""

from collections.abc import Sequence

from luce.annotate.annotator import luce_choice
from luce.annotate.scorers import MOST_TOKENS, reward_scorer
from luce.data.ordered import ordered_text
from luce.data.template import Renderer
from luce.models.reward import RewardModel
from luce.types import Annotator, Comparison


def pairwise_annotator(
    model: RewardModel,
    renderer: Renderer,
    temperature: float = 1.0,
    max_tokens: int = MOST_TOKENS,
) -> Annotator:
    """P(a ≻ b) = σ((s(x; a, b) − s(x; b, a)) / τ), of a model that `model.kind: pairwise` trained.

    P(b ≻ a) = 1 − P(a ≻ b) exactly, and preferences may go in circles (`luce.data.ordered`).
    """
    rule = luce_choice(reward_scorer(model, renderer, max_tokens), temperature)

    def annotate(comparisons: Sequence[Comparison]) -> list[float]:
        both = [
            Comparison(c.prompt, ordered_text(c.a, c.b), ordered_text(c.b, c.a))
            for c in comparisons
        ]
        return list(rule(both))

    return annotate
