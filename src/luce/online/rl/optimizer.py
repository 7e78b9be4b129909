"""AdamW on the parameters of one network, with their gradients measured and clipped."""

from collections.abc import Mapping

from torch import Tensor, nn

from luce.train.optimizer import adamw, move, optimizer_state, restore_optimizer
from luce.train.settings import TrainSettings
from luce.train.sharded import gradient_norm


class Optimizer:
    """The optimizer of one network.

    Args:
        parameters: by name.
        settings: betas, epsilon, weight decay (on matrices only) and the norm to clip to.
        peak: its learning rate at the peak of the schedule.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], settings: TrainSettings, peak: float
    ) -> None:
        self.parameters, self.settings, self.peak = dict(parameters), settings, peak
        self.adamw = adamw(self.parameters, settings, peak)

    def clear(self) -> None:
        """Forget the gradients."""
        self.adamw.zero_grad(set_to_none=True)

    def norm(self) -> float:
        """The norm of the gradient."""
        return gradient_norm(list(self.parameters.values()))

    def move(self, norm: float, share: float) -> tuple[float, bool]:
        """Take a step, with the gradient scaled down to `max_grad_norm`; returns the learning rate,
        and whether it was scaled down.

        Args:
            norm: of the gradient.
            share: of the peak that the schedule has come to.
        """
        rate, parameters = self.peak * share, list(self.parameters.values())
        return rate, move(self.adamw, parameters, norm, self.settings.max_grad_norm, rate)

    def state(self, name: str) -> dict[str, Tensor]:
        """Weights and moments as tensors under names that begin as checkpoints sort them."""
        return optimizer_state(self.adamw, self.parameters, f"{name}.")

    def restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Stand where `state` was taken."""
        restore_optimizer(self.adamw, self.parameters, tensors, f"{name}.")
