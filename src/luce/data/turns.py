"""Turns of conversations: read from every spelling, split where the two answers part."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from luce.data.fields import kind_of
from luce.data.ledger import RowError
from luce.errors import did_you_mean
from luce.types import Message, Place, Text

ROLES = ("system", "developer", "user", "assistant", "tool")
SHAREGPT_ROLES = {
    "human": "user", "gpt": "assistant", "observation": "tool", "function_call": "assistant",
}  # fmt: skip
_HH_TURN = re.compile(r"\n\n(Human|Assistant):")


def is_hh_text(value: Any) -> bool:
    """Whether a text is a dialogue in the `\\n\\nHuman: … \\n\\nAssistant: …` spelling."""
    return isinstance(value, str) and bool(_HH_TURN.match(value))


def hh_turns(text: str) -> tuple[Message, ...]:
    """The turns of a `\\n\\nHuman: … \\n\\nAssistant: …` text, without white space around them.

    >>> hh_turns("\\n\\nHuman: hi\\n\\nAssistant: hello")[1]
    {'role': 'assistant', 'content': 'hello'}
    """
    parts = _HH_TURN.split(text)
    roles = ("user" if name == "Human" else "assistant" for name in parts[1::2])
    return tuple(
        {"role": role, "content": content.strip()}
        for role, content in zip(roles, parts[2::2], strict=True)
    )


def hh_text(turns: Sequence[Message]) -> str:
    """The turns in the `\\n\\nHuman: …` spelling; the inverse of `hh_turns`."""
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names[t['role']]}: {t['content']}" for t in turns)


def common_prompt(a: Sequence[Message], b: Sequence[Message]) -> int:
    """How many turns both conversations share, counted up to the last shared turn that is not the
    assistant's: there the prompt ends. Never cuts inside a turn.

    >>> user, yes, no = ({"role": "user", "content": "?"}, *({"role": "assistant", "content": c}
    ...                  for c in ("yes", "yes and no")))
    >>> common_prompt([user, yes], [user, no])
    1
    """
    shared = 0
    while shared < min(len(a), len(b)) and a[shared] == b[shared]:
        shared += 1
    while shared and a[shared - 1]["role"] not in ("user", "tool"):
        shared -= 1
    return shared


def turn(value: Any, field: str, place: Place) -> Message:
    """One turn from `{"role", "content"}` or `{"from", "value"}`.

    Text parts (`[{"type": "text", "text": …}]`) are joined; parts of another kind are refused.
    """
    if not isinstance(value, Mapping):
        raise RowError(
            place,
            field,
            "type",
            f"a turn is an object with role and content, found {kind_of(value)}.",
        )
    message = dict(value)
    if "from" in message and "role" not in message:
        spoken = message.pop("from")
        known = SHAREGPT_ROLES.get(spoken, spoken) if isinstance(spoken, str) else spoken
        message = {"role": known, **message}
        if "value" in message and "content" not in message:
            message["content"] = message.pop("value")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        # "human" spelled as a role is common, and unambiguous.
        if isinstance(role, str) and role in SHAREGPT_ROLES:
            message["role"] = SHAREGPT_ROLES[role]
        else:
            hint = did_you_mean(str(role), ROLES)
            raise RowError(place, f"{field}.role", "role", f"no role {role!r}. {hint}")
    message["content"] = _content(message, field, place)
    if message.get("tool_calls") is None:
        message.pop("tool_calls", None)
    return message


def _content(message: Mapping[str, Any], field: str, place: Place) -> str:
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return ""
    if isinstance(content, list):
        kinds = [p.get("type") if isinstance(p, Mapping) else None for p in content]
        if all(kind == "text" for kind in kinds):
            texts = [part.get("text") for part in content]
            if wrong := [text for text in texts if not isinstance(text, str)]:
                raise RowError(
                    place,
                    f"{field}.content",
                    "type",
                    f"a text part without a text, found {kind_of(wrong[0])}.",
                )
            return "".join(texts)
        raise RowError(
            place,
            f"{field}.content",
            "type",
            f"only text parts can be used, found {', '.join(map(str, kinds))}.",
        )
    if not isinstance(content, str):
        raise RowError(
            place, f"{field}.content", "type", f"text is expected, found {kind_of(content)}."
        )
    return content


def turns(value: Any, field: str, place: Place) -> tuple[Message, ...]:
    """Turns from a list of them, or from a single one."""
    if isinstance(value, Mapping):
        return (turn(value, field, place),)
    if not isinstance(value, list | tuple):
        raise RowError(
            place, field, "type", f"a list of turns is expected, found {kind_of(value)}."
        )
    if not value:
        raise RowError(place, field, "empty", "the list of turns is empty.")
    return tuple(turn(part, f"{field}[{i}]", place) for i, part in enumerate(value))


def text(value: Any, field: str, place: Place) -> str:
    """Text, or an error that says what was found instead."""
    if isinstance(value, str):
        return value
    raise RowError(place, field, "type", f"text is expected, found {kind_of(value)}.")


def text_or_turns(value: Any, field: str, place: Place) -> Text:
    """Text as it stands; a list of turns, or one turn, as a tuple of turns."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | Mapping):
        return turns(value, field, place)
    raise RowError(
        place, field, "type", f"text or a list of turns is expected, found {kind_of(value)}."
    )


def plain(turn: Message) -> bool:
    """Whether a turn is nothing but role and content."""
    return set(turn) == {"role", "content"}


def as_list(value: Text) -> Any:
    """A text as it stands, turns as a list of dictionaries: what JSON can hold."""
    return value if isinstance(value, str) else [dict(turn) for turn in value]


def as_turns(value: Text, role: str) -> tuple[Message, ...]:
    """A text as one turn of this role; turns as they stand."""
    return ({"role": role, "content": value},) if isinstance(value, str) else value
