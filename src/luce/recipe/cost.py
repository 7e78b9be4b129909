"""What an objective makes of given token log-probabilities: the very function that training calls,
row by row, with its gradient.

    {"id": "a", "chosen": {"policy": [-1.0, -3.0], "reference": [-1.0, -1.0]},
     "rejected": {"policy": [-1.5], "reference": [-1.0]}, "label": 0.9}

A pair has `chosen` and `rejected`, and may have `label`, `margin`, `score_chosen` and
`score_rejected`; for a reward model each is `{"reward": 1.2}`. Unpaired feedback has `completion`,
`label` (true or false) and, for the KL baseline, `mismatched`. A demonstration has `completion`
(or `chosen`). Log-probabilities are in nats, one for each token of the response.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from luce.errors import DataError, LuceError, did_you_mean
from luce.objectives import Likelihood, Objective, Pointwise, make_objective
from luce.types import Demonstrations, Pairs, Place, Responses, Structure, Unpaired

DType: TypeAlias = Literal["float32", "float64"]

ROLES: dict[Structure, tuple[str, ...]] = {
    "pair": ("chosen", "rejected"),
    "unpaired": ("completion",),
    "demonstration": ("completion",),
}
"""The responses that a row must have."""

NUMBERS = ("margin", "score_chosen", "score_rejected")
FIELDS = ("id", "chosen", "rejected", "completion", "mismatched", "label", *NUMBERS)


@dataclass(frozen=True)
class GivenResponse:
    """Token log-probabilities of one response, nats; or a reward, where they are empty."""

    policy: tuple[float, ...] = ()
    reference: tuple[float, ...] | None = None
    reward: float | None = None


@dataclass(frozen=True)
class CostRow:
    """One row of log-probabilities.

    Attributes:
        place, id: where the row stands, and what it is called (file:line without an `id`).
        responses: by role: chosen, rejected, completion, mismatched.
        label: P(chosen is preferred); 1 or 0 of unpaired feedback; 1 where the row has none.
        numbers: margin, score_chosen and score_rejected, where the row has them.
    """

    place: Place
    id: str
    responses: dict[str, GivenResponse]
    label: float
    numbers: dict[str, float]


def read_log_probs(
    path: str | Path, objective: Objective | Pointwise | Likelihood
) -> list[CostRow]:
    """The rows of a jsonl file, checked for what the objective reads; errors name file:line and
    field."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a text file: {error}.") from None
    rows = [
        _row(Place(str(path), number), line, objective)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not rows:
        raise DataError(f"{path}: no rows. Give one JSON object a line.")
    with_baseline = [row for row in rows if "mismatched" in row.responses]
    if with_baseline and len(with_baseline) < len(rows):
        missing = next(row for row in rows if "mismatched" not in row.responses)
        raise DataError(
            f"{missing.place}: no `mismatched`, which other rows have. Give every row one, or none."
        )
    return rows


def _row(place: Place, line: str, objective: Objective | Pointwise | Likelihood) -> CostRow:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error}. Give one JSON object a line.") from None
    if not isinstance(record, dict):
        raise DataError(f"{place}: not a JSON object.")
    for key in record:  # other columns may stand there, but a misspelt one would be left out
        if key not in FIELDS and (near := get_close_matches(key, FIELDS, n=1, cutoff=0.8)):
            raise DataError(f"{place}: no field {key!r}. Did you mean {near[0]!r}?")
    structure = objective.structure
    roles = ROLES[structure]
    if structure == "demonstration" and "completion" not in record and "chosen" in record:
        roles = ("chosen",)
    for role in roles:
        if role not in record:
            raise DataError(
                f"{place}: no `{role}`. A row of {objective.name} has {_listed(roles)}."
            )
    if structure == "unpaired" and record.get("mismatched") is not None:
        roles = (*roles, "mismatched")
    responses = {role: _response(place, role, record[role], objective) for role in roles}
    if structure == "unpaired" and "label" not in record:
        raise DataError(f"{place}: no `label`. Unpaired feedback says true or false.")
    values = {key: _number(place, key, record[key]) for key in NUMBERS if _has(record, key)}
    label = _label(place, record["label"], structure) if _has(record, "label") else 1.0
    name = str(record["id"]) if _has(record, "id") else str(place)
    return CostRow(place, name, responses, label, values)


def _listed(roles: Sequence[str]) -> str:
    return " and ".join(f"`{role}`" for role in roles)


def _has(record: dict[str, Any], key: str) -> bool:
    return record.get(key) is not None


def _response(
    place: Place, role: str, given: Any, objective: Objective | Pointwise | Likelihood
) -> GivenResponse:
    wanted = ("reward",) if objective.needs_reward else ("policy", "reference")
    if not isinstance(given, dict):
        raise DataError(f"{place}: {role}: not an object with {_listed(wanted)}.")
    for key in given:
        if key not in wanted:
            raise DataError(f"{place}: {role}: no field {key!r}. {did_you_mean(key, wanted)}")
    if objective.needs_reward:
        if "reward" not in given:
            raise DataError(f"{place}: {role}.reward: missing; {objective.name} grades rewards.")
        return GivenResponse(reward=_number(place, f"{role}.reward", given["reward"]))
    if "policy" not in given:
        raise DataError(f"{place}: {role}.policy: missing. It lists log π of each token.")
    policy = _log_probs(place, f"{role}.policy", given["policy"])
    if not _has(given, "reference"):
        if not objective.needs_reference:
            return GivenResponse(policy)
        raise DataError(
            f"{place}: {role}.reference: missing; {objective.name} compares the policy with a "
            "reference. List log π_ref of each token, or use a reference-free objective."
        )
    reference = _log_probs(place, f"{role}.reference", given["reference"])
    if len(reference) != len(policy):
        raise DataError(
            f"{place}: {role}.reference: {len(reference)} tokens, but {role}.policy has "
            f"{len(policy)}. Both must be of the same tokens."
        )
    return GivenResponse(policy, reference if objective.needs_reference else None)


def _log_probs(place: Place, field: str, given: Any) -> tuple[float, ...]:
    if not isinstance(given, list):
        raise DataError(f"{place}: {field}: not a list of log-probabilities.")
    if not given:
        raise DataError(
            f"{place}: {field}: a response of length 0. It needs at least one token, its "
            "end-of-turn token; drop the row otherwise."
        )
    values = tuple(_number(place, f"{field}[{i}]", value) for i, value in enumerate(given))
    for i, value in enumerate(values):
        if value > 0:
            raise DataError(
                f"{place}: {field}[{i}]: {value:g} is no log-probability, which is at most 0."
            )
    return values


def _number(place: Place, field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{place}: {field}: {value!r} is not a finite number.")
    return float(value)


def _label(place: Place, value: Any, structure: Structure) -> float:
    label = float(value) if isinstance(value, bool) else _number(place, "label", value)
    if structure == "unpaired" and label not in (0.0, 1.0):
        raise DataError(f"{place}: label: {value!r} is neither true nor false.")
    if not 0 <= label <= 1:
        raise DataError(
            f"{place}: label: {value!r} is no probability. It is P(chosen is preferred), 0 to 1."
        )
    return label


def cost(
    rows: Sequence[CostRow],
    objective: Objective | Pointwise | Likelihood,
    grad: bool = False,
    dtype: DType = "float64",
) -> list[dict[str, Any]]:
    """Per row `id`, `cost` (its own, not divided by anything), `margin` (before the target margin;
    None where there is none) and, with `grad`, d cost / d log π of each token by role. Of a reward
    model the gradient is d cost / d reward. Of unpaired rows also `baseline`, z₀, estimated on
    the `mismatched` responses of all rows; 0 where they have none.
    """
    kind = {"float32": torch.float32, "float64": torch.float64}[dtype]
    roles = list(rows[0].responses)
    leaves = {role: _leaf([row.responses[role] for row in rows], kind) for role in roles}
    batch = _batch(rows, objective, leaves, kind)
    costs = objective(batch)
    for row, value in zip(rows, costs.tolist(), strict=True):
        if not math.isfinite(value):
            raise LuceError(f"{row.place}: the cost is {value} in {dtype}. Are its numbers real?")
    margins = [None] * len(rows)
    if not isinstance(objective, Likelihood):
        margins = objective.margin(batch).tolist()
    results: list[dict[str, Any]] = [
        {"id": row.id, "cost": value + 0.0, "margin": margin}  # -0.0 reads as an error
        for row, value, margin in zip(rows, costs.tolist(), margins, strict=True)
    ]
    if isinstance(objective, Pointwise):
        for result in results:
            result["baseline"] = objective.baseline(batch)
    if grad:
        judged = [role for role in roles if role != "mismatched"]
        # each cost depends on its own row alone, so the gradient of their sum is all of theirs
        gradients = torch.autograd.grad(costs.sum(), [leaves[role] for role in judged])
        for role, gradient in zip(judged, gradients, strict=True):
            for result, part in zip(results, _parts(rows, role, gradient), strict=True):
                result.setdefault("grad", {})[role] = part
    return results


def _leaf(given: list[GivenResponse], kind: torch.dtype) -> Tensor:
    values = [x for y in given for x in ((y.reward,) if y.reward is not None else y.policy)]
    return torch.tensor(values, dtype=kind, requires_grad=True)


def _parts(rows: Sequence[CostRow], role: str, gradient: Tensor) -> list[list[float] | float]:
    given = [row.responses[role] for row in rows]
    if given[0].reward is not None:
        return gradient.tolist()
    return [part.tolist() for part in gradient.split([len(y.policy) for y in given])]


def _responses(given: list[GivenResponse], leaf: Tensor, kind: torch.dtype) -> Responses:
    if given[0].reward is not None:
        lengths = torch.ones(len(given), dtype=torch.long)
        return Responses(torch.zeros(0, dtype=kind), lengths, reward=leaf)
    lengths = torch.tensor([len(y.policy) for y in given])
    reference = None
    if given[0].reference is not None:
        reference = torch.tensor([x for y in given for x in y.reference or ()], dtype=kind)
    return Responses(leaf, lengths, reference)


def _batch(
    rows: Sequence[CostRow],
    objective: Objective | Pointwise | Likelihood,
    leaves: dict[str, Tensor],
    kind: torch.dtype,
) -> Any:
    y = {
        role: _responses([row.responses[role] for row in rows], leaf, kind)
        for role, leaf in leaves.items()
    }
    label = torch.tensor([row.label for row in rows], dtype=kind)
    if isinstance(objective, Objective):
        extra = {
            key: torch.tensor([row.numbers.get(key, math.nan) for row in rows], dtype=kind)
            for key in NUMBERS
        }
        return Pairs(y["chosen"], y["rejected"], label, **extra)
    if isinstance(objective, Pointwise):
        batch = Unpaired(y["completion"], label, y.get("mismatched"))
        running = {key: value.mean().item() for key, value in objective.statistics(batch).items()}
        return Unpaired(batch.response, label, batch.mismatched, running)
    return Demonstrations(next(iter(y.values())))


def run_cost(
    path: str | Path,
    objective_name: str,
    settings: dict[str, Any],
    grad: bool = False,
    dtype: str = "float64",
) -> list[dict[str, Any]]:
    """`cost` of the rows of a file under a named objective with these parameters."""
    objective = make_objective(objective_name, settings)
    if not isinstance(objective, Objective | Pointwise | Likelihood):
        raise LuceError(f"objective: {objective_name!r} has no structure that `luce cost` reads.")
    rows = read_log_probs(path, objective)
    if dtype == "float32" or dtype == "float64":
        return cost(rows, objective, grad, dtype)
    raise LuceError(f"dtype: {dtype!r} is neither float32 nor float64.")
