"""Judged rows, as a data file holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Message: TypeAlias = Mapping[str, Any]
"""One turn: `{"role": "user", "content": "…"}`, and whatever else a chat template reads."""

Text: TypeAlias = str | tuple[Message, ...]
"""A prompt or a response: plain text, or the turns of a conversation."""

Structure: TypeAlias = Literal["pair", "unpaired", "list", "demonstration"]
"""What an objective is asked about: a pair, one judged response, a ranking, or a demonstration."""


Scope: TypeAlias = Literal["group", "batch"]
"""What a group's cost depends on: the group alone, or every group of the global batch."""


@dataclass(frozen=True)
class Place:
    """Where a row stands: a file and a line, counted from 1 (or a row number of a table)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class TokenIds:
    """The very tokens of a row that a policy sampled, where text alone would not tell them: other
    tokens may spell the same text, and a response that was cut has no end-of-turn token.

    Attributes:
        prompt: ids of the prompt, as the policy was given them.
        responses: text of a response → its ids, end-of-turn token included where it ended.
    """

    prompt: tuple[int, ...]
    responses: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What every judged row carries.

    Attributes:
        prompt: the text or turns before the response; the last turn is the user's (or a tool's).
        place: file and line, for messages and the ledger.
        id: the row's own `id`, or file:line where it has none.
        weight: how much the row counts in the mean over the batch, > 0.
        annotator, source: who judged, and which data set of a mixture; None where not said.
        tools, chat_template_kwargs: handed to the chat template.
        token_ids: of a row that was sampled; None: the text is tokenized.
        extra: columns luce does not read, kept for export.
    """

    prompt: Text
    place: Place
    id: str
    weight: float = 1.0
    annotator: str | None = None
    source: str | None = None
    tools: Sequence[Any] | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    token_ids: TokenIds | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Preference(Row):
    """A judged pair. `label` is P(chosen is preferred) in [0, 1]; `margin` is how far apart the
    annotator put the two (any unit); scores are absolute grades, where the data has them;
    `reference_sample` says which of the two was sampled from the reference policy, if one was;
    ratings are numbers by dimension (helpfulness, correctness, …)."""

    chosen: Text
    rejected: Text
    label: float = 1.0
    margin: float | None = None
    score_chosen: float | None = None
    score_rejected: float | None = None
    reference_sample: Literal["chosen", "rejected"] | None = None
    ratings_chosen: Mapping[str, float] | None = None
    ratings_rejected: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Feedback(Row):
    """One response, judged by itself: desirable (True) or not. Unpaired data, as KTO reads."""

    completion: Text
    label: bool


@dataclass(frozen=True, kw_only=True)
class Ranking(Row):
    """n ≥ 2 responses to one prompt with a score each; higher is better, equal scores are ties."""

    responses: tuple[Text, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Demonstration(Row):
    """A response to imitate (SFT)."""

    completion: Text
