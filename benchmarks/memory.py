"""Peak memory of one step: what it takes above weights and gradients.

On a CPU the kernel's high-water mark of the resident set is reset before the step (`clear_refs` of
Linux) after free memory of earlier work was given back (`malloc_trim`); on a GPU it is the peak of
the allocator of torch. Each variant is measured in a process of its own, in which glibc maps every
tensor by itself (MALLOC of `benchmarks.worker`): its heap would keep what it could not give back,
up to twice what the step needs.
"""

import ctypes
import gc
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import steps
from benchmarks.cases import Case


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (the most since the last reset) of this process, bytes."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        raise SystemExit(f"No {field} in /proc/self/status: memory is measured on Linux only.")
    return int(found[1]) * 1024


def growth(step: Callable[[], Any], device: str = "cpu") -> int:
    """Bytes that the peak of `step` lies above what was held before."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    step()
    return resident("VmHWM") - before


def gradient_bytes(module: nn.Module) -> int:
    """Bytes of all gradients that are there."""
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    return sum(g.numel() * g.element_size() for g in grads)


def run(case: Case, variant: str, rounds: int, device: str = "cpu") -> dict[str, Any]:
    """The peak of a step on the middle one of the case's batches; JSON-able."""
    batches = steps.work(case, rounds).of(variant)
    batch = batches[len(batches) // 2]
    with tempfile.TemporaryDirectory() as folder:
        sides, cells = steps.Sides(case, Path(folder), device), {}
        step = steps.runner(variant, sides, cells, [batch])
        side = cells.get("luce") or cells["trl"]
        module = side.policy.module if "luce" in cells else side.network
        sides.forget()
        step(batch)  # what is allocated once is there
        module.zero_grad(set_to_none=True)
        above = growth(lambda: step(batch), device)
        gradients = gradient_bytes(module)
        if "luce" in cells:
            cells["luce"].close()
    return {
        "variant": variant,
        "step_bytes": above - gradients,
        "gradient_bytes": gradients,
        "weight_bytes": sum(p.numel() * p.element_size() for p in module.parameters()),
    }
