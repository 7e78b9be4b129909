"""`train.deterministic`: kernels that add in one order, or an error that names the op without one.

On a CPU a run has the same bits without it. On CUDA several kernels add in the order in which their
blocks come to an end; torch has slower ones that do not, for most ops (`torch.
use_deterministic_algorithms`), and stops at the others.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from luce.errors import LuceError
from luce.models.attention import using_kernel
from luce.recipe.schema import Recipe

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
"""What cuBLAS reads as it starts: with a workspace of its own it takes one order of additions."""

WORKSPACES = (":4096:8", ":16:8")
"""Its values under which NVIDIA promises the same bits; the first is set where there is none."""

SAID = re.compile(r"(\S+) does not have a deterministic implementation")
"""How torch begins when it stops at an op."""


@contextmanager
def deterministic(recipe: Recipe) -> Iterator[None]:
    """torch's deterministic kernels while the context lasts, where the recipe asks for them.

    It is to be entered before anything runs on a GPU. The variable of cuBLAS stays set, for the
    process and those that it starts: it is read once only. Attention over shared rows on CUDA is
    then that of `varlen` or `exact`, never the compiled one of `flex`.

    Raises:
        LuceError: cuBLAS has started, or is told to start, without a workspace of its own; or an op
            came up that has no deterministic kernel, which is named.
    """
    if not recipe.train.deterministic:
        yield
        return
    _give_workspace()
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    kernel = using_kernel("varlen") if torch.cuda.is_available() else nullcontext()
    torch.use_deterministic_algorithms(True)
    # with this cuDNN's attention is not taken either, whose backward pass has no fixed order
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        with kernel:
            yield
    except RuntimeError as error:
        if (found := SAID.match(str(error))) is None:
            raise
        raise LuceError(_remedy(found[1])) from error
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


def determinism_notes(recipe: Recipe) -> list[str]:
    """What the setting changes on this machine, in sentences; none where it is off."""
    if not recipe.train.deterministic:
        return []
    if not torch.cuda.is_available():
        return ["deterministic: on a CPU a run has the same bits without it too"]
    return [
        "deterministic: slower kernels; attention by `varlen` or `exact`, not by `flex`; the same "
        "bits on this GPU with these versions only"
    ]


def _give_workspace() -> None:
    """Raise where cuBLAS cannot have a workspace of its own."""
    given = os.environ.get(VARIABLE)
    if given is None and not torch.cuda.is_initialized():
        os.environ[VARIABLE] = WORKSPACES[0]
    elif given not in WORKSPACES:
        found = "is not set, and the GPU is in use" if given is None else f"is {given!r}"
        raise LuceError(
            f"recipe.train.deterministic: {VARIABLE} {found}. Start Python with "
            f"{VARIABLE}={WORKSPACES[0]}."
        )


def _remedy(op: str) -> str:
    """What a user can do about an op without a deterministic kernel."""
    return (
        f"recipe.train.deterministic: torch {torch.__version__} has no deterministic kernel of "
        f"{op} here. Leave the key out, train on a CPU, or do without what needs the op."
    )
