"""The critic of PPO: V(x, y_<t), the reward that is still to come, before each sampled token.

It is a network of its own, with one output read where a token is predicted. Sharing the policy's
backbone would save its memory, but then errors of a value pull at the policy's own weights, a
weight between two losses of different units has to be found, and no reward model can start it.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from luce.errors import ModelError
from luce.models.export import save_model
from luce.models.load import LoraSettings
from luce.models.reward import RewardModel, load_reward_model
from luce.types import Packed


class Critic:
    """A reward model that is read at every token in place of the last.

    Attributes:
        model: its backbone and its output layer.
    """

    def __init__(self, model: RewardModel) -> None:
        self.model = model

    def trainable(self) -> Mapping[str, nn.Parameter]:
        """Parameters by name, in a fixed order."""
        return self.model.trainable()

    def values(self, packed: Packed) -> Float[Tensor, " scored"]:
        """V(x, y_<t) of each scored token, response after response, in units of reward; float32 or
        better. Read from the token before it, so it knows nothing of the token itself."""
        return self.model.values(packed)

    def save(self, folder: Path) -> float:
        """Write it as a classifier of one output, reload it and compare (`save_model`); returns
        the largest difference, in units of reward."""
        return save_model(self.model, folder)


def load_critic(
    path: str,
    *,
    terminator: int,
    dtype: str = "auto",
    lora: LoraSettings | None = None,
    trust_remote_code: bool = False,
    layout: str = "auto",
    gradient_checkpointing: bool = False,
    device: torch.device | str | None = None,
    seed: int = 0,
) -> Critic:
    """A critic from a language model, which gets a new head drawn from `seed`, or from a reward
    model with the head that it has.

    Args:
        terminator: the token that ends a response.
        dtype, lora, trust_remote_code, layout, gradient_checkpointing, device, seed: as for
            `load_policy`.

    Raises:
        ModelError: weights that are missing, damaged or unfit; a reward model of several outputs.
    """
    model = load_reward_model(
        path,
        dtype=dtype,
        lora=lora,
        trust_remote_code=trust_remote_code,
        layout=layout,
        gradient_checkpointing=gradient_checkpointing,
        device=device,
        seed=seed,
        terminator=terminator,
    )
    if model.heads.outputs != 1:
        raise ModelError(
            f"{path}: a reward model of {model.heads.outputs} outputs; a critic has one. Give a "
            "reward model with a single head, or `critic: policy`."
        )
    return Critic(model)
