"""Everything that prefers: simulated annotators and what is drawn from them."""

from luce.annotate.annotator import (
    draw,
    length_biased,
    luce_choice,
    mixture,
    noisy,
    opinions,
    position_biased,
    two_tastes,
)

__all__ = [
    "draw",
    "length_biased",
    "luce_choice",
    "mixture",
    "noisy",
    "opinions",
    "position_biased",
    "two_tastes",
]
