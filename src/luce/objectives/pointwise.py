"""Objectives that judge each response by itself.

A response whose score is x = Ω − z₀ and which is a good one with probability p costs U(x, p). An
unpaired row has one such response; a pair has two, with p the label of the chosen one and 1 − p
that of the rejected one.

[KTO] Ethayarajh et al. (2024), arXiv:2402.01306.  [BCO] Jung et al. (2024), arXiv:2404.04656.
[NCA] Chen et al. (2024), arXiv:2402.05369.        [SPPO] Wu et al. (2024), arXiv:2405.00675.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from luce.errors import LuceError
from luce.objectives.check import check_lengths, number
from luce.objectives.labels import check_label
from luce.objectives.needs import NOTHING, Needing
from luce.objectives.objective import log_prob_metrics, pair_metrics
from luce.objectives.score import PerResponse, Score
from luce.objectives.writing import bare, negative, total
from luce.types import Pairs, PerGroup, Scope, Unpaired


@dataclass(frozen=True)
class Utility:
    """U(x, p).

    Attributes:
        value: (x, p) -> cost of each response.
        good, bad: U(x, 1) and U(x, 0) written out, of x written out.
    """

    value: Callable[[Tensor, Tensor], Tensor]
    good: Callable[[str], str]
    bad: Callable[[str], str]


@dataclass(frozen=True)
class Baseline:
    """z₀, in units of Ω; no gradient flows through it.

    Attributes:
        value: (scale of the score, running means) -> z₀.
        statistics: (score, batch) -> the per-response values whose running means it reads.
        formula: of the scale written out.
        needs: what the statistics read besides log π.
    """

    value: Callable[[float, Mapping[str, float]], float]
    statistics: Callable[[Score, Unpaired], Mapping[str, PerGroup]]
    formula: Callable[[str], str]
    needs: frozenset[str] = NOTHING


def _times(factor: float, text: str) -> str:
    return bare(text) if factor == 1 else f"{number(factor)}·{text}"


def prospect(lam_d: float = 1.0, lam_u: float = 1.0) -> Utility:
    """λ_D (1 − σ(x)) of a good response, λ_U (1 − σ(−x)) of a bad one [KTO, section 4]."""
    return Utility(
        lambda x, p: p * (lam_d * torch.sigmoid(-x)) + (1 - p) * (lam_u * torch.sigmoid(x)),
        lambda x: _times(lam_d, f"[1 − σ({x})]"),
        lambda x: _times(lam_u, f"[1 − σ({negative(x)})]"),
    )


def classifier() -> Utility:
    """−log σ(x) of a good response, −log σ(−x) of a bad one [BCO, eq. 5]."""
    return Utility(
        lambda x, p: -p * F.logsigmoid(x) - (1 - p) * F.logsigmoid(-x),
        lambda x: f"−log σ({x})",
        lambda x: f"−log σ({negative(x)})",
    )


def noise_contrast(share: float = 0.5) -> Utility:
    """−p log σ(x) − share · log σ(−x): every response is also a sample of the noise, with share 1/K
    of K responses [NCA, eq. 11]."""
    s = number(share)
    return Utility(
        lambda x, p: -p * F.logsigmoid(x) - share * F.logsigmoid(-x),
        lambda x: f"−log σ({x}) − {s}·log σ({negative(x)})",
        lambda x: f"−{s}·log σ({negative(x)})",
    )


def regression(target: float) -> Utility:
    """½ (x − (2p − 1) target)²: the score of a good response is to be `target` [SPPO, eq. 4.2]."""
    t = number(target)
    return Utility(
        lambda x, p: 0.5 * (x - (2 * p - 1) * target) ** 2,
        lambda x: f"½·({x} − {t})²",
        lambda x: f"½·({x} + {t})²",
    )


def imitation() -> Utility:
    """−x of a good response, nothing of a bad one: its likelihood, where Ω is one."""
    return Utility(lambda x, p: -p * x, negative, lambda x: "0")


def only_good() -> Utility:
    """σ(x) of a good response, nothing of a bad one: half of APO-down."""
    return Utility(lambda x, p: p * torch.sigmoid(x), lambda x: f"σ({x})", lambda x: "0")


def no_baseline() -> Baseline:
    """z₀ = 0."""
    return Baseline(lambda scale, running: 0.0, lambda score, batch: {}, lambda scale: "")


def kl_baseline() -> Baseline:
    """z₀ = scale · max(0, KL), KL the running mean of log π/π_ref over responses under prompts that
    are not theirs; 0 until there is one [KTO, eq. 8]."""

    def statistics(score: Score, batch: Unpaired) -> Mapping[str, PerGroup]:
        other = batch.mismatched
        if other is None:
            return {}
        check_lengths(other, "mismatched")
        if len(other) != len(batch.response):
            raise LuceError(
                f"mismatched: {len(other)} responses for {len(batch.response)} rows. Give every "
                "row one, or none."
            )
        return {"kl": other.log_prob - other.reference_log_prob}

    return Baseline(
        lambda scale, running: scale * max(0.0, running.get("kl", 0.0)),
        statistics,
        lambda scale: f"{scale}·max(0, KL)",
    )


def shift_baseline() -> Baseline:
    """z₀ = δ: halfway between the running mean scores of good and of bad responses; where there
    are only good or only bad ones yet, their mean; 0 until there is one [BCO, section 4.2]."""

    def value(scale: float, running: Mapping[str, float]) -> float:
        names = ("rewards/good", "rewards/bad")
        means = [running[name] for name in names if name in running]
        return sum(means) / len(means) if means else 0.0

    def statistics(score: Score, batch: Unpaired) -> Mapping[str, PerGroup]:
        omega, good = score(batch.response), batch.desirable >= 0.5
        nan = torch.full_like(omega, torch.nan)
        return {
            "rewards/good": torch.where(good, omega, nan),
            "rewards/bad": torch.where(good, nan, omega),
        }

    return Baseline(value, statistics, lambda scale: "δ")


@dataclass(frozen=True)
class Pointwise(Needing):
    """U(Ω − z₀, p) of each response.

    Attributes:
        score: Ω.
        utility: U.
        baseline: z₀.
        structure: "unpaired", or "pair" where both responses of a pair are judged.
        name, parameters, source: which published method this is, for the run's manifest.
    """

    score: Score
    utility: Utility = field(default_factory=prospect)
    baseline: Baseline = field(default_factory=no_baseline)
    structure: Literal["unpaired", "pair"] = "unpaired"
    name: str = "custom"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def needs(self) -> frozenset[str]:
        """What the batch must carry besides log π (`luce.objectives.needs`)."""
        return self.score.needs | self.baseline.needs

    @property
    def scope(self) -> Scope:
        """A response's cost depends on it alone, and on what the steps before it left."""
        return "group"

    @property
    def formula(self) -> str:
        """The cost of a good and of a bad response, with the numbers that run."""
        baseline = self.baseline.formula(number(self.score.scale))
        offset = " − z₀" if baseline else ""
        where = f"; z₀ = {baseline}" if baseline else ""
        if self.structure == "pair":
            good = self.utility.good(f"{self.score.formula}(chosen){offset}")
            bad = self.utility.bad(f"{self.score.formula}(rejected){offset}")
            return (good if bad == "0" else total([good, bad])) + where
        x = f"{self.score.formula}(y){offset}"
        return f"desirable: {self.utility.good(x)}; undesirable: {self.utility.bad(x)}{where}"

    def offset(self, batch: Unpaired | Pairs) -> float:
        """z₀."""
        return self.baseline.value(self.score.scale, batch.running)

    def margin(self, batch: Any) -> PerGroup:
        """Of pairs Ω(chosen) − Ω(rejected). Of single responses how far each is on its right side
        of z₀: Ω − z₀ of a desirable one, z₀ − Ω of an undesirable one."""
        if isinstance(batch, Pairs):
            chosen, rejected = self._scores(batch)
            return chosen - rejected
        check_lengths(batch.response, "completion")
        check_label(batch.desirable)
        above = self.score(batch.response) - self.offset(batch)
        return torch.where(batch.desirable >= 0.5, above, -above)

    def _scores(self, batch: Pairs) -> tuple[PerResponse, PerResponse]:
        check_lengths(batch.chosen, "chosen")
        check_lengths(batch.rejected, "rejected")
        chosen, rejected = batch.chosen, batch.rejected
        return self.score(chosen, rejected), self.score(rejected, chosen)

    def __call__(self, batch: Any) -> PerGroup:
        """The cost of each response, or of both responses of each pair."""
        z0 = self.offset(batch)
        if isinstance(batch, Pairs):
            chosen, rejected = self._scores(batch)
            p = torch.ones_like(chosen) if batch.label is None else batch.label
            check_label(p)
            return self.utility.value(chosen - z0, p) + self.utility.value(rejected - z0, 1 - p)
        check_lengths(batch.response, "completion")
        check_label(batch.desirable)
        return self.utility.value(self.score(batch.response) - z0, batch.desirable)

    def weight(self, batch: Any) -> PerGroup:
        """1: every row counts alike."""
        like = batch.chosen if isinstance(batch, Pairs) else batch.response
        return torch.ones_like(like.length)

    @torch.no_grad()
    def metrics(self, batch: Any) -> Mapping[str, PerGroup]:
        """rewards/*, logps/*, logps_per_token/* and length/*: of unpaired rows with `chosen` the
        desirable responses and `rejected` the others (nan elsewhere); no logps where a reward
        model gave the scores. Also the `statistics`."""
        if isinstance(batch, Pairs):
            chosen, rejected = self._scores(batch)
            return {**pair_metrics(batch, chosen, rejected, chosen - rejected)}
        y, desirable = batch.response, batch.desirable >= 0.5
        omega, nan = self.score(y), torch.full_like(y.length, torch.nan)
        values: dict[str, PerGroup] = {}
        for role, mine in (("chosen", desirable), ("rejected", ~desirable)):
            reported = {f"rewards/{role}": omega, f"length/{role}": y.length}
            reported |= log_prob_metrics(y, role) if y.reward is None else {}
            values |= {name: torch.where(mine, value, nan) for name, value in reported.items()}
        statistics = self.statistics(batch)
        return values | {name: v for name, v in statistics.items() if name not in SHOWN_ALREADY}

    @torch.no_grad()
    def statistics(self, batch: Any) -> Mapping[str, PerGroup]:
        """What the baseline wants running means of."""
        if not isinstance(batch, Pairs):
            return self.baseline.statistics(self.score, batch)
        # of a pair the chosen response is the good one, where the label says so
        good = (torch.ones_like(batch.chosen.length) if batch.label is None else batch.label) >= 0.5
        sides = (
            self.baseline.statistics(self.score, Unpaired(y, mine.to(y.policy.dtype)))
            for y, mine in ((batch.chosen, good), (batch.rejected, ~good))
        )
        return _either(*sides)


SHOWN_ALREADY = ("rewards/good", "rewards/bad")
"""Statistics that `rewards/chosen` and `rewards/rejected` report."""


def _either(one: Mapping[str, PerGroup], other: Mapping[str, PerGroup]) -> Mapping[str, PerGroup]:
    """Per pair whichever of two values is not nan."""
    return {name: torch.where(value.isnan(), other[name], value) for name, value in one.items()}
