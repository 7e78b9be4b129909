"""Rows of given log-probabilities, as `luce cost` reads them from a jsonl file.

A row is one of

    {"id": "a", "chosen": Y, "rejected": Y, "label": 0.9, "margin": 1.0, "score_chosen": 3.0,
     "score_rejected": 1.0, "reference_sample": "chosen"}
    {"completion": Y, "label": true, "mismatched": Y}
    {"responses": [Y, Y, Y], "scores": [2.0, 1.0, 0.0]}
    {"completion": Y}

where a response Y is `{"policy": [-1.0, -3.0], "reference": [-1.0, -1.0]}`, log-probabilities in
nats, one for each token, with further columns where an objective reads them (`kl`, `sum_p2`,
`history`, `policy_2` …); for a reward model it is `{"reward": 1.2}`.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from luce.errors import DataError, did_you_mean
from luce.objectives import Mixture, WeightedSum
from luce.objectives.needs import NEEDS, TOKEN_COLUMNS
from luce.types import Branch, CostFunction, Group, Place, Structure

NUMBERS = ("margin", "score_chosen", "score_rejected")
FIELDS = (
    *("id", "chosen", "rejected", "completion", "mismatched", "responses", "scores", "label"),
    *("reference_sample", *NUMBERS),
)
IN_A_RESPONSE = ("policy", "reference", *TOKEN_COLUMNS, "policy_2", "reward")
ANNOTATOR = re.compile(r"policy_([2-9]|[1-9][0-9]+)")

Domain: TypeAlias = tuple[str, Callable[[float], bool]]
LOG_PROB: Domain = ("no log-probability, which is at most 0", lambda x: x <= 0)
DOMAINS: Mapping[str, Domain] = {
    "kl": ("no KL divergence, which is at least 0", lambda x: x >= 0),
    "sum_p2": (
        "no sum of squared probabilities, which is above 0 and at most 1",
        lambda x: 0 < x <= 1,
    ),
}
"""What a value must be, in words for one that is not; other columns hold log-probabilities."""


@dataclass(frozen=True)
class GivenResponse:
    """One response as given.

    Attributes:
        columns: per-token values by name, `policy` among them, all of one length; nothing where
            there is a reward.
        reward: of a reward model.
    """

    columns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    reward: float | None = None

    @property
    def tokens(self) -> int:
        """How many; 1 where there is a reward, which is read at one token."""
        return 1 if self.reward is not None else len(self.columns["policy"])


@dataclass(frozen=True)
class CostRow:
    """One row.

    Attributes:
        place, id: where the row stands, and what it is called (file:line without an `id`).
        layout: what the row holds, which may differ from what the objective takes.
        roles: what each response is called: chosen, rejected, completion, mismatched, responses.
        responses: in the order in which the objective's groups take them.
        label: P(chosen is preferred); 1 or 0 of unpaired feedback; 1 where the row has none.
        margin: of the row, nan where it has none.
        scores: of the two responses of a pair, or of each of a list; () where it has none.
        reference_sample: 1 where chosen was sampled from the reference, 0 where rejected was, or
            nan.
    """

    place: Place
    id: str
    layout: Structure
    roles: tuple[str, ...]
    responses: tuple[GivenResponse, ...]
    label: float = 1.0
    margin: float = math.nan
    scores: tuple[float, ...] = ()
    reference_sample: float = math.nan

    def groups(self, structure: Structure, hard: bool = False) -> list[Group]:
        """The row as training would see it under an objective of this structure: one group, or two
        where both responses of a pair are judged by themselves, the chosen one as desirable with
        probability p and the rejected one with 1 − p; `hard` makes one 1 and the other 0."""
        if self.layout == "pair" and structure == "unpaired":
            p = float(self.label >= 0.5) if hard else self.label
            half = len(self.roles) // 2
            return [self._group(half, p, ()), self._group(half, 1 - p, ())]
        scores = self.scores
        if self.layout == "pair" and structure == "list" and not scores:
            scores = (self.label, 1 - self.label)
        return [self._group(len(self.roles), self.label, scores)]

    def _group(self, n: int, label: float, scores: tuple[float, ...]) -> Group:
        return Group(
            prompt=np.zeros(0, np.int32),
            branches=(Branch(np.zeros(0, np.int32), np.zeros(0, bool)),) * n,
            id=self.id,
            place=self.place,
            label=label,
            margin=self.margin,
            scores=scores,
            reference_sample=self.reference_sample,
        )


def read_log_probs(path: str | Path, objective: CostFunction) -> list[CostRow]:
    """The rows of a jsonl file, checked for what the objective reads; errors name file:line and
    field."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a text file: {error}.") from None
    rows = [
        _row(Place(str(path), number), line, objective)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not rows:
        raise DataError(f"{path}: no rows. Give one JSON object a line.")
    without = [row for row in rows if "mismatched" not in row.roles]
    if 0 < len(without) < len(rows):
        raise DataError(
            f"{without[0].place}: no `mismatched`, which other rows have. Give every row one, or "
            "none."
        )
    return rows


def columns_of(objective: CostFunction) -> tuple[str, ...]:
    """The per-token columns that an objective reads, `policy` first."""
    if "reward" in objective.needs:
        return ()
    found = ["policy", *(["reference"] if "reference" in objective.needs else [])]
    found += [name for name in TOKEN_COLUMNS if name in objective.needs]
    if "annotators" in objective.needs:
        found += [f"policy_{i}" for i in range(2, _annotators(objective) + 1)]
    return tuple(found)


def _annotators(objective: CostFunction) -> int:
    """How many policies it compares; two where it does not say."""
    if isinstance(objective, WeightedSum):
        return max(_annotators(part) for _, part in objective.parts)
    return len(objective.weights) if isinstance(objective, Mixture) else 2


def _row(place: Place, line: str, objective: CostFunction) -> CostRow:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error}. Give one JSON object a line.") from None
    if not isinstance(record, dict):
        raise DataError(f"{place}: not a JSON object.")
    for key in record:  # other columns may stand there, but a misspelt one would be left out
        if key not in FIELDS and (near := get_close_matches(key, FIELDS, n=1, cutoff=0.8)):
            raise DataError(f"{place}: no field {key!r}. Did you mean {near[0]!r}?")
    record = {key: value for key, value in record.items() if value is not None}
    layout, roles = _layout(place, record, objective)
    name = str(record.get("id", place))
    if layout == "list":
        responses, scores = _list(place, record, objective)
        return CostRow(
            place, name, "list", ("responses",) * len(responses), responses, scores=scores
        )
    responses = tuple(_response(place, role, record[role], objective) for role in roles)
    if layout == "unpaired" and "label" not in record:
        raise DataError(f"{place}: no `label`. Unpaired feedback says true or false.")
    numbers = {key: _number(place, key, record[key]) for key in NUMBERS if key in record}
    return CostRow(
        place,
        name,
        layout,
        roles,
        responses,
        label=_label(place, record["label"], layout) if "label" in record else 1.0,
        margin=numbers.get("margin", math.nan),
        scores=_scores(place, numbers),
        reference_sample=_reference_sample(place, record.get("reference_sample")),
    )


def _layout(
    place: Place, record: Mapping[str, Any], objective: CostFunction
) -> tuple[Structure, tuple[str, ...]]:
    """What a row holds, and its responses in order; an error where the objective cannot take it."""
    structure, name = objective.structure, objective.name
    both = ("chosen", "rejected")
    if structure == "demonstration":
        if "completion" not in record and "chosen" in record:
            return structure, ("chosen",)
        return structure, _there(place, record, ("completion",), name)
    if structure == "list" and "responses" in record:
        return structure, ()
    if structure == "unpaired" and ("completion" in record or not {*both} & record.keys()):
        if "completion" not in record:
            _no_list(place, record, name, "single responses: give `completion` and `label`")
        roles = _there(place, record, ("completion",), name)
        return structure, (*roles, *(("mismatched",) if "mismatched" in record else ()))
    if structure == "list" and not {*both} & record.keys():
        raise DataError(
            f"{place}: no `responses`. A row of {name} has `responses` and `scores`, or `chosen` "
            "and `rejected`."
        )
    if not {*both} & record.keys():
        _no_list(place, record, name, "pairs: give `chosen` and `rejected`")
    _there(place, record, both, name)
    if structure == "unpaired" and "mismatched" in record:
        return "pair", ("chosen", "mismatched", "rejected", "mismatched")
    return "pair", both


def _there(
    place: Place, record: Mapping[str, Any], roles: tuple[str, ...], name: str
) -> tuple[str, ...]:
    for role in roles:
        if role not in record:
            raise DataError(f"{place}: no `{role}`. A row of {name} has {_listed(roles)}.")
    return roles


def _no_list(place: Place, record: Mapping[str, Any], name: str, wanted: str) -> None:
    if "responses" in record:
        raise DataError(
            f"{place}: a list of responses, but {name} takes {wanted}, or take an objective for "
            "lists, such as plackett_luce."
        )


def _listed(roles: Sequence[str]) -> str:
    return " and ".join(f"`{role}`" for role in roles)


def _list(
    place: Place, record: Mapping[str, Any], objective: CostFunction
) -> tuple[tuple[GivenResponse, ...], tuple[float, ...]]:
    given = record["responses"]
    if not isinstance(given, list) or len(given) < 2:
        raise DataError(f"{place}: responses: not a list of two or more responses.")
    if "scores" not in record:
        raise DataError(f"{place}: no `scores`. A row of {objective.name} grades every response.")
    scores = record["scores"]
    if not isinstance(scores, list) or len(scores) != len(given):
        raise DataError(
            f"{place}: scores: expected {len(given)} numbers, one for each response, got "
            f"{scores!r}."
        )
    responses = tuple(
        _response(place, f"responses[{i}]", y, objective) for i, y in enumerate(given)
    )
    return responses, tuple(_number(place, f"scores[{i}]", x) for i, x in enumerate(scores))


def _response(place: Place, role: str, given: Any, objective: CostFunction) -> GivenResponse:
    reward = "reward" in objective.needs
    if not isinstance(given, dict):
        wanted = ("reward",) if reward else ("policy", "reference")
        raise DataError(f"{place}: {role}: not an object with {_listed(wanted)}.")
    given = {key: value for key, value in given.items() if value is not None}
    for key in given:
        if key not in IN_A_RESPONSE and not ANNOTATOR.fullmatch(key):
            raise DataError(
                f"{place}: {role}: no field {key!r}. {did_you_mean(key, IN_A_RESPONSE)}"
            )
    if reward:
        if "reward" not in given:
            raise DataError(f"{place}: {role}.reward: missing; {objective.name} grades rewards.")
        return GivenResponse(reward=_number(place, f"{role}.reward", given["reward"]))
    wanted = columns_of(objective)
    for key in wanted:
        if key not in given:
            raise DataError(f"{place}: {role}.{key}: missing{_remedy(key, objective)}")
    columns = {
        key: _tokens(place, f"{role}.{key}", value)
        for key, value in given.items()
        if key != "reward"
    }
    for key, values in columns.items():
        if len(values) != len(columns["policy"]):
            raise DataError(
                f"{place}: {role}.{key}: {len(values)} tokens, but {role}.policy has "
                f"{len(columns['policy'])}. Both must be of the same tokens."
            )
    return GivenResponse({key: columns[key] for key in wanted})


def _remedy(key: str, objective: CostFunction) -> str:
    name = objective.name
    if key == "policy":
        return ". It lists log π of each token."
    if key == "reference":
        return (
            f"; {name} compares the policy with a reference. List log π_ref of each token, or use "
            "a reference-free objective."
        )
    if ANNOTATOR.fullmatch(key):
        return f"; {name} compares {_annotators(objective)} policies. List log π of each token."
    return f"; {name} reads {NEEDS[key].split(':')[0].split(',')[0]}. List it."


def _tokens(place: Place, path: str, given: Any) -> tuple[float, ...]:
    key = path.rpartition(".")[2]
    what, holds = DOMAINS.get(key, LOG_PROB)
    if not isinstance(given, list):
        kind = "numbers, one for each token" if key in DOMAINS else "log-probabilities"
        raise DataError(f"{place}: {path}: not a list of {kind}.")
    if not given:
        raise DataError(
            f"{place}: {path}: a response of length 0. It needs at least one token, its "
            "end-of-turn token; drop the row otherwise."
        )
    values = tuple(_number(place, f"{path}[{i}]", value) for i, value in enumerate(given))
    for i, value in enumerate(values):
        if not holds(value):
            raise DataError(f"{place}: {path}[{i}]: {value:g} is {what}.")
    return values


def _number(place: Place, path: str, value: Any) -> float:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or not abs(value) <= sys.float_info.max:  # nan is not either
        raise DataError(f"{place}: {path}: {value!r} is not a finite number.")
    return float(value)


def _label(place: Place, value: Any, layout: Structure) -> float:
    label = float(value) if isinstance(value, bool) else _number(place, "label", value)
    if layout == "unpaired" and label not in (0.0, 1.0):
        raise DataError(f"{place}: label: {value!r} is neither true nor false.")
    if not 0 <= label <= 1:
        raise DataError(
            f"{place}: label: {value!r} is no probability. It is P(chosen is preferred), 0 to 1."
        )
    return label


def _scores(place: Place, numbers: Mapping[str, float]) -> tuple[float, ...]:
    found = [key for key in ("score_chosen", "score_rejected") if key in numbers]
    if len(found) == 1:
        missing = "score_rejected" if found == ["score_chosen"] else "score_chosen"
        raise DataError(f"{place}: no `{missing}` beside `{found[0]}`. Give both, or none.")
    return tuple(numbers[key] for key in found)


def _reference_sample(place: Place, value: Any) -> float:
    if value is None:
        return math.nan
    if value not in ("chosen", "rejected"):
        raise DataError(f"{place}: reference_sample: {value!r} is neither 'chosen' nor 'rejected'.")
    return float(value == "chosen")
