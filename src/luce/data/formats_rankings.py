"""Formats of n responses to one prompt, scored or ranked."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from luce.data.fields import kind_of, number, optional, required
from luce.data.formats_pairs import with_system
from luce.data.ledger import RowError
from luce.data.turns import as_list, text, text_or_turns
from luce.data.writing import one_turn, prompt_turns, ranks, text_prompt, text_response
from luce.types import Place, Ranking, Text

_NUMBERED = re.compile(r"response_(\d+)")


def _list(value: Any, field: str, place: Place) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise RowError(place, field, "type", f"a list is expected, found {kind_of(value)}.")
    return value


def ranking(
    record: Mapping[str, Any], prompt: Text, responses: Sequence[Text], scores: Sequence[float],
    fields: tuple[str, str], place: Place,
) -> dict[str, Any]:  # fmt: skip
    """The fields of a ranking; as many scores as responses, and two at least."""
    if len(responses) != len(scores):
        raise RowError(place, fields[1], "value", f"{len(responses)} {fields[0]}, but "
                       f"{len(scores)} {fields[1]}.")  # fmt: skip
    if len(responses) < 2:
        raise RowError(place, fields[0], "value", f"{len(responses)} response; a ranking has two "
                       "or more.")  # fmt: skip
    return {
        "prompt": with_system(prompt, record, place),
        "responses": tuple(responses),
        "scores": tuple(scores),
    }


def read_lists(responses: str, grades: str, sign: float) -> Any:
    """A reader of parallel lists: responses, and numbers of which higher (sign 1) or lower
    (sign -1) is better."""

    def read(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
        prompt = text_or_turns(required(record, "prompt", place), "prompt", place)
        answers = [
            text_or_turns(v, f"{responses}[{i}]", place)
            for i, v in enumerate(_list(required(record, responses, place), responses, place))
        ]
        scores = [
            sign * number(v, f"{grades}[{i}]", place)
            for i, v in enumerate(_list(required(record, grades, place), grades, place))
        ]
        return ranking(record, prompt, answers, scores, (responses, grades), place)

    return read


def _write_lists(responses: str, grades: str, of: Callable[[tuple[float, ...]], list[Any]]) -> Any:
    def write(row: Ranking) -> dict[str, Any]:
        return {
            "prompt": as_list(row.prompt),
            responses: [as_list(r) for r in row.responses],
            grades: of(row.scores),
        }

    return write


def read_objects(prompt: str, items: str, answer: str, grade: str, sign: float) -> Any:
    """A reader of a list of objects with a response and a grade each."""

    def read(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
        asked = text_or_turns(required(record, prompt, place), prompt, place)
        answers, scores = [], []
        for i, item in enumerate(_list(required(record, items, place), items, place)):
            field = f"{items}[{i}]"
            if not isinstance(item, Mapping):
                raise RowError(place, field, "type", f"an object is expected, found "
                               f"{kind_of(item)}.")  # fmt: skip
            for name in (answer, grade):
                if item.get(name) is None:
                    raise RowError(place, f"{field}.{name}", "missing", f"no `{name}` here.")
            answers.append(text_or_turns(item[answer], f"{field}.{answer}", place))
            scores.append(sign * number(item[grade], f"{field}.{grade}", place))
        return ranking(record, asked, answers, scores, (items, items), place)

    return read


def _write_objects(
    format: str, prompt: str, items: str, answer: str, grade: str,
    of: Callable[[tuple[float, ...]], list[Any]], turns: bool = False,
) -> Any:  # fmt: skip
    def write(row: Ranking) -> dict[str, Any]:
        found: dict[str, Any] = {"prompt": as_list(prompt_turns(row))}
        if not turns:
            found = {**text_prompt(row, format)}
        graded = [
            {
                answer: [dict(one_turn(row, r, format))]
                if turns
                else text_response(row, r, format),
                grade: g,
            }
            for r, g in zip(row.responses, of(row.scores), strict=True)
        ]
        return {prompt: found.pop("prompt"), **found, items: graded}

    return write


def read_numbered(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """response_0, response_0_reward, response_1 …"""
    names = sorted(
        (n for n in record if _NUMBERED.fullmatch(n) and optional(record, n) is not None),
        key=lambda n: int(n.removeprefix("response_")),
    )
    answers = [text(record[n], n, place) for n in names]
    scores = [number(required(record, f"{n}_reward", place), f"{n}_reward", place) for n in names]
    prompt = text_or_turns(required(record, "prompt", place), "prompt", place)
    found = ranking(record, prompt, answers, scores, ("responses", "rewards"), place)
    unread = {k: v for k, v in record.items() if k not in (*_SHARED, "prompt")}
    found["extra"] = {
        k: v for k, v in unread.items() if not re.match(r"response_\d+(_reward)?\Z", k)
    }
    return found


def write_numbered(row: Ranking) -> dict[str, Any]:
    record: dict[str, Any] = {**text_prompt(row, "numbered")}
    for i, (response, score) in enumerate(zip(row.responses, row.scores, strict=True)):
        record[f"response_{i}"] = text_response(row, response, "numbered")
        record[f"response_{i}_reward"] = score
    return record


def _ranks_from_zero(scores: tuple[float, ...]) -> list[int]:
    return [rank - 1 for rank in ranks(scores)]


_SHARED = (
    "id", "weight", "annotator", "source", "tools", "chat_template_kwargs", "system", "token_ids",
)  # fmt: skip
_PROMPT = "text|chat|turn"
_LISTS = "texts|list|empty"


def _lists(responses: str, grades: str, sign: float, about: str) -> dict[str, Any]:
    return {
        "structure": "list",
        "needs": {"prompt": _PROMPT, responses: _LISTS, grades: "numbers|texts"},
        "reads": ("system",),
        "read": read_lists(responses, grades, sign),
        "write": _write_lists(responses, grades, list if sign > 0 else ranks),
        "about": about,
    }


def _objects(
    name: str, prompt: str, items: str, answer: str, grade: str, sign: float, about: str
) -> dict[str, Any]:
    return {
        "structure": "list",
        "needs": {prompt: _PROMPT, items: "objects"},
        "reads": ("system",),
        "read": read_objects(prompt, items, answer, grade, sign),
        "write": _write_objects(name, prompt, items, answer, grade, list if sign > 0 else ranks),
        "about": about,
    }


FORMATS: dict[str, dict[str, Any]] = {
    "ranking": _lists("responses", "scores", 1.0,
                      "`prompt`, `responses`, `scores`: higher is better (luce's own)"),
    "ranking_ranks": _lists("responses", "ranks", -1.0,
                            "`prompt`, `responses`, `ranks`: 1 is best"),
    "ranking_rewards": _lists("responses", "rewards", 1.0,
                              "`prompt`, `responses`, `rewards` (Online-RLHF)"),
    "candidates_completions": _lists("candidates_completions", "ranks", -1.0,
        "`prompt`, `candidates_completions`, `ranks` (OpenHermesPreferences)"),
    "nectar": _objects("nectar", "prompt", "answers", "answer", "rank", -1.0,
                       "`prompt`, `answers: [{answer, rank}]` (Nectar)"),
    "ultrafeedback": _objects("ultrafeedback", "instruction", "completions", "response",
        "overall_score", 1.0, "`instruction`, `completions: [{response, overall_score}]` "
        "(UltraFeedback)"),
    "nemo_rl": {
        "structure": "list",
        "needs": {"context": "chat|text", "completions": "objects"},
        "reads": ("system",),
        "read": read_objects("context", "completions", "completion", "rank", -1.0),
        "write": _write_objects("nemo_rl", "context", "completions", "completion", "rank",
                                _ranks_from_zero, turns=True),
        "about": "`context`, `completions: [{completion, rank}]`, rank 0 is best (NeMo-RL)",
    },
    "candidates": _objects("candidates", "instruction", "candidates", "output", "score", 1.0,
                           "`instruction`, `candidates: [{output, score}]`"),
    "numbered": {
        "structure": "list",
        "needs": {"prompt": "text", "response_0": "text", "response_0_reward": "number|text"},
        "reads": ("system",),
        "read": read_numbered,
        "write": write_numbered,
        "about": "`prompt`, `response_0`, `response_0_reward`, `response_1` …",
    },
}  # fmt: skip
