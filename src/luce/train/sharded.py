"""FSDP2: weights, gradients and optimizer state cut into as many shards as there are processes.

PyTorch's `fully_shard` cuts every transformer layer, and what is around the layers, along its first
dimension. In a step a layer's weights are gathered when it is their turn and dropped after it, and
each process keeps the sum over processes of its shard's gradient; the loop divides by the global
weight, so nothing is averaged here.

Outside of steps (held-out rows, samples, export) the weights are put together whole on every
process for a while, as a plain network without any hook: a process may then look at it alone.
Gradients and AdamW's moments stay cut.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import get_total_norm

from luce.errors import ModelError
from luce.models.network import Network
from luce.train.distributed import World
from luce.train.learner import Learner, PreparedLearner
from luce.types import Group, Responses


class Room(nn.Module):
    """The root of the shards: whatever is computed with the network is computed in its forward."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        return compute()

    def gather_no_more(self) -> None:
        """Drop what is around the layers: a forward pass gathers it, a backward pass drops it."""
        assert isinstance(self, FSDPModule)  # `fully_shard` changes the class in place
        self.reshard()


class ShardedLearner:
    """A learner whose network is cut into shards; every process must make it, and ask it for
    responses, as often as every other (`World.lockstep`).

    Args:
        learner: what is trained; it reads its network anew every time.
        network: of the learner, whole.
        world: this process among its peers.

    Raises:
        ModelError: the network has no layers by which it could be cut.
    """

    def __init__(self, learner: PreparedLearner, network: Network, world: World):
        self.learner, self.network = learner, network
        empty: dict[int, Any] = {
            id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)
            for p in network.module.parameters()
        }
        self._plain = copy.deepcopy(network.module, empty)
        self._room = _sharded(network, world)
        self._is_whole = False

    def trainable(self) -> Mapping[str, nn.Parameter]:
        return self.learner.trainable()

    def respond(self, groups: Sequence[Group]) -> Responses:
        return self.respond_to(self.prepare(groups))

    def prepare(self, groups: Sequence[Group]) -> Any:
        return self.learner.prepare(groups)

    def respond_to(self, prepared: Any) -> Responses:
        if self._is_whole:
            return self.learner.respond_to(prepared)
        found: list[Responses] = []

        def compute() -> dict[str, Tensor]:
            found.append(self.learner.respond_to(prepared))
            return {name: value.clone() for name, value in _tensors(found[0]).items()}

        # the backward pass starts from the very tensors that the root returns; none is a view
        tensors = self._room(compute)
        return _mapped(found[0], tensors)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The network with all of its weights, on every process, while the context lasts. All
        processes must enter it; inside, each may do as it likes. Not for changing weights."""
        if self._is_whole:
            yield
            return
        self._room.gather_no_more()
        shards = self.network.module
        full = {name: whole_tensor(p.detach()) for name, p in shards.named_parameters()}
        filled: dict[int, Any] = {
            id(empty): nn.Parameter(full[name], requires_grad=empty.requires_grad)
            for name, empty in self._plain.named_parameters()
        }
        self.network.module, self._is_whole = copy.deepcopy(self._plain, filled), True
        try:
            yield
        finally:
            self.network.module, self._is_whole = shards, False


def whole(learner: Learner) -> AbstractContextManager[None]:
    """The learner with all of its weights, for a while; nothing to do where they are not cut."""
    return learner.whole() if isinstance(learner, ShardedLearner) else nullcontext()


def whole_tensor(tensor: Tensor) -> Tensor:
    """The tensor put together from its shards, on every process; itself where it is not cut."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def cut_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, of which every process has the same, on the device of `like` and cut as it
    is cut."""
    moved = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return moved.clone()
    return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)


def local_gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradients that are there, or of those that are cut this process's shards; in place."""
    found = [p.grad for p in parameters if p.grad is not None]
    return [g.to_local() if isinstance(g, DTensor) else g for g in found]


def gradient_norm(parameters: Sequence[nn.Parameter]) -> float:
    """The 2-norm of all gradients together, the same on every process; needs all of them where
    weights are cut."""
    cut = [p for p in parameters if isinstance(p, DTensor)]
    if not cut:
        return float(get_total_norm(local_gradients(parameters)))
    plain = [p for p in parameters if not isinstance(p, DTensor)]
    square = get_total_norm(local_gradients(cut)).double().square().to(cut[0].device)
    dist.all_reduce(square)
    return float((square + get_total_norm(local_gradients(plain)).double().square()).sqrt())


def _sharded(network: Network, world: World) -> Room:
    """Cuts the network's weights in place; returns the root."""
    names = set(getattr(network.inner, "_no_split_modules", None) or ())
    layers = [part for part in network.module.modules() if type(part).__name__ in names]
    if not layers:
        raise ModelError(
            "recipe.train.strategy: fsdp2 cuts a network by its layers, and "
            f"{type(network.inner).__name__} does not say which these are. Set `ddp`."
        )
    mesh = init_device_mesh(network.device.type, (world.size,))
    for layer in layers:
        _cut(layer, mesh)
    root = Room(network.module)
    _cut(root, mesh)
    root(dict)  # the first to run is the root, so that it must run before any layer
    root.gather_no_more()
    return root


def _cut(module: nn.Module, mesh: Any) -> None:
    """`fully_shard` with gradients that are summed over processes, not averaged."""
    part = fully_shard(module, mesh=mesh)
    part.set_gradient_divide_factor(1.0)
    part.set_force_sum_reduction_for_comms(True)


def _mapped(responses: Responses, new: Mapping[str, Tensor]) -> Responses:
    """The same responses of other tensors, by the names that `_tensors` gives them."""
    columns = {name: new[f"columns.{name}"] for name in responses.columns}
    own = {name: value for name, value in new.items() if not name.startswith("columns.")}
    return replace(responses, columns=columns, **own)


def _tensors(responses: Responses) -> dict[str, Tensor]:
    """Every tensor of responses by name."""
    values = {field.name: getattr(responses, field.name) for field in fields(responses)}
    columns = {f"columns.{name}": value for name, value in responses.columns.items()}
    return {n: v for n, v in values.items() if isinstance(v, Tensor)} | columns
