"""How many bytes a computation takes at its highest, found without computing it.

The weights are replaced by fake tensors, which have shape, dtype and device but no numbers, and the
real code runs on them: every tensor that it would allocate is counted from birth to death. What
autograd keeps, what gradient checkpointing saves, what a kernel needs in passing: nothing of it is
described twice, so nothing of the description can be out of date.
"""

import copy
import weakref
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from luce.models.network import Network

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


class Peak(TorchDispatchMode):
    """While the context lasts, counts the bytes of tensors that are born in it.

    Attributes:
        now, peak: bytes alive at this moment, and at the highest.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """Args: known: tensors whose bytes are not to be counted, nor those of views of them."""
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, int] = {}
        self._known = {t.untyped_storage()._cdata for t in known}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._born(leaf)
        return out

    def _born(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known or key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._died, key)

    def _died(self, key: int) -> None:
        self.now -= self._alive.pop(key)


def without_numbers(network: AnyNetwork) -> AnyNetwork:
    """A copy of a policy or reward model whose weights are fake: it runs, computes nothing, and
    takes next to no memory. It shares no parameter with the original, nor any gradient."""
    fakes: dict[int, Any] = {}
    for parameter in network.module.parameters():
        fake = _fake(parameter.detach())
        fakes[id(parameter)] = nn.Parameter(fake, requires_grad=parameter.requires_grad)
    for buffer in network.module.buffers():
        fakes[id(buffer)] = _fake(buffer)
    twin = copy.copy(network)
    twin.module = copy.deepcopy(network.module, fakes)
    return twin


@cache
def _mode() -> FakeTensorMode:
    """One for all networks: what two of them make, as a policy and its reference do, may meet."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def _fake(tensor: Tensor) -> Tensor:
    """A tensor of the same shape, dtype and device, without numbers and with memory of its own."""
    if isinstance(tensor, FakeTensor):
        return torch.empty_like(tensor)
    return _mode().from_tensor(tensor)


def peak_bytes(network: AnyNetwork, run: Callable[[AnyNetwork], Any]) -> int:
    """Bytes that `run(network)` allocates at its highest, weights left out: gradients, activations,
    logits, and what is needed in passing.

    Args:
        run: is given a copy of the network whose weights are fake. What it makes of their outputs
            must not look at numbers.
    """
    twin = without_numbers(network)
    with Peak([*twin.module.parameters(), *twin.module.buffers()]) as peak:
        run(twin)
    return peak.peak
