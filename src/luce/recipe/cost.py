"""What an objective makes of given token log-probabilities: the very function that training calls,
row by row, with its gradient. What a row looks like stands in `cost_rows`.

A cost of the whole batch (`scope` "batch") takes the file for the global batch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from luce.errors import LuceError, RecipeError, did_you_mean
from luce.objectives import Likelihood, ListObjective, Pointwise, WeightedSum, make_objective
from luce.objectives.own import is_own, raised
from luce.recipe.cost_rows import CostRow, columns_of, read_log_probs
from luce.train.batch import check_rows, collate
from luce.types import Batch, CostFunction, Pairs, Responses, Unpaired

DType: TypeAlias = Literal["float32", "float64"]
Item = TypeVar("Item")


def cost(
    rows: Sequence[CostRow],
    objective: CostFunction,
    grad: bool = False,
    dtype: DType = "float64",
    running: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """The cost of each row, not divided by anything.

    Args:
        rows: of one file, as `read_log_probs` gives them for this objective.
        objective: what is computed.
        grad: whether to give gradients too.
        dtype: of the computation.
        running: running means by name (`kl` of KTO); what is not given is the mean over the rows.

    Returns:
        Per row `id`, `cost`, `margin` (before the target margin; None where there is none),
        `weight` in the mean over a batch where it is not 1, `baseline` z₀ where the objective has
        one, and with `grad` by role d cost / d log π of each token (or d cost / d reward). Of a
        list that is one for each response. Where further columns carry gradient (`kl`,
        `policy_2` …) it is by column. Of a cost of the whole batch it is the gradient of the sum.

    Raises:
        LuceError: a cost or a gradient is not finite, or the objective cannot take a row; with the
            place of the row.
    """
    kind = {"float32": torch.float32, "float64": torch.float64}[dtype]
    batch, leaves = _batch(rows, objective, kind)
    batch = _with_running(batch, rows, objective, running or {})
    costs = _of_rows(_costs(rows, objective, batch, kind), rows, objective)
    margins = _margins(rows, objective, batch)
    results: list[dict[str, Any]] = [
        {"id": row.id, "cost": value + 0.0, "margin": margin}  # -0.0 reads as an error
        for row, value, margin in zip(rows, costs.tolist(), margins, strict=True)
    ]
    for row, result in zip(rows, results, strict=True):
        if not math.isfinite(result["cost"]):
            raise LuceError(
                f"{row.place}: the cost is {result['cost']} in {dtype}. Are its numbers real?"
            )
    if len(weights := objective.weight(batch).tolist()) == len(rows) and set(weights) != {1.0}:
        for result, weight in zip(results, weights, strict=True):
            result["weight"] = weight
    for result in results:
        if (z0 := _baseline(objective, batch)) is not None:
            result["baseline"] = z0
    if grad:
        # each cost depends on its own row alone, so the gradient of their sum is all of theirs
        found = torch.autograd.grad(costs.sum(), list(leaves.values()), materialize_grads=True)
        for row, result, parts in zip(
            rows, results, _parts(rows, dict(zip(leaves, found, strict=True))), strict=True
        ):
            result["grad"] = parts
            if not all(math.isfinite(x) for x in _numbers(parts)):
                raise LuceError(f"{row.place}: its gradient is not finite in {dtype}.")
    return results


def run_cost(
    path: str | Path,
    objective_name: str,
    settings: Mapping[str, Any],
    grad: bool = False,
    dtype: str = "float64",
    running: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """`cost` of the rows of a file under a named objective with these parameters."""
    if dtype not in ("float32", "float64"):
        raise LuceError(f"dtype: {dtype!r} is neither float32 nor float64.")
    objective = make_objective(objective_name, settings)
    rows = read_log_probs(path, objective)
    means = {name: _mean(name, value) for name, value in (running or {}).items()}
    try:
        return cost(rows, objective, grad, dtype, means)
    except LuceError:
        raise
    except Exception as error:
        if not is_own(objective_name):
            raise
        raise RecipeError(raised(objective_name, error)) from error


def _mean(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise LuceError(f"running: {name}: {value!r} is not a finite number.")
    return float(value)


def _batch(
    rows: Sequence[CostRow], objective: CostFunction, kind: torch.dtype
) -> tuple[Batch, dict[str, Tensor]]:
    """The batch that training would make of these rows, and the values that gradients flow to."""
    given = [y for row in rows for y in row.responses]
    lengths = torch.tensor([y.tokens for y in given])
    leaves: dict[str, Tensor] = {}
    if "reward" in objective.needs:
        rewards = [y.reward for y in given]
        leaves["reward"] = torch.tensor(rewards, dtype=kind, requires_grad=True)
        responses = Responses(torch.zeros(0, dtype=kind), lengths, reward=leaves["reward"])
    else:
        columns = {
            name: torch.tensor([x for y in given for x in y.columns[name]], dtype=kind)
            for name in columns_of(objective)
        }
        for name, values in columns.items():
            if name.startswith("policy") or name == "kl":
                leaves[name] = values.requires_grad_()
        policy, reference = columns.pop("policy"), columns.pop("reference", None)
        responses = Responses(policy, lengths, reference, columns)
    groups = [group for row in rows for group in row.groups(objective.structure)]
    check_rows(groups, objective)
    return collate(responses, groups, objective.structure), leaves


def _with_running(
    batch: Batch,
    rows: Sequence[CostRow],
    objective: CostFunction,
    given: Mapping[str, float],
) -> Batch:
    """The batch with the running means that the objective asks for: given, or of these rows."""
    if not isinstance(batch, Pairs | Unpaired):
        _refuse_unknown(given, (), objective)
        return batch
    if isinstance(batch, Unpaired):
        hard = [g.label for row in rows for g in row.groups("unpaired", hard=True)]
        judged = replace(batch, desirable=torch.tensor(hard).to(batch.desirable))
        known = objective.statistics(replace(judged, mismatched=judged.response))
    else:
        judged = batch
        known = objective.statistics(judged)
    _refuse_unknown(given, tuple(known), objective)
    means = {name: values.nanmean().item() for name, values in objective.statistics(judged).items()}
    found = {name: mean for name, mean in means.items() if not math.isnan(mean)}
    return replace(batch, running=found | dict(given))


def _refuse_unknown(
    given: Mapping[str, float], known: Sequence[str], objective: CostFunction
) -> None:
    for name in given:
        if name not in known:
            remedy = did_you_mean(name, known) if known else "It has none."
            raise LuceError(f"running: {objective.name} has no running {name!r}. {remedy}")


def _costs(
    rows: Sequence[CostRow], objective: CostFunction, batch: Batch, kind: torch.dtype
) -> Tensor:
    """The cost of each group; an error names the first row that causes it."""
    try:
        return objective(batch)
    except LuceError as error:
        running = batch.running if isinstance(batch, Pairs | Unpaired) else {}
        for row in rows if objective.scope == "group" else ():
            alone, _ = _batch([row], objective, kind)
            if isinstance(alone, Pairs | Unpaired):
                alone = replace(alone, running=running)
            try:
                objective(alone)
            except LuceError as its_own:
                raise LuceError(f"{row.place}: {its_own}") from None
        raise LuceError(f"{rows[0].place.file}: {error}") from None


def _of_rows(values: Tensor, rows: Sequence[CostRow], objective: CostFunction) -> Tensor:
    """Sums over the groups of each row: two where both responses of a pair are judged alone."""
    counts = torch.tensor([len(row.groups(objective.structure)) for row in rows])
    of = torch.repeat_interleave(torch.arange(len(rows)), counts)
    return values.new_zeros(len(rows)).index_add(0, of, values)


def _margins(
    rows: Sequence[CostRow], objective: CostFunction, batch: Batch
) -> Sequence[float | None]:
    """The margin of each row: of a pair under an objective that judges single responses it is
    Ω(chosen) − Ω(rejected)."""
    if isinstance(objective, WeightedSum):
        return _margins(rows, objective.parts[0][1], batch)
    margin = getattr(objective, "margin", None)  # an objective of one's own need not have one
    if margin is None or isinstance(objective, Likelihood | ListObjective):
        return [None] * len(rows)
    with torch.no_grad():
        if isinstance(batch, Unpaired) and any(row.layout == "pair" for row in rows):
            above = margin(replace(batch, desirable=torch.ones_like(batch.desirable)))
            sides = [(1.0, -1.0) if row.layout == "pair" else (2 * row.label - 1,) for row in rows]
            signs = torch.tensor([sign for side in sides for sign in side]).to(above)
            return _of_rows(signs * above, rows, objective).tolist()
        return margin(batch).tolist()


def _baseline(objective: CostFunction, batch: Batch) -> float | None:
    """z₀ of the objective, or of the first part that has one."""
    parts = objective.parts if isinstance(objective, WeightedSum) else ((1.0, objective),)
    for _, part in parts:
        if isinstance(part, Pointwise) and part.baseline.formula(""):
            assert isinstance(batch, Pairs | Unpaired)
            return part.offset(batch)
    return None


def _parts(rows: Sequence[CostRow], gradients: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """The gradients of each row by role, and by column where there is more than one."""
    lengths = [y.tokens for row in rows for y in row.responses]
    by_column = {
        name: values.tolist() if name == "reward" else [x.tolist() for x in values.split(lengths)]
        for name, values in gradients.items()
    }
    (first, *further), numbers = by_column, iter(range(len(lengths)))
    found: list[dict[str, Any]] = []
    for row in rows:
        mine: dict[str, Any] = {}
        for role, i in zip(row.roles, numbers, strict=False):
            part = {name: values[i] for name, values in by_column.items()}
            value = part if further else part[first]
            if role == "responses":
                mine.setdefault(role, []).append(value)
            elif role != "mismatched":
                mine[role] = value
        found.append(mine)
    return found


def _numbers(parts: Any) -> list[float]:
    """Every number of nested lists and dicts."""
    if isinstance(parts, dict):
        parts = list(parts.values())
    return [x for part in parts for x in _numbers(part)] if isinstance(parts, list) else [parts]
