"""Formats of responses judged one by one: desirable or not."""

from collections.abc import Mapping
from typing import Any

from luce.data.fields import desirable, required
from luce.data.formats_pairs import with_system
from luce.data.formats_pairs_peers import alpaca_prompt, write_alpaca_prompt
from luce.data.ledger import RowError
from luce.data.turns import as_list, as_turns, text, text_or_turns, turns
from luce.data.writing import prompt_turns, sharegpt, text_response
from luce.types import Feedback, Message, Place


def split_last(chat: tuple[Message, ...], field: str, place: Place) -> dict[str, Any]:
    """A chat as the prompt and its last turn, which must be the assistant's."""
    if chat[-1]["role"] != "assistant":
        raise RowError(
            place,
            f"{field}[{len(chat) - 1}].role",
            "role",
            "the last turn is the response; it must be the assistant's, not the "
            f"{chat[-1]['role']}'s.",
        )
    if len(chat) == 1:
        raise RowError(place, field, "turns", "one turn only: there is no prompt before it.")
    return {"prompt": chat[:-1], "completion": chat[-1:]}


def read_unpaired(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    prompt = text_or_turns(required(record, "prompt", place), "prompt", place)
    return {
        "prompt": with_system(prompt, record, place),
        "completion": text_or_turns(required(record, "completion", place), "completion", place),
        "label": desirable(required(record, "label", place), "label", place),
    }


def write_unpaired(row: Feedback) -> dict[str, Any]:
    return {
        "prompt": as_list(row.prompt),
        "completion": as_list(row.completion),
        "label": row.label,
    }


def read_chat(column: str, label: str) -> Any:
    """A reader of chats whose last turn is judged by the label column."""

    def read(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
        chat = turns(required(record, column, place), column, place)
        found = split_last(chat, column, place)
        found["prompt"] = with_system(found["prompt"], record, place)
        return {**found, "label": desirable(required(record, label, place), label, place)}

    return read


def write_messages(row: Feedback) -> dict[str, Any]:
    chat = (*prompt_turns(row), *as_turns(row.completion, "assistant"))
    return {"messages": as_list(chat), "label": row.label}


def write_messages_kto(row: Feedback) -> dict[str, Any]:
    return {"messages": write_messages(row)["messages"], "kto_tag": row.label}


def write_sharegpt_kto(row: Feedback) -> dict[str, Any]:
    chat = (*prompt_turns(row), *as_turns(row.completion, "assistant"))
    return {"conversations": [sharegpt(t) for t in chat], "kto_tag": row.label}


def read_alpaca_kto(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    return {
        "prompt": alpaca_prompt(record, place),
        "completion": text(required(record, "output", place), "output", place),
        "label": desirable(required(record, "kto_tag", place), "kto_tag", place),
    }


def write_alpaca_kto(row: Feedback) -> dict[str, Any]:
    return {
        **write_alpaca_prompt(row, "alpaca_kto"),
        "output": text_response(row, row.completion, "alpaca_kto"),
        "kto_tag": row.label,
    }


def _read_text(prompt: str) -> Any:
    def read(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
        asked = text(required(record, prompt, place), prompt, place)
        return {
            "prompt": with_system(asked, record, place),
            "completion": text(required(record, "completion", place), "completion", place),
            "label": desirable(required(record, "label", place), "label", place),
        }

    return read


def _write_text(format: str, prompt: str) -> Any:
    def write(row: Feedback) -> dict[str, Any]:
        found = write_alpaca_prompt(row, format)
        asked = found.pop("instruction")
        del found["input"]
        answer = text_response(row, row.completion, format)
        return {**found, prompt: asked, "completion": answer, "label": row.label}

    return write


_LABEL = "bool|number|text"

FORMATS: dict[str, dict[str, Any]] = {
    "unpaired": {
        "structure": "unpaired",
        "needs": {
            "prompt": "text|chat|turn|response",
            "completion": "text|response|turn|chat",
            "label": _LABEL,
        },
        "reads": ("system",),
        "read": read_unpaired,
        "write": write_unpaired,
        "about": "`prompt`, `completion`, `label` (luce's own, TRL)",
    },
    "alpaca_kto": {
        "structure": "unpaired",
        "needs": {"instruction": "text", "output": "text", "kto_tag": _LABEL},
        "reads": ("system", "input", "history"),
        "read": read_alpaca_kto,
        "write": write_alpaca_kto,
        "about": "`instruction`, `input`, `output`, `kto_tag` (LLaMA-Factory, alpaca)",
    },
    "sharegpt_kto": {
        "structure": "unpaired",
        "needs": {"conversations": "chat", "kto_tag": _LABEL},
        "reads": ("system",),
        "read": read_chat("conversations", "kto_tag"),
        "write": write_sharegpt_kto,
        "about": "`conversations`, `kto_tag` (LLaMA-Factory, sharegpt)",
    },
    "messages_kto": {
        "structure": "unpaired",
        "needs": {"messages": "chat", "kto_tag": _LABEL},
        "reads": ("system",),
        "read": read_chat("messages", "kto_tag"),
        "write": write_messages_kto,
        "about": "`messages`, `kto_tag` (LLaMA-Factory, OpenAI turns)",
    },
    "messages_unpaired": {
        "structure": "unpaired",
        "needs": {"messages": "chat", "label": _LABEL},
        "reads": ("system",),
        "read": read_chat("messages", "label"),
        "write": write_messages,
        "about": "`messages`, of which the last is judged by `label`",
    },
    "question_unpaired": {
        "structure": "unpaired",
        "needs": {"question": "text", "completion": "text", "label": _LABEL},
        "reads": ("system",),
        "read": _read_text("question"),
        "write": _write_text("question_unpaired", "question"),
        "about": "`system`, `question`, `completion`, `label` (axolotl kto intel)",
    },
    "instruction_unpaired": {
        "structure": "unpaired",
        "needs": {"instruction": "text", "completion": "text", "label": _LABEL},
        "reads": ("system",),
        "read": _read_text("instruction"),
        "write": _write_text("instruction_unpaired", "instruction"),
        "about": "`system`, `instruction`, `completion`, `label` (axolotl kto argilla)",
    },
}  # fmt: skip
