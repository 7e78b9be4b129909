"""The page of results: machine, versions, how it was measured, tables."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "luce")

READING = """\
**How it was measured.** One process holds TRL's real `DPOTrainer` and luce's trainer, both with the
same weights (a policy moved a little from its reference); every round runs each variant on the same
pairs, in an order that changes from round to round, and stops where a loss differs by more than
1e-4 (2e-2 in bfloat16). A step is: collate or pack, forward, backward, the metrics of the trainer;
the optimizer's update is left out on both sides, and is in the end-to-end tables. Of all batches of
an epoch, the rounds take those in the middle of equal parts when sorted by padding, so the median
is that of the data. `× luce` is the median over the rounds (least–greatest); `all rounds` the ratio
of the sums of CPU time. Time per pair, token and FLOP is CPU time on one thread, and wall time
on more threads or a GPU. Step memory is the peak above weights and gradients, on the middle
batch, in a process of its own in which glibc maps every tensor by itself (its heap would keep
what it could not give back, up to twice what a step needs).

**luce** is the step of `luce train`, matrix products included: on a processor where oneDNN's are
measured to be float32 it takes those, which torch does not by itself. *torch's products* is the
same without that switch, on the library that TRL runs on; the share of the peak is that of the
library each row runs on.

**The baselines.** *TRL defaults*: checkpointing, the reference in every step. *Tuned*: no
checkpointing, the reference precomputed (its cost not counted), and only positions of completions
scored, which TRL does on a GPU and a patch does here. *Grouped by length*: the same on batches of
pairs of like length, as `group_by_length` makes them; luce is timed on those batches too.

**Useful FLOPs** are u·2·body·Σ(P + Σ(R − 1)) + 3·4·d·L·Σ(P²/2 + ΣRP + ΣR²/2) + u·2·H·V·ΣR: the
prompt once, u = 3 (2 for frozen weights under an adapter), nothing recomputed, no reference.
"""


def machine() -> str:
    """Processor, cores, memory, system."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    processor = model[1] if model else platform.processor()
    return (
        f"{processor}, {os.cpu_count()} cores, {pages / 2**30:.0f} GiB; "
        f"{platform.system()} {platform.release()}"
    )


def versions() -> str:
    """Python and the packages that are compared."""
    found = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return ", ".join([f"Python {platform.python_version()}", *found])


def commit() -> str:
    """The commit that is checked out, if this is a checkout."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def accelerator(device: str) -> str:
    """The name of the GPU, or nothing."""
    if device != "cuda":
        return ""
    import torch

    return f"; {torch.cuda.get_device_name()}"


def page(sections: Sequence[str], command: Sequence[str], device: str = "cpu") -> str:
    """The whole page."""
    head = [
        "# luce beside TRL: times and memory",
        "",
        f"- Machine: {machine()}{accelerator(device)}",
        f"- Load when the page was written (1, 5, 15 min): {loads()}",
        f"- Versions: {versions()}, commit {commit()}",
        f"- Date: {time.strftime('%Y-%m-%d')}",
        f"- Command: `python -m benchmarks {' '.join(command)}`".rstrip("` ") + "`",
        "",
        READING,
    ]
    return "\n".join(head) + "\n" + "\n\n".join(sections) + "\n"


def loads() -> str:
    """How busy the machine was."""
    return ", ".join(f"{load:.1f}" for load in os.getloadavg())


def arguments() -> list[str]:
    """The arguments of this program."""
    return sys.argv[1:]
