"""The settings of a training run, and the learning rate that they give each step."""

import math
from dataclasses import dataclass
from typing import Literal

from luce.errors import RecipeError


@dataclass(frozen=True)
class TrainSettings:
    """How the loop trains.

    Attributes:
        learning_rate: peak, after warm-up.
        batch_size: groups (pairs, judged responses, lists) per optimizer step, over all ranks and
            micro-batches.
        epochs: passes over the data; the rows run on across epochs, so every step but the last
            holds exactly `batch_size` groups.
        max_steps: stop after this many optimizer steps; overrides `epochs`.
        lr_scheduler_type: shape of the decay after warm-up, to 0 at the last step.
        warmup_ratio: share of the steps with a linearly rising rate.
        weight_decay: AdamW's, on matrices only (not on biases, norms and gains).
        max_grad_norm: gradients are scaled down to this global norm.
        seed: of the data order and of dropout.
        bf16: autocast the forward pass to bfloat16; weights and log-probabilities stay float32.
        gradient_checkpointing: recompute activations in the backward pass.
        max_tokens_per_batch: input tokens of a micro-batch; a step is cut into as many as it needs,
            which changes memory and speed and nothing else.
        logging_steps: how often the console and trackers hear of it; `metrics.jsonl` has each step.
        save_steps, save_total_limit: how often a checkpoint is written, how many are kept.
        eval_steps: how often the held-out rows are evaluated, besides the start and the end.
    """

    learning_rate: float = 1e-6
    batch_size: int = 32
    epochs: float = 1.0
    max_steps: int | None = None
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    seed: int = 0
    bf16: bool = False
    gradient_checkpointing: bool = False
    max_tokens_per_batch: int = 8192
    logging_steps: int = 1
    save_steps: int = 500
    save_total_limit: int = 2
    eval_steps: int | None = None

    def __post_init__(self) -> None:
        for name, low in (("learning_rate", 0.0), ("epochs", 0.0), ("max_grad_norm", 0.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > low):
                raise RecipeError(f"train.{name}: expected a number above {low:g}, got {value!r}.")
        for name in (
            "batch_size max_steps max_tokens_per_batch logging_steps save_steps "
            "save_total_limit eval_steps"
        ).split():
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RecipeError(f"train.{name}: expected 1 or more, got {value!r}.")
        if not 0 <= self.warmup_ratio <= 1:
            raise RecipeError(f"train.warmup_ratio: expected 0 to 1, got {self.warmup_ratio!r}.")

    def total_steps(self, rows: int) -> int:
        """Optimizer steps of the whole run on `rows` groups.

        >>> TrainSettings(batch_size=8, epochs=3.0).total_steps(10)
        4
        """
        return -(-self.visits(rows) // self.batch_size)

    def visits(self, rows: int) -> int:
        """Groups that the whole run goes through, of `rows` there are; repeated ones count again.

        >>> TrainSettings(batch_size=8, epochs=0.5).visits(21)
        10
        """
        if self.max_steps is not None:
            return self.max_steps * self.batch_size
        return max(1, round(self.epochs * rows))

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of optimizer step `step` (counted from 0) of `steps`.

        Warm-up rises linearly and its first step is not 0; the decay would reach 0 one step after
        the last, so that no step is wasted.

        >>> s = TrainSettings(learning_rate=1.0, warmup_ratio=0.5, lr_scheduler_type="linear")
        >>> [s.rate(i, 4) for i in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        warmup = math.ceil(self.warmup_ratio * steps)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, steps - warmup)
        match self.lr_scheduler_type:
            case "cosine":
                return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
            case "linear":
                return self.learning_rate * (1 - done)
            case "constant":
                return self.learning_rate
