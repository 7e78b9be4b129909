"""How little earlier rounds tell about the samples of this one: ‖Δφ‖ in Σ⁻¹, with φ the last layer
of a reward model and Σ = λI + Σ Δφ Δφᵀ over all pairs that were judged before."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor

from luce.annotate.scorers import Asked, by_response
from luce.data.template import Renderer
from luce.errors import LuceError
from luce.files import write_atomic
from luce.models.reward import RewardModel, load_reward_model
from luce.online.explore import Covariance, Sketch
from luce.recipe.folders import inside
from luce.recipe.schema import Online

EXPLORES = ("enhancer", "optimism")
"""Selectors that ask for widths."""

WHOLE = 1024
"""Features up to which Σ is kept whole; beyond, to rank `RANK`."""

RANK = 256

FILE = "covariance.safetensors"


class Widths:
    """Features of samples and what was compared before.

    Args:
        online: names the reward model.
        before: the covariance after the round before; no such file: nothing was compared.

    Raises:
        LuceError: no reward model to read features of.
    """

    def __init__(self, online: Online, before: Path) -> None:
        path = online.features or online.annotator
        model = None if ":" in path else load_reward_model(inside(path))
        if not isinstance(model, RewardModel):
            raise LuceError(
                f"recipe.online.features: {path} has no last layer to measure by. Name a reward "
                "model."
            )
        self.model = model
        self.renderer = Renderer(model.tokenizer)
        d = int(model.inner.config.get_text_config().hidden_size)
        ridge = online.ridge
        self.known = Covariance(d, ridge) if d <= WHOLE else Sketch(d, ridge, RANK)
        if before.exists():
            self.known.restore(load_file(before))

    def features(self, asked: Sequence[Asked]) -> list[Float[Tensor, "responses d"]]:
        """φ of every prompt's responses, float64."""
        read = partial(_on_cpu, self.model)
        rows = by_response(asked, self.renderer, read, keep_last=True)
        return [torch.tensor(row, dtype=torch.float64) for row in rows]

    def of(self, asked: Sequence[Asked]) -> list[list[float]]:
        """The width of each response's difference from the first to the same prompt; 0 of the
        first itself."""
        return [
            self.known.width(phi - phi[:1]).tolist() if len(phi) else []
            for phi in self.features(asked)
        ]


def grow(online: Online, before: Path, after: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write Σ after a round: what it was, and the pairs of the round's rows."""
    if after.exists():
        return
    widths = Widths(online, before)
    asked: list[Asked] = [
        (
            row["prompt"] if isinstance(row["prompt"], str) else tuple(row["prompt"]),
            [row["chosen"], row["rejected"]],
        )
        for row in rows
    ]
    differences = [phi[0] - phi[1] for phi in widths.features(asked)]
    widths.known.update(torch.stack(differences))
    write_atomic(after, save({k: v.contiguous() for k, v in widths.known.state().items()}))


def _on_cpu(model: RewardModel, packed: Any) -> Tensor:
    return model.features(packed.to(model.device)).cpu()
