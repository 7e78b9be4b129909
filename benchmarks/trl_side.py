"""TRL's own DPOTrainer, one step at a time.

The trainer is the real one, on a data set of two rows that is never trained on; batches go through
its own collator and its own `training_step` (forward, backward, its metrics), gradients dropped
before and no optimizer step after.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from torch import nn
from trl import DPOConfig, DPOTrainer
from trl.trainer import utils

from benchmarks import cases
from benchmarks.cases import BETA
from benchmarks.corpora import MAX_LENGTH, Pair, as_example, words_tokenizer


@dataclass(frozen=True)
class Settings:
    """What a user may set.

    Attributes:
        checkpointing: recompute activations in the backward pass; TRL's default.
        precomputed: reference log-probabilities come with the batch.
        completions: only positions of completions go through the output layer. TRL does so on a
            GPU, where a Triton kernel is used; on a CPU it takes a patch.
    """

    checkpointing: bool = False
    precomputed: bool = False
    completions: bool = False


TUNED = Settings(precomputed=True, completions=True)
VARIANTS = {
    cases.DEFAULTS: Settings(checkpointing=True),
    cases.UNCHECKPOINTED: Settings(),
    cases.TUNED: TUNED,
    cases.GROUPED: TUNED,
}


@contextmanager
def completions_only() -> Iterator[None]:
    """TRL scores completion positions only, and keeps the kernel of the device.

    `add_fused_lm_head` compacts its input where `_use_triton` of its own module says so; the kernel
    asks the function of another module, which stays as it is.
    """
    kept = utils._use_triton
    utils._use_triton = lambda device: True
    try:
        yield
    finally:
        utils._use_triton = kept


class TrlSide:
    """A policy and its reference in TRL's trainer.

    Args:
        policy: all weights trainable; with `lora`, the base of an adapter.
        reference: None with `lora`: the policy without its adapter.
        bf16: autocast.
        lora: of an adapter, or None.
        folder: for whatever the trainer writes.
    """

    def __init__(
        self,
        policy: nn.Module,
        reference: nn.Module | None,
        folder: Path,
        bf16: bool = False,
        lora: LoraConfig | None = None,
    ) -> None:
        cpu = next(policy.parameters()).device.type == "cpu"
        config = DPOConfig(
            output_dir=str(folder),
            beta=BETA,
            max_length=MAX_LENGTH,
            bf16=bf16,
            use_cpu=cpu,
            report_to="none",
            disable_tqdm=True,
        )
        row = {"prompt": "a", "chosen": "b", "rejected": "a"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer: Any = DPOTrainer(
                model=cast(Any, policy),
                ref_model=cast(Any, reference),
                args=config,
                train_dataset=Dataset.from_list([row, row]),
                processing_class=words_tokenizer(),
                peft_config=lora,
            )
        trainer.current_gradient_accumulation_steps = 1
        self.trainer = trainer
        self.network = trainer.model
        self.model = trainer.accelerator.prepare(trainer.model)
        trainer.model = trainer.model_wrapped = self.model
        self._known: dict[Pair, dict[str, float]] = {}

    def step(self, pairs: Sequence[Pair], settings: Settings) -> float:
        """Gradients of the mean loss over these pairs; returns the loss."""
        self.trainer.model.zero_grad(set_to_none=True)
        inputs = self._inputs(pairs, settings.precomputed)
        self._checkpoint(settings.checkpointing)
        self.trainer.precompute_ref_logps = settings.precomputed
        if settings.completions:
            with completions_only():
                return float(self.trainer.training_step(self.model, inputs))
        return float(self.trainer.training_step(self.model, inputs))

    def padded_tokens(self, pairs: Sequence[Pair]) -> int:
        """Tokens of the batch as TRL runs it."""
        return self._inputs(pairs, False)["input_ids"].numel()

    def precompute(self, pairs: Sequence[Pair]) -> None:
        """Keeps TRL's own reference log-probabilities of these pairs."""
        reference = self.trainer.ref_model or self.trainer.model
        for start in range(0, len(pairs), 8):
            part = pairs[start : start + 8]
            inputs = self.trainer._prepare_inputs(self._inputs(part, False))
            with completions_only():
                chosen, rejected = self.trainer.compute_ref_log_probs(reference, inputs)
            for pair, c, r in zip(part, chosen.tolist(), rejected.tolist(), strict=True):
                self._known[pair] = {"ref_chosen_logps": c, "ref_rejected_logps": r}

    def _inputs(self, pairs: Sequence[Pair], precomputed: bool) -> dict[str, torch.Tensor]:
        examples: list[dict[str, Any]] = [as_example(pair) for pair in pairs]
        if precomputed:
            examples = [e | self._known[p] for e, p in zip(examples, pairs, strict=True)]
        return self.trainer.data_collator(examples)

    def _checkpoint(self, on: bool) -> None:
        network, adapter = self.network, isinstance(self.network, PeftModel)
        if network.is_gradient_checkpointing == on:
            return
        if on:
            network.gradient_checkpointing_enable(self.trainer.args.gradient_checkpointing_kwargs)
            if adapter:
                network.enable_input_require_grads()
        else:
            network.gradient_checkpointing_disable()
            if adapter:
                network.disable_input_require_grads()
