"""Errors that people read: one or two lines that name the place, what was found, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class LuceError(Exception):
    """Something the user can mend. The message names the place (file, row, field or key), what was
    found there and the remedy; the command line prints it without a traceback and exits with 2."""


class DataError(LuceError):
    """A row, file or column that cannot be used: `file:line: field: what. Remedy.`"""


class RecipeError(LuceError):
    """A recipe that cannot be built. The message starts with the path of the key."""


class ModelError(LuceError):
    """A model, tokenizer or adapter that cannot be loaded, used or saved."""


class ReferencePolicyError(LuceError):
    """The reference policy is not what the run says it is."""


class NonFiniteError(LuceError):
    """A cost or a gradient is not finite; raised before the optimizer step."""


class CheckpointError(LuceError):
    """A checkpoint that is missing, damaged, or belongs to another run."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names as a question, or all of them as a list.

    >>> did_you_mean("dop", ["dpo", "ipo"])
    "Did you mean 'dpo'?"
    >>> did_you_mean("x", ["dpo", "ipo"])
    'Known: dpo, ipo.'
    """
    known = sorted(known)
    swapped = [other for other in known if sorted(other) == sorted(name)]  # the commonest slip
    close = swapped or get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
