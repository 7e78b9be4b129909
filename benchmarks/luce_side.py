"""luce's own step: the trainer of `luce train` on groups that it is given, weights left alone.

`Trainer.steps` does what it does in a run: rows of the step, packing, forward, objective, backward,
gradient norm, record. Only the optimizer is replaced by one that updates nothing, so that every
round sees the same weights.
"""

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

import luce
from benchmarks.cases import BETA
from benchmarks.corpora import Pair, as_group, words_tokenizer
from luce.data.pack import pack
from luce.models.load import LoraSettings
from luce.models.policy import CausalPolicy
from luce.models.products import quick_products
from luce.models.reference import ReferencePolicy, compute_reference
from luce.train.learners import PolicyLearner
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer


class Still(torch.optim.Optimizer):
    """An optimizer that leaves the weights where they are."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.0})

    def step(self, closure: Any = None) -> None:
        """Nothing."""


class LuceSide:
    """A policy and its reference in luce's trainer.

    Args:
        policy: all weights trainable, or an adapter.
        reference: None: the policy without its adapter.
        folder: for the reference's log-probabilities.
        bf16: autocast.
        lora: of a fresh adapter on the policy.
        budget: tokens of a micro-batch.
    """

    def __init__(
        self,
        policy: nn.Module,
        reference: nn.Module | None,
        folder: Path,
        bf16: bool = False,
        lora: LoraSettings | None = None,
        budget: int = TrainSettings.max_tokens_per_batch,
    ) -> None:
        self.policy = CausalPolicy(policy, words_tokenizer(), "policy", lora=lora)
        other, kind = self.policy, "base"
        if reference is not None:
            other, kind = CausalPolicy(reference, words_tokenizer(), "reference"), "path"
        if bf16:
            self.policy.autocast = other.autocast = torch.bfloat16
        identity = self.policy.hash(adapters=False) if reference is None else other.hash()
        self.reference = ReferencePolicy(kind, "reference", identity, other)
        self.folder, self.budget = folder, budget
        self._runs: dict[tuple[int, bool], Generator[dict[str, Any], None, None]] = {}

    def precompute(self, pairs: Sequence[Pair]) -> None:
        """Keeps the reference's log-probabilities of these pairs, as a run does."""
        groups = [as_group(pair) for pair in pairs]
        self.cache = compute_reference(self.reference, groups, pack, self.folder)

    def step(self, pairs: Sequence[Pair], online: bool = False, quick: bool = True) -> float:
        """Gradients of the mean loss over these pairs; returns the loss. `quick`: with the matrix
        products that `luce train` chooses."""
        key = (id(pairs), online)
        if key not in self._runs:
            self.prepare(pairs, online)
        with quick_products() if quick else nullcontext():
            return next(self._runs[key])["loss"]

    def prepare(self, pairs: Sequence[Pair], online: bool = False) -> None:
        """Makes the trainer of a batch, which a run makes once."""
        self._runs[id(pairs), online] = self._steps(pairs, online)

    def _steps(self, pairs: Sequence[Pair], online: bool) -> Generator[dict[str, Any], None, None]:
        yield from self._trainer(pairs, online).steps()

    def close(self) -> None:
        """Ends the trainers, and the threads in which they make the next step ready."""
        for run in self._runs.values():
            run.close()

    def _trainer(self, pairs: Sequence[Pair], online: bool) -> Trainer:
        if online:
            learner = PolicyLearner(self.policy, None, online=self.reference)
        else:
            learner = PolicyLearner(self.policy, self.cache)
        settings = TrainSettings(
            batch_size=len(pairs),
            max_steps=1 << 30,
            max_tokens_per_batch=self.budget,
        )
        groups = [as_group(pair, n) for n, pair in enumerate(pairs)]
        trainer = Trainer(learner, luce.dpo(beta=BETA), groups, settings)
        still: Any = Still(list(trainer.parameters.values()))
        trainer.optimizer = still
        return trainer
