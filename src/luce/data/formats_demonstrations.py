"""Formats of responses to imitate."""

from collections.abc import Mapping
from typing import Any

from luce.data.fields import required
from luce.data.formats_pairs import with_system
from luce.data.formats_pairs_peers import alpaca_prompt, write_alpaca_prompt
from luce.data.formats_unpaired import split_last
from luce.data.turns import as_list, as_turns, text, text_or_turns, turns
from luce.data.writing import prompt_turns, sharegpt, text_response
from luce.errors import DataError
from luce.types import Demonstration, Place


def read_prompt_completion(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    prompt = text_or_turns(required(record, "prompt", place), "prompt", place)
    return {
        "prompt": with_system(prompt, record, place),
        "completion": text_or_turns(required(record, "completion", place), "completion", place),
    }


def write_prompt_completion(row: Demonstration) -> dict[str, Any]:
    return {"prompt": as_list(row.prompt), "completion": as_list(row.completion)}


def _read_chat(column: str) -> Any:
    def read(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
        chat = turns(required(record, column, place), column, place)
        split_last(chat, column, place)
        # Every assistant turn of a demonstration is imitated: the prompt ends before the first.
        first = next(i for i, t in enumerate(chat) if t["role"] == "assistant")
        first = first if first else len(chat) - 1
        return {
            "prompt": with_system(chat[:first], record, place),
            "completion": chat[first:],
        }

    return read


def write_messages(row: Demonstration) -> dict[str, Any]:
    chat = (*prompt_turns(row), *as_turns(row.completion, "assistant"))
    return {"messages": as_list(chat)}


def write_sharegpt(row: Demonstration) -> dict[str, Any]:
    chat = (*prompt_turns(row), *as_turns(row.completion, "assistant"))
    return {"conversations": [sharegpt(t) for t in chat]}


def read_alpaca(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    return {
        "prompt": alpaca_prompt(record, place),
        "completion": text(required(record, "output", place), "output", place),
    }


def write_alpaca(row: Demonstration) -> dict[str, Any]:
    return {
        **write_alpaca_prompt(row, "alpaca"),
        "output": text_response(row, row.completion, "alpaca"),
    }


def read_text(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    return {"prompt": "", "completion": text(required(record, "text", place), "text", place)}


def write_text(row: Demonstration) -> dict[str, Any]:
    if row.prompt or not isinstance(row.completion, str):
        raise DataError(f"{row.place}: format text cannot hold a prompt or turns.")
    return {"text": row.completion}


FORMATS: dict[str, dict[str, Any]] = {
    "messages": {
        "structure": "demonstration",
        "needs": {"messages": "chat|response"},
        "reads": ("system",),
        "read": _read_chat("messages"),
        "write": write_messages,
        "about": "`messages`: a chat whose assistant turns are imitated",
    },
    "sharegpt": {
        "structure": "demonstration",
        "needs": {"conversations": "chat|response"},
        "reads": ("system",),
        "read": _read_chat("conversations"),
        "write": write_sharegpt,
        "about": "`conversations`: the same, from/value (LLaMA-Factory, ShareGPT)",
    },
    "prompt_completion": {
        "structure": "demonstration",
        "needs": {"prompt": "text|chat|turn", "completion": "text|response|turn|chat"},
        "reads": ("system",),
        "read": read_prompt_completion,
        "write": write_prompt_completion,
        "about": "`prompt`, `completion`: text or turns",
    },
    "alpaca": {
        "structure": "demonstration",
        "needs": {"instruction": "text", "output": "text"},
        "reads": ("system", "input", "history"),
        "read": read_alpaca,
        "write": write_alpaca,
        "about": "`instruction`, `input`, `output` (alpaca; AlpacaEval's model outputs)",
    },
    "text": {
        "structure": "demonstration",
        "needs": {"text": "text|hh"},
        "read": read_text,
        "write": write_text,
        "about": "`text`: running text, imitated from its beginning",
    },
}
