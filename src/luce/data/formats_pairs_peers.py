"""Formats of judged pairs as other projects spell them."""

from collections.abc import Mapping
from typing import Any

from luce.data.fields import PAIR_COLUMNS, judged, kind_of, number, optional, required
from luce.data.formats_pairs import same_type, split_chats, with_system
from luce.data.ledger import RowError
from luce.data.turns import as_list, as_turns, text, text_or_turns, turn, turns
from luce.data.writing import one_turn, prompt_turns, sharegpt, text_prompt, text_response
from luce.types import Message, Place, Preference, Text


def alpaca_prompt(record: Mapping[str, Any], place: Place) -> Text:
    """`instruction`, then `input` on the next line, after the turns of `history`."""
    prompt = text(required(record, "instruction", place), "instruction", place)
    more = optional(record, "input")
    if more is not None:
        prompt = f"{prompt}\n{text(more, 'input', place)}" if prompt else text(more, "input", place)
    history = optional(record, "history")
    if not history:
        return with_system(prompt, record, place)
    past: list[Message] = []
    for i, exchange in enumerate(history):
        if not isinstance(exchange, list | tuple) or len(exchange) != 2:
            raise RowError(place, f"history[{i}]", "type", "a pair of texts is expected.")
        for role, said in zip(("user", "assistant"), exchange, strict=True):
            past.append({"role": role, "content": text(said, f"history[{i}]", place)})
    return with_system((*past, {"role": "user", "content": prompt}), record, place)


def write_alpaca_prompt(row: Any, format: str) -> dict[str, Any]:
    found = text_prompt(row, format)
    record: dict[str, Any] = {"instruction": found["prompt"], "input": ""}
    return {**record, "system": found["system"]} if "system" in found else record


def _responses(record: Mapping[str, Any], names: tuple[str, str], place: Place) -> dict[str, Any]:
    raw = [required(record, name, place) for name in names]
    same_type(raw[0], raw[1], place)
    chosen, rejected = (text_or_turns(v, name, place) for v, name in zip(raw, names, strict=True))
    return {"chosen": chosen, "rejected": rejected, **judged(record, place)}


def _read_text_pairs(prompt_column: str, chosen: str, rejected: str) -> Any:
    def read(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
        prompt = text(required(record, prompt_column, place), prompt_column, place)
        return {
            "prompt": with_system(prompt, record, place),
            **_responses(record, (chosen, rejected), place),
        }

    return read


def _write_text_pairs(format: str, prompt_column: str, chosen: str, rejected: str) -> Any:
    def write(row: Preference) -> dict[str, Any]:
        found = text_prompt(row, format)
        return {
            **({"system": found["system"]} if "system" in found else {}),
            prompt_column: found["prompt"],
            chosen: text_response(row, row.chosen, format),
            rejected: text_response(row, row.rejected, format),
        }

    return write


def read_alpaca(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    return {
        "prompt": alpaca_prompt(record, place),
        **_responses(record, ("chosen", "rejected"), place),
    }


def write_alpaca(row: Preference) -> dict[str, Any]:
    return {
        **write_alpaca_prompt(row, "alpaca_pairs"),
        "chosen": text_response(row, row.chosen, "alpaca_pairs"),
        "rejected": text_response(row, row.rejected, "alpaca_pairs"),
    }


def read_alpaca_outputs(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    both = required(record, "output", place)
    if not isinstance(both, list | tuple) or len(both) != 2:
        raise RowError(place, "output", "type", f"[chosen, rejected] is expected, found "
                       f"{kind_of(both)}.")  # fmt: skip
    return {
        "prompt": alpaca_prompt(record, place),
        "chosen": text(both[0], "output[0]", place),
        "rejected": text(both[1], "output[1]", place),
        **judged(record, place),
    }


def write_alpaca_outputs(row: Preference) -> dict[str, Any]:
    record = write_alpaca(row)
    both = [record.pop("chosen"), record.pop("rejected")]
    return {**record, "output": both}


def _read_turn_pairs(prompt_column: str) -> Any:
    def read(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
        prompt = turns(required(record, prompt_column, place), prompt_column, place)
        return {
            "prompt": with_system(prompt, record, place),
            **_responses(record, ("chosen", "rejected"), place),
        }

    return read


def write_sharegpt(row: Preference) -> dict[str, Any]:
    return {
        "conversations": [sharegpt(t) for t in prompt_turns(row)],
        "chosen": sharegpt(one_turn(row, row.chosen, "sharegpt_pairs")),
        "rejected": sharegpt(one_turn(row, row.rejected, "sharegpt_pairs")),
    }


def write_messages(row: Preference) -> dict[str, Any]:
    return {
        "messages": as_list(prompt_turns(row)),
        "chosen": dict(one_turn(row, row.chosen, "messages_pairs")),
        "rejected": dict(one_turn(row, row.rejected, "messages_pairs")),
    }


def read_torchtune(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    names = ("chosen_conversations", "rejected_conversations")
    chosen, rejected = (turns(required(record, n, place), n, place) for n in names)
    found = split_chats(chosen, rejected, place)
    found["prompt"] = with_system(found["prompt"], record, place)
    return {**found, **judged(record, place)}


def write_torchtune(row: Preference) -> dict[str, Any]:
    prompt = prompt_turns(row)
    return {
        "chosen_conversations": as_list((*prompt, *as_turns(row.chosen, "assistant"))),
        "rejected_conversations": as_list((*prompt, *as_turns(row.rejected, "assistant"))),
    }


def read_swift(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    chat = turns(required(record, "messages", place), "messages", place)
    if chat[-1]["role"] != "assistant":
        raise RowError(place, "messages", "role", "the last turn is the chosen answer; it must be "
                       f"the assistant's, not the {chat[-1]['role']}'s.")  # fmt: skip
    rejected = text(required(record, "rejected_response", place), "rejected_response", place)
    return {
        "prompt": with_system(chat[:-1], record, place),
        "chosen": chat[-1:],
        "rejected": (turn({"role": "assistant", "content": rejected}, "rejected_response", place),),
        **judged(record, place),
    }


def write_swift(row: Preference) -> dict[str, Any]:
    chosen = one_turn(row, row.chosen, "swift_pairs")
    return {
        "messages": as_list((*prompt_turns(row), chosen)),
        "rejected_response": text_response(row, row.rejected, "swift_pairs"),
    }


def read_alpaca_eval(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """`preference` runs from 1 (output_1 wins) over 1.5 (tie) to 2 (output_2 wins)."""
    outputs = [text(required(record, n, place), n, place) for n in ("output_1", "output_2")]
    second_wins = number(required(record, "preference", place), "preference", place, 1.0, 2.0) - 1
    if second_wins > 0.5:
        outputs.reverse()
    extra = {k: v for k, v in record.items() if k not in _ALPACA_EVAL}
    extra["chosen_is"] = "output_2" if second_wins > 0.5 else "output_1"
    return {
        "prompt": alpaca_prompt(record, place),
        "chosen": outputs[0],
        "rejected": outputs[1],
        "label": max(second_wins, 1 - second_wins),
        "extra": extra,
    }


def write_alpaca_eval(row: Preference) -> dict[str, Any]:
    record = write_alpaca_prompt(row, "alpaca_eval_pairs")
    sides = [text_response(row, r, "alpaca_eval_pairs") for r in (row.chosen, row.rejected)]
    swapped = row.extra.get("chosen_is") == "output_2"
    first, second = reversed(sides) if swapped else sides
    preference = 1 + row.label if swapped else 2 - row.label
    return {**record, "output_1": first, "output_2": second, "preference": preference}


def read_shp(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    a, b = (text(required(record, f"human_ref_{x}", place), f"human_ref_{x}", place) for x in "AB")
    a_wins = number(required(record, "labels", place), "labels", place, 0.0, 1.0)
    chosen, rejected = (a, b) if a_wins >= 0.5 else (b, a)
    prompt = text(required(record, "history", place), "history", place)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **judged(record, place)}


def write_shp(row: Preference) -> dict[str, Any]:
    found = _write_text_pairs("shp", "history", "human_ref_A", "human_ref_B")(row)
    return {**found, "labels": 1}


_JUDGED = (*PAIR_COLUMNS, "system")
_ALPACA_EVAL = (
    "instruction", "input", "history", "output_1", "output_2", "preference", "chosen_is", "id",
    "weight", "annotator", "source", "tools", "chat_template_kwargs", "system", "label",
)  # fmt: skip


def _text_pairs(name: str, prompt: str, chosen: str, rejected: str, about: str) -> dict[str, Any]:
    return {
        "structure": "pair",
        "needs": {prompt: "text", chosen: "text", rejected: "text"},
        "reads": _JUDGED,
        "read": _read_text_pairs(prompt, chosen, rejected),
        "write": _write_text_pairs(name, prompt, chosen, rejected),
        "about": about,
    }


FORMATS: dict[str, dict[str, Any]] = {
    "alpaca_pairs": {
        "structure": "pair",
        "needs": {"instruction": "text", "chosen": "text", "rejected": "text"},
        "reads": (*_JUDGED, "input", "history"),
        "read": read_alpaca,
        "write": write_alpaca,
        "about": "`instruction`, `input`, `chosen`, `rejected` (LLaMA-Factory, alpaca)",
    },
    "alpaca_output_pairs": {
        "structure": "pair",
        "needs": {"instruction": "text", "output": "texts"},
        "reads": (*_JUDGED, "input", "history"),
        "read": read_alpaca_outputs,
        "write": write_alpaca_outputs,
        "about": "`instruction`, `output: [chosen, rejected]` (LLaMA-Factory, before 2024)",
    },
    "sharegpt_pairs": {
        "structure": "pair",
        "needs": {"conversations": "chat", "chosen": "turn", "rejected": "turn"},
        "reads": _JUDGED,
        "read": _read_turn_pairs("conversations"),
        "write": write_sharegpt,
        "about": "`conversations` and one turn each, from/value (LLaMA-Factory, sharegpt)",
    },
    "messages_pairs": {
        "structure": "pair",
        "needs": {
            "messages": "chat", "chosen": "turn|response|text", "rejected": "turn|response|text",
        },
        "reads": _JUDGED,
        "read": _read_turn_pairs("messages"),
        "write": write_messages,
        "about": "`messages` and one turn each (axolotl chat_template)",
    },
    "argilla_pairs": _text_pairs(
        "argilla_pairs", "instruction", "chosen_response", "rejected_response",
        "`instruction`, `chosen_response`, `rejected_response` (axolotl argilla)",
    ),
    "prompt_response_pairs": _text_pairs(
        "prompt_response_pairs", "prompt", "chosen_response", "rejected_response",
        "`prompt`, `chosen_response`, `rejected_response`",
    ),
    "question_pairs": _text_pairs(
        "question_pairs", "question", "chosen", "rejected",
        "`system`, `question`, `chosen`, `rejected` (axolotl intel)",
    ),
    "input_pairs": _text_pairs(
        "input_pairs", "input", "chosen", "rejected",
        "`system`, `input`, `chosen`, `rejected` (axolotl icr)",
    ),
    "stack_pairs": _text_pairs(
        "stack_pairs", "question", "response_j", "response_k",
        "`question`, `response_j` (better), `response_k` (stack-exchange-paired)",
    ),
    "torchtune_pairs": {
        "structure": "pair",
        "needs": {"chosen_conversations": "chat", "rejected_conversations": "chat"},
        "reads": _JUDGED,
        "read": read_torchtune,
        "write": write_torchtune,
        "about": "full chats in `chosen_conversations`, `rejected_conversations` (torchtune)",
    },
    "swift_pairs": {
        "structure": "pair",
        "needs": {"messages": "chat", "rejected_response": "text"},
        "reads": _JUDGED,
        "read": read_swift,
        "write": write_swift,
        "about": "`messages` up to the chosen answer, and `rejected_response` (ms-swift)",
    },
    "alpaca_eval_pairs": {
        "structure": "pair",
        "needs": {
            "instruction": "text", "output_1": "text", "output_2": "text",
            "preference": "number|text",
        },
        "reads": ("input", "history", "system"),
        "read": read_alpaca_eval,
        "write": write_alpaca_eval,
        "about": "`instruction`, `output_1`, `output_2`, `preference` from 1 to 2 (AlpacaEval)",
    },
    "shp": {
        "structure": "pair",
        "needs": {
            "history": "text", "human_ref_A": "text", "human_ref_B": "text",
            "labels": "number|text",
        },
        "reads": PAIR_COLUMNS,
        "read": read_shp,
        "write": write_shp,
        "about": "`history`, `human_ref_A`, `human_ref_B`, `labels` (SHP)",
    },
}  # fmt: skip
