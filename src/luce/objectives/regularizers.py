"""Regularizers: what a pair costs besides its preference. Each has a weight λ.

The literature means three different things by "+ NLL"; here each has its name:

    nll_sum     −log π(chosen)              as the equations of SLiC and CPO are printed
    nll_mean    −log π(chosen) / |chosen|   every response counts alike, whatever its length

and the mean over all tokens of a batch is no term of a pair, since it weighs pairs by length: it
is the objective `sft`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from luce.errors import LuceError
from luce.objectives.check import number
from luce.objectives.needs import NOTHING, given, needs
from luce.types import Pairs, PerGroup


@dataclass(frozen=True)
class Regularizer:
    """λ · value(pairs).

    Attributes:
        weight: λ ≥ 0.
        value: pairs -> one value each, in nats where it is a likelihood.
        term: `value` written out.
        metric: the name under which `value` is reported, or None.
        needs: what it reads besides log π.
    """

    weight: float
    value: Callable[[Pairs], PerGroup]
    term: str
    metric: str | None = None
    needs: frozenset[str] = NOTHING

    @property
    def formula(self) -> str:
        """λ · value with its number."""
        return self.term if self.weight == 1 else f"{number(self.weight)}·{self.term}"


def _nll_sum(pairs: Pairs) -> PerGroup:
    return -pairs.chosen.log_prob


def _nll_mean(pairs: Pairs) -> PerGroup:
    return -pairs.chosen.log_prob / pairs.chosen.length


def nll_sum(weight: float) -> Regularizer:
    """−λ log π(chosen), nats per response."""
    return Regularizer(weight, _nll_sum, "[−log π(chosen)]", metric="nll")


def nll_mean(weight: float) -> Regularizer:
    """−λ log π(chosen) / |chosen|, nats per token of the response."""
    return Regularizer(weight, _nll_mean, "[−log π(chosen)/|chosen|]", metric="nll")


def _reference_sample(pairs: Pairs) -> PerGroup:
    first = given(pairs.reference_sample, "reference_sample", "reference_sample")
    return torch.where(first >= 0.5, pairs.chosen.log_prob, pairs.rejected.log_prob)


def optimism(weight: float) -> Regularizer:
    """α log π(ỹ), ỹ the response of the pair that was sampled from the reference: pushing it down
    leaves room for what the reference does not say (XPO, Xie et al., 2024, arXiv:2405.21046)."""
    return Regularizer(
        weight, _reference_sample, "log π(reference sample)", needs=needs("reference_sample")
    )


def _squared_sum(pairs: Pairs) -> PerGroup:
    if pairs.chosen.reward is None or pairs.rejected.reward is None:
        raise LuceError("center: the batch has no rewards. Set `model.kind: reward`.")
    return (pairs.chosen.reward + pairs.rejected.reward) ** 2


def center(weight: float) -> Regularizer:
    """λ (r(chosen) + r(rejected))²: a pair fixes rewards up to a constant; this fixes the constant
    (Eisenstein et al., 2023, arXiv:2312.09244, eq. 2)."""
    return Regularizer(weight, _squared_sum, "[r(chosen) + r(rejected)]²", needs=needs("reward"))


REGULARIZERS = {
    "nll_sum": nll_sum,
    "nll_mean": nll_mean,
    "optimism": optimism,
    "center": center,
}
