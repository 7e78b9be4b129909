"""Formats of judged pairs: luce's own, full chats, and the `\\n\\nHuman:` texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from luce.data.fields import PAIR_COLUMNS, judged, kind_of, optional, required
from luce.data.ledger import RowError
from luce.data.turns import (
    as_list,
    as_turns,
    common_prompt,
    hh_text,
    hh_turns,
    is_hh_text,
    text,
    text_or_turns,
    turns,
)
from luce.data.writing import prompt_turns
from luce.errors import DataError
from luce.types import Message, Place, Preference, Text


def with_system(prompt: Text, record: Mapping[str, Any], place: Place) -> Text:
    """The prompt with the row's `system` column as its first turn, where there is one."""
    system = optional(record, "system")
    if system is None:
        return prompt
    content = text(system, "system", place)
    found = as_turns(prompt, "user")
    if found and found[0]["role"] in ("system", "developer"):
        if found[0]["content"] == content:
            return prompt
        raise RowError(place, "system", "value", "differs from the system turn of the prompt.")
    return ({"role": "system", "content": content}, *found)


def same_type(chosen: Any, rejected: Any, place: Place) -> None:
    """Refuse a pair of which one side is text and the other is turns."""
    if isinstance(chosen, str) != isinstance(rejected, str) and None not in (chosen, rejected):
        raise RowError(
            place, "rejected", "type",
            f"`chosen` is {kind_of(chosen)}, but `rejected` is {kind_of(rejected)}.",
        )  # fmt: skip


def split_chats(
    chosen: Sequence[Message], rejected: Sequence[Message], place: Place
) -> dict[str, Any]:
    """prompt, chosen and rejected out of two full chats that begin alike."""
    cut = common_prompt(chosen, rejected)
    if cut == 0:
        raise RowError(place, "chosen", "turns", "the chats share no user turn at their beginning, "
                       "so there is no common prompt.")  # fmt: skip
    return {
        "prompt": tuple(chosen[:cut]),
        "chosen": tuple(chosen[cut:]),
        "rejected": tuple(rejected[cut:]),
    }


def read_pairs(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    raw_chosen, raw_rejected = (required(record, n, place) for n in ("chosen", "rejected"))
    same_type(raw_chosen, raw_rejected, place)
    raw_prompt = required(record, "prompt", place)
    prompt: Text
    if is_hh_text(raw_prompt):
        prompt = hh_turns(raw_prompt)
        # The text ends in "\n\nAssistant:", where the response goes on.
        prompt = prompt[:-1] if prompt[-1] == {"role": "assistant", "content": ""} else prompt
    else:
        prompt = text_or_turns(raw_prompt, "prompt", place)
    return {
        "prompt": with_system(prompt, record, place),
        "chosen": text_or_turns(raw_chosen, "chosen", place),
        "rejected": text_or_turns(raw_rejected, "rejected", place),
        **judged(record, place),
    }


def write_pairs(row: Preference) -> dict[str, Any]:
    return {
        "prompt": as_list(row.prompt),
        "chosen": as_list(row.chosen),
        "rejected": as_list(row.rejected),
    }


def read_full_chats(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    chosen, rejected = (turns(required(record, n, place), n, place) for n in ("chosen", "rejected"))
    found = split_chats(chosen, rejected, place)
    prompt = text_or_turns(required(record, "prompt", place), "prompt", place)
    spoken = [t["content"] for t in found["prompt"] if t["role"] == "user"]
    same = prompt in (spoken[0], spoken[-1]) if isinstance(prompt, str) else (
        tuple(found["prompt"])[-len(prompt):] == prompt
    )  # fmt: skip
    if not same:
        raise RowError(place, "prompt", "turns", "is not the beginning of the chats in `chosen` "
                       "and `rejected`.")  # fmt: skip
    return {
        **found,
        "prompt": with_system(found["prompt"], record, place),
        **judged(record, place),
    }


def write_full_chats(row: Preference) -> dict[str, Any]:
    prompt = prompt_turns(row)
    first = next((t["content"] for t in prompt if t["role"] == "user"), "")
    return {"prompt": first, **write_implicit(row)}


def read_implicit(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    chosen, rejected = (turns(required(record, n, place), n, place) for n in ("chosen", "rejected"))
    found = split_chats(chosen, rejected, place)
    found["prompt"] = with_system(found["prompt"], record, place)
    return {**found, **judged(record, place)}


def write_implicit(row: Preference) -> dict[str, Any]:
    prompt = prompt_turns(row)
    return {
        "chosen": as_list((*prompt, *as_turns(row.chosen, "assistant"))),
        "rejected": as_list((*prompt, *as_turns(row.rejected, "assistant"))),
    }


def read_hh(record: Mapping[str, Any], place: Place) -> dict[str, Any]:
    sides = []
    for name in ("chosen", "rejected"):
        dialogue = text(required(record, name, place), name, place)
        if not is_hh_text(dialogue):
            raise RowError(place, name, "turns", r"does not begin with '\n\nHuman:'.")
        sides.append(hh_turns(dialogue))
    found = split_chats(sides[0], sides[1], place)
    found["prompt"] = with_system(found["prompt"], record, place)
    return {**found, **judged(record, place)}


def write_hh(row: Preference) -> dict[str, Any]:
    prompt = prompt_turns(row)
    record = {}
    for name, side in (("chosen", row.chosen), ("rejected", row.rejected)):
        spoken = (*prompt, *as_turns(side, "assistant"))
        if any(t["role"] not in ("user", "assistant") for t in spoken):
            raise DataError(f"{row.place}: format hh holds user and assistant turns only.")
        record[name] = hh_text(spoken)
    return record


_JUDGED = (*PAIR_COLUMNS, "system")

FORMATS: dict[str, dict[str, Any]] = {
    "hh": {
        "structure": "pair",
        "needs": {"chosen": "hh", "rejected": "hh"},
        "without": ("prompt",),
        "reads": _JUDGED,
        "read": read_hh,
        "write": write_hh,
        "about": r"full dialogues as text: '\n\nHuman: … \n\nAssistant: …' (HH-RLHF)",
    },
    "full_chats": {
        "structure": "pair",
        "needs": {"prompt": "text|chat", "chosen": "chat", "rejected": "chat"},
        "reads": _JUDGED,
        "read": read_full_chats,
        "write": write_full_chats,
        "about": "`prompt` beside full chats (UltraFeedback-binarized)",
    },
    "pairs": {
        "structure": "pair",
        "needs": {
            "prompt": "text|hh|chat|response|turn",
            "chosen": "text|hh|response|turn|chat",
            "rejected": "text|hh|response|turn|chat",
        },
        "reads": _JUDGED,
        "read": read_pairs,
        "write": write_pairs,
        "about": "`prompt`, `chosen`, `rejected`: each text or turns (luce's own, TRL)",
    },
    "implicit_prompt": {
        "structure": "pair",
        "needs": {"chosen": "chat", "rejected": "chat"},
        "without": ("prompt", "messages", "conversations", "completion"),
        "reads": _JUDGED,
        "read": read_implicit,
        "write": write_implicit,
        "about": "full chats in `chosen` and `rejected`; the prompt is what they share",
    },
}
