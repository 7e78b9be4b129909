"""How much memory a step will take, by arithmetic, before anything is loaded onto a device.

    weights + gradients + AdamW moments + activations of one micro-batch + the head's tile
    (+ a reference network, for objectives that look at its whole distribution)

Activations are those of a Llama-like block in eager mode: 30·hidden + 8·intermediate bytes per
token and layer in 16-bit, twice that in float32; with gradient checkpointing only each layer's
input and one layer's activations are held.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HEAD_CHUNK = 512
"""Tokens whose logits exist at once in the log-probability kernel."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by part.

    Attributes:
        weights: all parameters, in their dtypes.
        gradients, optimizer: of the trainable ones; AdamW holds two moments.
        activations: of a micro-batch of `tokens` input tokens.
        head: logits of one chunk, forward and backward.
        reference: weights of a reference network that stays in memory; 0 where none does.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    head: int
    reference: int = 0

    @property
    def total(self) -> int:
        step = self.gradients + self.optimizer + self.activations + self.head
        return self.weights + step + self.reference

    def lines(self) -> list[tuple[str, str]]:
        """(part, size) rows for a table, the total last."""
        parts = ["weights", "gradients", "optimizer", "activations", "head"]
        parts += ["reference", "total"] if self.reference else ["total"]
        return [(part, size_text(getattr(self, part))) for part in parts]


def size_text(count: int) -> str:
    """Bytes in the unit that suits them.

    >>> size_text(3 * 2**20)
    '3.0 MiB'
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def estimate_memory(
    config: Any,
    parameters: Mapping[str, Any],
    trainable: Mapping[str, Any],
    tokens: int,
    half: bool,
    checkpointing: bool,
    distributions: bool = False,
    copied: bool = False,
) -> MemoryEstimate:
    """The estimate of one optimizer step.

    Args:
        config: the model's (text) configuration: hidden size, layers, vocabulary.
        parameters, trainable: name → tensor.
        tokens: input tokens of the largest micro-batch.
        half: activations in 16 bits.
        checkpointing: gradient checkpointing.
        distributions: the objective compares whole distributions with the reference's.
        copied: for that the reference is in memory as a network of its own, as large as this one.
    """
    hidden, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    width = 1 if half else 2
    layer = tokens * (30 * hidden + 8 * inner) * width
    held = layers * tokens * hidden * 2 * width + layer if checkpointing else layers * layer
    trained = sum(p.numel() * p.element_size() for p in trainable.values())
    weights = sum(p.numel() * p.element_size() for p in parameters.values())
    tiles = 5 if distributions else 3
    return MemoryEstimate(
        weights=weights,
        gradients=trained,
        optimizer=2 * trained,
        activations=held,
        head=tiles * min(tokens, HEAD_CHUNK) * config.vocab_size * 4,
        reference=weights if copied else 0,
    )
