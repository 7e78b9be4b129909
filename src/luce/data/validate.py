"""What a row must be before it is rendered: roles in order, text where text belongs."""

from luce.data.fields import kind_of
from luce.data.ledger import RowError
from luce.data.turns import ROLES
from luce.errors import did_you_mean
from luce.types import Demonstration, Feedback, Message, Place, Preference, Ranking, Row, Text


def check_row(row: Row) -> None:
    """Raise the first fault of a row as `RowError`; its prompt, its responses, then their order."""
    try:
        if not is_running_text(row):
            check_prompt(row.prompt, row.place)
        for field, response in responses_of(row):
            check_response(response, field, row.place)
        _check_distinct(row)
    except RowError as error:
        raise error.at(row.place, row.id) from None


def is_running_text(row: Row) -> bool:
    """Whether a row is text to imitate from its beginning, without a prompt."""
    return isinstance(row, Demonstration) and row.prompt == "" and isinstance(row.completion, str)


def responses_of(row: Row) -> list[tuple[str, Text]]:
    """The responses of a row with the column each stands in."""
    match row:
        case Preference():
            return [("chosen", row.chosen), ("rejected", row.rejected)]
        case Ranking():
            return [(f"responses[{i}]", r) for i, r in enumerate(row.responses)]
        case Feedback() | Demonstration():
            return [("completion", row.completion)]
    raise TypeError(f"{type(row).__name__} is no row with responses.")


def check_prompt(prompt: Text, place: Place) -> None:
    """A prompt is text, or turns of which the last is the user's (or a tool's)."""
    if isinstance(prompt, str):
        if not prompt.strip():
            raise RowError(place, "prompt", "empty", "the prompt is empty.")
        return
    if not prompt:
        raise RowError(place, "prompt", "empty", "the list of turns is empty.")
    for i, turn in enumerate(prompt):
        _check_turn(turn, f"prompt[{i}]", place)
        if turn["role"] in ("system", "developer") and i:
            raise RowError(place, f"prompt[{i}].role", "role", "a system turn stands first, or "
                           "nowhere.")  # fmt: skip
    last = prompt[-1]
    if last["role"] not in ("user", "tool"):
        raise RowError(place, f"prompt[{len(prompt) - 1}].role", "role", f"the prompt ends with "
                       f"the {last['role']}'s turn; the last turn must be the user's.")  # fmt: skip
    if last["role"] == "user" and not last["content"].strip():
        raise RowError(place, f"prompt[{len(prompt) - 1}].content", "empty", "the user's last "
                       "turn is empty.")  # fmt: skip


def check_response(response: Text, field: str, place: Place) -> None:
    """A response is text, or turns that begin and end with the assistant's, none of them empty."""
    if isinstance(response, str):
        if not response.strip():
            what = "is empty" if not response else "is white space only"
            raise RowError(place, field, "empty", f"the response {what}.")
        return
    if not response:
        raise RowError(place, field, "empty", "the list of turns is empty.")
    before = ""
    for i, turn in enumerate(response):
        _check_turn(turn, f"{field}[{i}]", place)
        role = turn["role"]
        if role in ("system", "developer"):
            raise RowError(place, f"{field}[{i}].role", "role", "a system turn belongs to the "
                           "prompt.")  # fmt: skip
        if i == 0 and role != "assistant":
            raise RowError(place, f"{field}[0].role", "role", f"a response begins with the "
                           f"assistant's turn, not the {role}'s.")  # fmt: skip
        if role == before == "assistant":
            raise RowError(place, f"{field}[{i}].role", "role", "two assistant turns in a row.")
        if role == "assistant" and not turn["content"].strip() and not turn.get("tool_calls"):
            what = "is white space only" if turn["content"] else "is empty"
            raise RowError(place, f"{field}[{i}].content", "empty", f"the response {what}.")
        before = role
    if before != "assistant":
        raise RowError(place, f"{field}[{len(response) - 1}].role", "role", f"a response ends with "
                       f"the assistant's turn, not the {before}'s.")  # fmt: skip


def _check_turn(turn: Message, field: str, place: Place) -> None:
    role = turn.get("role")
    if role not in ROLES:
        raise RowError(place, f"{field}.role", "role", f"no role {role!r}. "
                       f"{did_you_mean(str(role), ROLES)}")  # fmt: skip
    if not isinstance(turn.get("content"), str):
        raise RowError(place, f"{field}.content", "type", f"text is expected, found "
                       f"{kind_of(turn.get('content'))}.")  # fmt: skip


def _check_distinct(row: Row) -> None:
    if isinstance(row, Preference) and row.chosen == row.rejected:
        raise RowError(row.place, "rejected", "identical", "the same as `chosen`.")
    if isinstance(row, Ranking) and all(r == row.responses[0] for r in row.responses):
        raise RowError(row.place, "responses", "identical", "all responses are the same.")
