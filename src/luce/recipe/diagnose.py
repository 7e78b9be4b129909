"""`diagnose:` of a recipe: what is noted before training, and what is found after it.

Each diagnostic is a function of `luce.diagnostics`; here they get their numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from luce.diagnostics.baselines import length_rule
from luce.diagnostics.calibration import calibration
from luce.diagnostics.calibration_finding import calibration_finding
from luce.diagnostics.displacement import displacement
from luce.diagnostics.divergence import Divergence, squared_divergence
from luce.diagnostics.finding import Finding
from luce.diagnostics.length_effects import length_effects, repeats
from luce.diagnostics.misspecification import tastes
from luce.diagnostics.overoptimization import Point, watched
from luce.diagnostics.samples import mean_repetition, repetition, survival_curve
from luce.diagnostics.saturation import saturation
from luce.files import read_jsonl
from luce.intervals import Estimate
from luce.objectives import Objective
from luce.recipe.held_out import gives_log_odds, token_pair
from luce.recipe.prepare import Data
from luce.recipe.sampling import Answers
from luce.recipe.schema import Recipe
from luce.train.trainer import Trainer
from luce.types import Group

PULLED = 256
"""Training pairs whose pull is looked at."""

LOG_PROBS = ("logps/chosen", "logps/rejected")


@dataclass(frozen=True)
class Known:
    """What is there to diagnose a run from.

    Attributes:
        initial: `initial.json`, with what `before_training` noted.
        metrics: of each held-out group, now.
        kl: the `kl` entry of evaluation.json.
        answers: what the policy answers now; None where nothing was sampled.
    """

    folder: Path
    recipe: Recipe
    trainer: Trainer
    data: Data
    initial: Mapping[str, Any]
    metrics: Mapping[str, Sequence[float]]
    kl: Mapping[str, Any] | None
    answers: Answers | None

    @property
    def pairs(self) -> bool:
        """Whether pairs were held out, and every response of them stands for itself."""
        pair = self.trainer.objective.structure == "pair"
        return pair and bool(self.data.held_out) and self.recipe.model.kind != "pairwise"

    @property
    def prompts(self) -> list[bytes]:
        return [group.prompt.tobytes() for group in self.data.held_out]

    @property
    def labels(self) -> list[float]:
        return [group.label for group in self.data.held_out]

    @property
    def tokens(self) -> tuple[list[int], list[int]]:
        sides = [[int(b.scored.sum()) for b in group.branches] for group in self.data.held_out]
        return [side[0] for side in sides], [side[1] for side in sides]


def before_training(
    recipe: Recipe,
    trainer: Trainer,
    data: Data,
    metrics: Mapping[str, Sequence[float]],
    answers: Answers | None,
) -> dict[str, Any]:
    """Entries of initial.json that the end is compared with: `log_probs` of held-out pairs, `pulls`
    of training pairs, `repetition` of samples; None where there are none."""
    asked, found = recipe.diagnose, dict[str, Any](log_probs=None, pulls=None, repetition=None)
    if {"divergence", "displacement"} & set(asked) and all(name in metrics for name in LOG_PROBS):
        found["log_probs"] = [list(metrics[name]) for name in LOG_PROBS]
    if "saturation" in asked and trainer.objective.structure == "pair":
        found["pulls"] = trainer.pulls(some_pairs(data.train))
    if "length" in asked and answers is not None:
        found["repetition"] = [repetition(sample.ids) for sample in answers.samples]
    return found


def log_probs_before(initial: Mapping[str, Any]) -> list[tuple[float, float]] | None:
    """log π₀ of the chosen and the rejected response of each held-out pair, for the curve of the
    squared loss on the data."""
    sides = initial.get("log_probs")
    return None if sides is None else list(zip(*sides, strict=True))


def log_ratios(
    initial: Mapping[str, Any], metrics: Mapping[str, Sequence[float]]
) -> list[list[float]] | None:
    """log π − log π₀ of the chosen and of the rejected response of each held-out pair, nats; None
    where the start was not noted."""
    before = initial.get("log_probs")
    if before is None:
        return None
    now = [metrics[name] for name in LOG_PROBS]
    return [
        [b - a for a, b in zip(then, later, strict=True)]
        for then, later in zip(before, now, strict=True)
    ]


def some_pairs(groups: Sequence[Group]) -> list[Group]:
    """At most `PULLED` groups, spread over all."""
    return list(groups[:: max(1, len(groups) // PULLED)][:PULLED])


def diagnose(known: Known) -> dict[str, dict[str, Any]]:
    """The `diagnostics` entry of evaluation.json: by name its numbers, and `findings`, each with
    `words`, `alarm` and `remedy`; those that do not apply to the run are left out."""
    found = {name: DIAGNOSES[name](known) for name in known.recipe.diagnose}
    return {
        name: numbers | {"findings": [finding.plain() for finding in findings]}
        for name, (numbers, findings) in found.items()
        if findings
    }


Diagnosis = tuple[dict[str, Any], list[Finding]]


def _divergence(known: Known) -> Diagnosis:
    kl = None
    if known.kl is not None and known.kl["low"] is not None:
        value, low, high = (float(known.kl[end]) for end in ("value", "low", "high"))
        kl = Estimate(value, low, high, known.kl["n"])
    per_token = None
    if kl is not None and known.answers is not None:
        lengths = [len(sample.ids) for sample in known.answers.samples if sample.ids]
        per_token = kl.value * len(lengths) / sum(lengths)
    squared = None
    ratios = log_ratios(known.initial, known.metrics)
    if ratios is not None and known.pairs:
        squared = squared_divergence(ratios[0], ratios[1], known.prompts)
    if kl is None and squared is None:
        return {}, []
    found = Divergence(kl, per_token, squared)
    return found.plain(), [found.finding]


def _displacement(known: Known) -> Diagnosis:
    before = known.initial.get("log_probs")
    if before is None or not known.pairs:
        return {}, []
    now = known.metrics["logps/chosen"], known.metrics["logps/rejected"]
    found = displacement((before[0], before[1]), now, known.tokens, known.labels, known.prompts)
    return ({}, []) if found is None else (found.plain(), [found.finding])


def _length(known: Known) -> Diagnosis:
    numbers: dict[str, Any] = {}
    findings: list[Finding] = []
    if known.pairs and "rewards/margins" in known.metrics:
        chosen, rejected = known.tokens
        pairs = [[token_pair(g) for g in part] for part in (known.data.train, known.data.held_out)]
        _, rule = length_rule(*pairs)
        margins = known.metrics["rewards/margins"]
        found = length_effects(margins, rule, chosen, rejected, known.labels, known.prompts)
        numbers |= found.plain()
        findings.append(found.finding)
    if known.answers is not None and known.answers.samples:
        before = known.initial["generations"]
        now = [(len(sample.ids), sample.ended) for sample in known.answers.samples]
        numbers["survival"] = {
            "before": survival_curve(
                [g["tokens"] for g in before], [g["ended"] for g in before]
            ).plain(),
            "after": survival_curve([n for n, _ in now], [e for _, e in now]).plain(),
        }
        after = mean_repetition([repetition(sample.ids) for sample in known.answers.samples])
        earlier = mean_repetition(known.initial.get("repetition") or [])
        for name, value in (("before", earlier), ("after", after)):
            numbers |= {} if value is None else value.flat(f"repetition_{name}")
        said = repeats(earlier, after)
        findings += [] if said is None else [said]
    return numbers, findings


def _calibration(known: Known) -> Diagnosis:
    margins = known.metrics.get("rewards/margins")
    if not margins or not known.data.held_out or not gives_log_odds(known.trainer.objective):
        return {}, []
    fit = calibration(margins, known.labels, known.prompts)
    return {}, [calibration_finding(fit)]


def _over_optimization(known: Known) -> Diagnosis:
    path = known.folder / "metrics.jsonl"
    rows = read_jsonl(path)
    sampled = [r for r in rows if r["split"] == "samples" and _number(r, "samples/win_rate_low")]
    sampled = [r for r in sampled if _number(r, "samples/kl")]
    if not sampled:
        return {}, []
    judged = [r for r in rows if r["split"] == "eval" and _number(r, "eval_rewards/margins")]
    start = judged[0]["eval_rewards/margins"] if judged else 0.0
    points, steps = [Point(0.0, 0.0, 0.0)], [0]
    for row in sampled:
        latest = [r for r in judged if r["step"] <= row["step"]]
        proxy = latest[-1]["eval_rewards/margins"] - start if latest else 0.0
        low, high = row["samples/win_rate_low"], row["samples/win_rate_high"]
        error = (high - low) / (2 * 1.959964)
        gold = row["samples/win_rate"] - 0.5
        points.append(Point(max(0.0, row["samples/kl"]), proxy, gold, error))
        steps.append(row["step"])
    numbers = {
        "steps": steps,
        "kl": [p.kl for p in points],
        "proxy": [p.proxy for p in points],
        "gold": [p.gold for p in points],
        "gold_error": [p.gold_error for p in points],
    }
    return numbers, [watched(points, steps)]


def _annotators(known: Known) -> Diagnosis:
    if known.trainer.objective.structure != "pair" or known.recipe.model.kind == "pairwise":
        return {}, []
    groups = [*known.data.held_out, *known.data.train]
    found = tastes([token_pair(g) for g in groups], [g.prompt.tobytes() for g in groups])
    return ({}, []) if found is None else (found.plain(), [found.finding])


def _saturation(known: Known) -> Diagnosis:
    before = known.initial.get("pulls")
    if before is None:
        return {}, []
    groups = some_pairs(known.data.train)
    after = known.trainer.pulls(groups)
    found = saturation(
        before, after, _slope(known.trainer.objective), [g.prompt.tobytes() for g in groups]
    )
    if found is None:
        return {}, []
    return found.plain() | {"pulls_before": before, "pulls_after": after}, [found.finding]


def _slope(objective: Any) -> float | None:
    """|φ′(0)| of the margin loss; None where there is none to speak of."""
    if not isinstance(objective, Objective):
        return None
    z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(objective.loss.phi(z).sum(), z)
    return abs(float(slope)) or None


def _number(row: Mapping[str, Any], name: str) -> bool:
    return isinstance(row.get(name), float | int)


DIAGNOSES = {
    "divergence": _divergence,
    "displacement": _displacement,
    "length": _length,
    "calibration": _calibration,
    "over_optimization": _over_optimization,
    "annotators": _annotators,
    "saturation": _saturation,
}
