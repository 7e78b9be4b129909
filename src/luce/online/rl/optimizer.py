"""AdamW on some parameters, with their gradients measured, clipped, and kept in checkpoints."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from luce.numerics import first_non_finite
from luce.train.settings import TrainSettings
from luce.train.trainer import NonFiniteStep


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
        values = list(self.parameters.values())
        self.adamw = torch.optim.AdamW(
            [
                {
                    "params": [p for p in values if p.ndim >= 2],
                    "weight_decay": settings.weight_decay,
                },
                {"params": [p for p in values if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=peak,
            betas=(settings.adam_beta1, settings.adam_beta2),
            eps=settings.adam_epsilon,
            fused=True,
        )

    def clear(self) -> None:
        """Forget the gradients."""
        self.adamw.zero_grad(set_to_none=True)

    def norm(self, step: int, what: str) -> float:
        """The norm of the gradient.

        Raises:
            NonFiniteStep: it is not finite.
        """
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        found = float(torch.nn.utils.get_total_norm(gradients))
        if not found < float("inf"):
            named = ((n, p.grad) for n, p in self.parameters.items() if p.grad is not None)
            name = first_non_finite(named)
            of = f"of {name!r} is not finite" if name else "overflows"
            raise NonFiniteStep(
                f"step {step}: the gradient {of} (norm {found}, {what}). No weight was changed. "
                "Lower learning_rate, or train in float32."
            )
        return found

    def move(self, norm: float, share: float) -> float:
        """Take a step, with the gradient scaled down to `max_grad_norm`; returns the learning rate.

        Args:
            norm: of the gradient.
            share: of the peak that the schedule has come to.
        """
        if norm > self.settings.max_grad_norm:
            torch.nn.utils.clip_grads_with_norm_(
                self.parameters.values(), self.settings.max_grad_norm, torch.tensor(norm)
            )
        rate = self.peak * share
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self.adamw.step()
        return rate

    def state(self, name: str) -> dict[str, Tensor]:
        """Weights and moments as tensors under names that begin as checkpoints sort them."""
        found = {f"weights.{name}.{key}": p.detach() for key, p in self.parameters.items()}
        for key, parameter in self.parameters.items():
            for part, value in self.adamw.state.get(parameter, {}).items():
                found[f"optimizer.{name}.{key}.{part}"] = torch.as_tensor(value)
        return found

    def restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Stand where `state` was taken."""
        with torch.no_grad():
            for key, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weights.{name}.{key}"])
        for key, parameter in self.parameters.items():
            prefix = f"optimizer.{name}.{key}."
            found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            if found:
                self.adamw.state[parameter] = {
                    part: v.clone() if part == "step" else v.to(parameter.device).clone()
                    for part, v in found.items()
                }
