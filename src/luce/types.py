"""The nouns of the house: judged rows, tokenized groups, packed rows, and ragged responses.

Conventions, stated once. The first response of a judged pair is the chosen one. Log-probabilities
are float32 (float64 in `luce cost`) and in nats. Responses are ragged: their tokens lie back to
back, group after group, and are never padded above `luce.models`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.errors import LuceError
from luce.numerics import segment_sum

Message: TypeAlias = Mapping[str, Any]
"""One turn: `{"role": "user", "content": "…"}`, and whatever else a chat template reads."""

Text: TypeAlias = str | tuple[Message, ...]
"""A prompt or a response: plain text, or the turns of a conversation."""

Structure: TypeAlias = Literal["pair", "unpaired", "list", "demonstration"]
"""What an objective is asked about: a pair, one judged response, a ranking, or a demonstration."""


@dataclass(frozen=True)
class Place:
    """Where a row stands: a file and a line, counted from 1 (or a row number of a table)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


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
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Preference(Row):
    """A judged pair. `label` is P(chosen is preferred) in [0, 1]; `margin` is how far apart the
    annotator put the two (any unit); scores are absolute grades, where the data has them."""

    chosen: Text
    rejected: Text
    label: float = 1.0
    margin: float | None = None
    score_chosen: float | None = None
    score_rejected: float | None = None


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


@dataclass(frozen=True)
class Branch:
    """The tokens of one response after its prompt.

    Attributes:
        ids: int32 token ids; the last one is the end-of-turn token.
        scored: bool, True on the tokens whose log-probability counts; at least one is.
    """

    ids: np.ndarray
    scored: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Group:
    """A prompt, tokenized once, and its n ≥ 1 responses as branches.

    A pair is a group with n = 2 (chosen first), a ranking n = K, a demonstration n = 1. Unpaired
    feedback has n = 1, or n = 2 where the second branch is a response to *another* prompt that
    serves only to estimate the KL baseline (KTO).

    Attributes:
        prompt: int32 token ids, at least one.
        branches: the responses.
        id, place, annotator, source: of the row it came from.
        label: P(chosen preferred) of a pair; 1 or 0 of unpaired feedback.
        weight, margin: of the row; the margin is nan where it has none.
        scores: a grade per response (score_chosen, score_rejected; a ranking's scores), or ().
    """

    prompt: np.ndarray
    branches: tuple[Branch, ...]
    id: str
    place: Place
    label: float = 1.0
    weight: float = 1.0
    margin: float = float("nan")
    scores: tuple[float, ...] = ()
    annotator: str | None = None
    source: str | None = None

    @property
    def tokens(self) -> int:
        """Input tokens of the group in a packed row: the prompt once, then every branch."""
        return len(self.prompt) + sum(len(b) for b in self.branches)

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longest response."""
        return len(self.prompt) + max(len(b) for b in self.branches)


@dataclass(frozen=True)
class Span:
    """Where a group lies in a packed row: [start, start + prompt) is the prompt, the branches
    follow it back to back. `branches` counts the *input* tokens of each."""

    start: int
    prompt: int
    branches: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.start + self.prompt + sum(self.branches)


@dataclass(frozen=True)
class Packed:
    """Groups laid out in one row: each prompt once, its responses as branches after it.

    Every branch sees its prompt and itself, and nothing else; its position ids go on from the
    prompt's. Unless the row was packed with `keep_last`, the last token of a response is a target
    only and does not stand among the inputs.

    Attributes:
        input_ids, position_ids: the row.
        spans: where each group lies.
        predict: for each scored token, the index of the input token that predicts it.
        targets: the scored tokens, response after response.
        lengths: scored tokens of each response, group after group; they sum to `len(targets)`.
        ends: for each response, the index of its last *input* token (reward models read there,
            and pack with `keep_last`).
        sizes: responses of each group.
    """

    input_ids: Int[Tensor, " tokens"]
    position_ids: Int[Tensor, " tokens"]
    spans: tuple[Span, ...]
    predict: Int[Tensor, " scored"]
    targets: Int[Tensor, " scored"]
    lengths: Int[Tensor, " responses"]
    ends: Int[Tensor, " responses"]
    sizes: tuple[int, ...]

    def to(self, device: torch.device | str) -> "Packed":
        """The same row on another device."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("input_ids", "position_ids", "predict", "targets", "lengths", "ends")
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Responses:
    """Token log-probabilities of a batch of responses given their prompts: all an objective sees.

    Attributes:
        policy: log π(y_t | x, y_<t) in nats under the policy in training, response after response.
        lengths: scored tokens of each response, ≥ 1.
        reference: the same under the reference policy, if there is one.
        columns: further per-token values that some objectives need (`kl`, `sum_p2` …).
        reward: a grade r(x, y) per response; a reward model gives it instead of log-probs.
    """

    policy: Float[Tensor, " tokens"]
    lengths: Int[Tensor, " responses"]
    reference: Float[Tensor, " tokens"] | None = None
    columns: Mapping[str, Float[Tensor, " tokens"]] = field(default_factory=dict)
    reward: Float[Tensor, " responses"] | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def length(self) -> Float[Tensor, " responses"]:
        """|y| in tokens, in the dtype of the log-probabilities."""
        return self.lengths.to(self.policy.dtype)

    @property
    def log_prob(self) -> Float[Tensor, " responses"]:
        """log π(y|x), nats."""
        return segment_sum(self.policy, self.lengths)

    @property
    def reference_log_prob(self) -> Float[Tensor, " responses"]:
        """log π_ref(y|x), nats; an error where the batch has no reference."""
        if self.reference is None:
            raise LuceError(
                "This score compares the policy with a reference policy, but the batch has no "
                "reference log-probabilities. Set `reference:` in the recipe, or use a "
                "reference-free score such as mean_log_prob."
            )
        return segment_sum(self.reference, self.lengths)

    def take(self, index: Int[Tensor, " n"]) -> "Responses":
        """The responses with these numbers, in this order."""
        starts = torch.cumsum(self.lengths, 0) - self.lengths
        lengths = self.lengths[index]
        within = torch.arange(int(lengths.sum()), device=lengths.device)
        offsets = torch.cumsum(lengths, 0) - lengths
        tokens = within + torch.repeat_interleave(starts[index] - offsets, lengths)
        return Responses(
            policy=self.policy[tokens] if len(self.policy) else self.policy,
            lengths=lengths,
            reference=None if self.reference is None else self.reference[tokens],
            columns={name: column[tokens] for name, column in self.columns.items()},
            reward=None if self.reward is None else self.reward[index],
        )


PerGroup: TypeAlias = Float[Tensor, " groups"]


@dataclass(frozen=True)
class Pairs:
    """A batch of judged pairs.

    Attributes:
        chosen, rejected: responses, pair by pair.
        label: P(chosen preferred) of each; None means 1 throughout.
        margin: the annotator's margin of each pair, where the data has one (nan elsewhere).
        score_chosen, score_rejected: absolute grades, where the data has them (nan elsewhere).
    """

    chosen: Responses
    rejected: Responses
    label: PerGroup | None = None
    margin: PerGroup | None = None
    score_chosen: PerGroup | None = None
    score_rejected: PerGroup | None = None


@dataclass(frozen=True)
class Unpaired:
    """A batch of responses judged one by one.

    Attributes:
        response: the judged responses.
        desirable: 1 where the response is desirable, 0 where it is not.
        mismatched: for each prompt, somebody else's response: the KL baseline is estimated on it.
        running: running statistics by name, as the trainer keeps them (`kl` for KTO).
    """

    response: Responses
    desirable: PerGroup
    mismatched: Responses | None = None
    running: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Lists:
    """A batch of rankings: list i has the next `sizes[i]` responses; higher `scores` are better."""

    responses: Responses
    sizes: Int[Tensor, " groups"]
    scores: Float[Tensor, " responses"]


@dataclass(frozen=True)
class Demonstrations:
    """A batch of responses to imitate."""

    response: Responses


Batch: TypeAlias = Pairs | Unpaired | Lists | Demonstrations


@runtime_checkable
class CostFunction(Protocol):
    """What the trainer asks of an objective. Tensors in, one cost per group out: no mean over the
    batch, no files, no randomness.

    `structure` says which batch it takes; `needs_reference` whether `Responses.reference` must be
    there; `name`, `parameters` and `formula` what the run's manifest prints.
    """

    @property
    def structure(self) -> Structure: ...

    @property
    def needs_reference(self) -> bool: ...

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, Any]: ...

    @property
    def formula(self) -> str: ...

    def __call__(self, batch: Any) -> PerGroup:
        """The cost of each group, in nats where the objective has a unit."""
        ...

    def weight(self, batch: Any) -> PerGroup:
        """How much each group counts in the mean: 1 for most, tokens for a token-mean."""
        ...

    def metrics(self, batch: Any) -> Mapping[str, PerGroup]:
        """Values to report per group (`rewards/chosen` …), without gradient; nan = does not
        apply to this group, and is left out of the mean."""
        ...

    def statistics(self, batch: Any) -> Mapping[str, PerGroup]:
        """Per-group values whose running mean the objective wants back in `batch.running`."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A distribution over responses. Nothing above `luce.models` sees logits or a vocabulary."""

    def log_probs(self, packed: Packed) -> Float[Tensor, " scored"]:
        """log π of each scored token, float32 nats, response after response."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Grades responses: (prompt, responses) -> one reward each; only differences mean anything."""

    def __call__(self, prompt: Text, responses: Sequence[str]) -> Sequence[float]: ...


@dataclass(frozen=True)
class Comparison:
    """Two responses to one prompt, not yet judged."""

    prompt: Text
    a: str
    b: str

    def swap(self) -> "Comparison":
        """The same comparison in the other order."""
        return Comparison(self.prompt, self.b, self.a)


@runtime_checkable
class Annotator(Protocol):
    """Prefers: comparisons -> P(a ≻ b) of each, in [0, 1]. A person, a judge, a reward model and a
    simulated, biased annotator all fit."""

    def __call__(self, comparisons: Sequence[Comparison]) -> Sequence[float]: ...
