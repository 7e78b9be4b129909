"""The machine under luce: devices, memory, room on the disk, threads, and the locale."""

import locale
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from luce.recipe.doctor import Check

if TYPE_CHECKING:
    import torch

GIB = 2**30
ROOM = 5 * GIB
"""Free bytes below which a folder is warned of: a checkpoint of half a billion parameters in
float32, weights and both moments, takes 6 GiB."""


def devices() -> list[Check]:
    """Processor, memory and accelerators, and whether they compute in bfloat16."""
    import torch

    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    cores = f"{usable} of {os.cpu_count()} cores usable"
    found = [Check("devices", "CPU", cores, "note", value=usable), *_memory()]
    found.append(_bfloat16("CPU bfloat16", torch.device("cpu")))
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            known = torch.cuda.get_device_properties(i)
            words = f"{known.name}, {total / GIB:.0f} GiB, {free / GIB:.0f} GiB free"
            found.append(Check("devices", f"CUDA {i}", words, "note", value=total))
            found.append(_bfloat16(f"CUDA {i} bfloat16", torch.device("cuda", i)))
        found.append(Check("devices", "CUDA runtime", str(torch.version.cuda), "note"))
    else:
        why = "this torch is built without CUDA" if torch.version.cuda is None else "no GPU found"
        found.append(Check("devices", "CUDA", f"none: {why}", "note", value=0))
    if torch.backends.mps.is_available():
        found.append(Check("devices", "MPS", "available", "note", value=True))
        found.append(_bfloat16("MPS bfloat16", torch.device("mps")))
    return found


def disk(folder: Path) -> list[Check]:
    """Room and write permission in the working folder and in that for temporary files."""
    places = {"working folder": folder, "temporary files": Path(tempfile.gettempdir())}
    return [_folder(name, place) for name, place in places.items()]


def threads() -> list[Check]:
    """How many threads torch uses, and what sets it."""
    import torch

    found = []
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        value = os.environ.get(name)
        found.append(Check("environment", name, value or "not set", "note", value=value))
    count = torch.get_num_threads()
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if count > usable:
        words = f"{count}, more than the {usable} usable cores"
        how = f"Set OMP_NUM_THREADS={usable}: threads that wait for a core slow each other down."
        return [*found, Check("environment", "torch threads", words, "warning", how, count)]
    return [*found, Check("environment", "torch threads", str(count), value=count)]


def environment() -> list[Check]:
    """The encoding of texts, and whether the hub may be asked."""
    coding, out = locale.getencoding(), sys.stdout.encoding or "none"
    name = f"files {coding}, terminal {out}"
    if all(c.lower().replace("-", "") == "utf8" for c in (coding, out)):
        found = [Check("environment", "encoding", name, value=coding)]
    else:
        how = "Set LC_ALL=C.UTF-8 or PYTHONUTF8=1: luce's texts have Greek letters in them."
        found = [Check("environment", "encoding", name, "warning", how, coding)]
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    words = "models by name come from the local cache only" if offline else "not set"
    return [*found, Check("environment", "HF_HUB_OFFLINE", words, "note", value=offline)]


def _memory() -> list[Check]:
    """Main memory, all and free; nothing where the system does not tell."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return []
    return [Check("devices", "memory", f"{total / GIB:.1f} GiB", "note", value=total)]


def _bfloat16(name: str, device: "torch.device") -> Check:
    """A product of two matrices in bfloat16 against float32: 8 bits, so off by 1 % at most."""
    import torch

    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(32, 32, generator=generator) for _ in range(2))
    half = [m.to(device, torch.bfloat16) for m in (left, right)]
    try:
        off = float(
            ((half[0] @ half[1]).float().cpu() - left @ right).norm() / (left @ right).norm()
        )
    except RuntimeError as error:
        why = str(error).strip().splitlines()[0]
        return Check("devices", name, f"does not run: {why}", "warning", FLOAT32)
    if off > 0.01:
        return Check("devices", name, f"off by {off:.1%}", "warning", FLOAT32, off)
    return Check("devices", name, f"right to {off:.1%}", value=off)


FLOAT32 = "Use `model.dtype: float32` here."


def _folder(name: str, folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    words = f"{_ascii(folder)}: {free / GIB:.1f} GiB free"
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        how = "Choose a folder you may write to; TMPDIR names that of temporary files."
        told = f"{words}; not writable: {error.strerror}"
        return Check("disk", name, told, "failed", how, free)
    if free < ROOM:
        how = "Make room before long runs: checkpoints of half a billion parameters take 6 GiB."
        return Check("disk", name, words, "warning", how, free)
    return Check("disk", name, words, value=free)


def _ascii(folder: Path) -> str:
    return str(folder).encode("ascii", "backslashreplace").decode()
