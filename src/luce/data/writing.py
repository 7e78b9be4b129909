"""What the writers of formats share: how a prompt and a response fit into narrower columns."""

from typing import Any

from luce.data.turns import as_turns, plain
from luce.errors import DataError
from luce.types import Message, Row, Text


def text_prompt(row: Row, format: str) -> dict[str, str]:
    """`{"prompt": …}`, and `"system"` where the prompt has a system turn; for text columns."""
    if isinstance(row.prompt, str):
        return {"prompt": row.prompt}
    turns = list(row.prompt)
    found: dict[str, str] = {}
    if turns and turns[0]["role"] == "system" and plain(turns[0]):
        found["system"] = turns.pop(0)["content"]
    if len(turns) != 1 or turns[0]["role"] != "user" or not plain(turns[0]):
        raise _cannot(row, format, f"a prompt of {len(row.prompt)} turns")
    return {**found, "prompt": turns[0]["content"]}


def text_response(row: Row, response: Text, format: str) -> str:
    """The response as text."""
    if isinstance(response, str):
        return response
    if len(response) != 1 or not plain(response[0]):
        raise _cannot(row, format, f"a response of {len(response)} turns, or with tool calls")
    return response[0]["content"]


def one_turn(row: Row, response: Text, format: str) -> Message:
    """The response as a single assistant turn."""
    turns = as_turns(response, "assistant")
    if len(turns) != 1:
        raise _cannot(row, format, f"a response of {len(turns)} turns")
    return turns[0]


def prompt_turns(row: Row) -> tuple[Message, ...]:
    """The prompt as turns; a text is one user turn."""
    return as_turns(row.prompt, "user")


def sharegpt(turn: Message) -> dict[str, Any]:
    """A turn as `{"from", "value"}`."""
    names = {"user": "human", "assistant": "gpt", "tool": "observation"}
    rest = {k: v for k, v in turn.items() if k not in ("role", "content")}
    return {"from": names.get(turn["role"], turn["role"]), "value": turn["content"], **rest}


def ranks(scores: tuple[float, ...]) -> list[int]:
    """The rank of each score, 1 = best; equal scores share a rank.

    >>> ranks((0.5, 2.0, 0.5))
    [2, 1, 2]
    """
    return [1 + sum(other > score for other in scores) for score in scores]


def _cannot(row: Row, format: str, what: str) -> DataError:
    return DataError(f"{row.place}: format {format} cannot hold {what}. Use pairs or messages.")
