"""What floors ask of each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from luce.types.batch import PerGroup
from luce.types.packed import Packed
from luce.types.rows import Scope, Structure, Text


@runtime_checkable
class CostFunction(Protocol):
    """What the trainer asks of an objective. Tensors in, one cost per group out: no mean over the
    batch, no files, no randomness.

    `structure` says which batch it takes; `needs_reference` whether `Responses.reference` must be
    there, and `needs` everything that the batch must carry (`luce.objectives.needs`); `scope`
    whether a group's cost depends on that group alone, or on the whole global batch; `name`,
    `parameters` and `formula` what the run's manifest prints.
    """

    @property
    def structure(self) -> Structure: ...

    @property
    def needs_reference(self) -> bool: ...

    @property
    def needs(self) -> frozenset[str]: ...

    @property
    def scope(self) -> Scope: ...

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


@runtime_checkable
class BatchScorer(Scorer, Protocol):
    """A scorer that is quicker when it is asked about many prompts at once."""

    def many(self, asked: Sequence[tuple[Text, Sequence[str]]]) -> Sequence[Sequence[float]]: ...


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
