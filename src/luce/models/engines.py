"""One interface of engines: token ids of prompts in, samples out, each stamped with the weights
that drew it. This process is one (`LocalEngine`); servers are in `luce.models.engine_server`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from luce.models.engine import Sample, SamplingSettings, generate
from luce.models.policy import CausalPolicy


@dataclass(frozen=True)
class Weights:
    """The weights that are to sample.

    Attributes:
        path: their folder, or a hub name, as a server sees it too.
        version: their hash.
        adapter: the folder holds an adapter of a base that the server has.
    """

    path: str
    version: str
    adapter: bool = False


@dataclass(frozen=True)
class Stamped:
    """A sample, and the version of the weights that drew it."""

    sample: Sample
    version: str


@runtime_checkable
class Engine(Protocol):
    """What draws samples."""

    @property
    def version(self) -> str:
        """Of the weights that are asked for; a sample's own stamp says which were used."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        settings: SamplingSettings,
        *,
        seed: int,
        stop_ids: Sequence[int],
    ) -> list[list[Stamped]]:
        """n samples for each prompt, in their order; see `luce.models.engine.generate`.

        A sample's `log_probs` are of the policy itself at temperature 1, and `ended` says whether
        its last token is one of `stop_ids`.
        """
        ...


@dataclass(frozen=True)
class LocalEngine:
    """A policy in this process.

    Attributes:
        policy: what samples.
        version: the hash of its weights.
    """

    policy: CausalPolicy
    version: str

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        settings: SamplingSettings,
        *,
        seed: int,
        stop_ids: Sequence[int],
    ) -> list[list[Stamped]]:
        """See `Engine`."""
        found = generate(self.policy, prompts, n, settings, seed=seed, stop_ids=stop_ids)
        return [[Stamped(sample, self.version) for sample in row] for row in found]
