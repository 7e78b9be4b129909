"""What several presets say alike."""

from luce.errors import RecipeError
from luce.objectives import regularizers


def nll_term(key: str, nll: str, weight: float) -> tuple[regularizers.Regularizer, ...]:
    """The likelihood of the chosen response in the variant asked for; nothing at weight 0."""
    variants = {"sum": regularizers.nll_sum, "mean": regularizers.nll_mean}
    if nll not in variants:
        raise RecipeError(f"objective.{key}: {nll!r} is neither 'sum' nor 'mean'.")
    return (variants[nll](weight),) if weight else ()
