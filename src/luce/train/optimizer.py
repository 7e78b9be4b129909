"""AdamW on named parameters: how it is made, moved, and kept in checkpoints."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from luce.train.settings import TrainSettings
from luce.train.sharded import cut_like, local_gradients, whole_tensor


def adamw(
    parameters: Mapping[str, nn.Parameter], settings: TrainSettings, peak: float
) -> torch.optim.AdamW:
    """AdamW whose weight decay is on matrices only.

    Args:
        peak: the learning rate at the peak of the schedule.
    """
    # those that are cut and those that are not do not mix
    kinds = [(decay, cut) for cut in (False, True) for decay in (True, False)]
    groups = [
        {
            "params": [
                p
                for p in parameters.values()
                if (p.ndim >= 2, isinstance(p, DTensor)) == (decay, cut)
            ],
            "weight_decay": settings.weight_decay if decay else 0.0,
        }
        for decay, cut in kinds
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=peak,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )


def move(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    norm: float,
    max_norm: float,
    rate: float,
) -> bool:
    """Take a step at this learning rate, with the gradient scaled down to `max_norm`; returns
    whether it was.

    Args:
        norm: of the gradient, finite.
    """
    clipped = norm > max_norm
    if clipped:
        torch._foreach_mul_(local_gradients(parameters), max_norm / (norm + 1e-6))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return clipped


def optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], prefix: str = ""
) -> dict[str, Tensor]:
    """Weights and moments, whole, under names that begin as checkpoints sort them. All ranks must
    ask."""
    found = {f"weights.{prefix}{n}": whole_tensor(p.detach()) for n, p in parameters.items()}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            found[f"optimizer.{prefix}{name}.{key}"] = whole_tensor(torch.as_tensor(value))
    return found


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    prefix: str = "",
) -> None:
    """Put weights and moments back to where `optimizer_state` was taken."""
    put(parameters, {name: tensors[f"weights.{prefix}{name}"] for name in parameters})
    for name, parameter in parameters.items():
        start = f"optimizer.{prefix}{name}."
        found = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        if found:
            optimizer.state[parameter] = {
                key: value.clone() if key == "step" else cut_like(value, parameter)
                for key, value in found.items()
            }


def put(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Take these weights, whole and by name, the same on all ranks."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(cut_like(weights[name], parameter))
