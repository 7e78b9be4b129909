"""One job in a process of its own: `python -m benchmarks.worker JOB.json RESULT.json`.

A job names its kind (`steps`, `memory`, `scaling`, `end_to_end`), the number of threads, and what
the kind takes. Nothing of an earlier job is in this process's memory or settings.
"""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""Settings of the environment: no network, no bars."""

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "131072"}
"""Where memory is measured glibc maps every tensor by itself: 128 KiB is its first threshold, which
it otherwise raises as it goes, and then keeps in its heap what it could not give back."""


def carry_out(job: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a job, in this process; JSON-able."""
    import torch

    torch.set_num_threads(job["threads"])
    kind = job["kind"]
    if kind == "end_to_end":
        from benchmarks import end_to_end

        folder = Path(job["folder"])
        return end_to_end.run(job["program"], job["given"], folder, job["bf16"])
    if kind == "prepare":
        from benchmarks import end_to_end

        return dict(end_to_end.prepare(Path(job["folder"]), job["shape"], job["pairs"]))
    if kind == "scaling":
        from benchmarks import scaling

        return scaling.run(job["table"], job["rounds"])
    from benchmarks import memory, steps
    from benchmarks.cases import CASES

    case = CASES[job["case"]]
    if kind == "memory":
        return memory.run(case, job["variant"], job["rounds"], job["device"])
    return steps.run(case, job["rounds"], job["device"])


def send(job: Mapping[str, Any], result: Path) -> dict[str, Any]:
    """The result of a job, from a fresh process; SystemExit where it fails."""
    result.parent.mkdir(parents=True, exist_ok=True)
    told = result.with_suffix(".job.json")
    told.write_text(json.dumps(dict(job)))
    threads = str(job["threads"])
    exact = job["kind"] == "memory" or (job["kind"] == "scaling" and not job["rounds"])
    environment = os.environ | QUIET | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if exact:
        environment |= MALLOC
    command = [sys.executable, "-m", "benchmarks.worker", str(told), str(result)]
    done = subprocess.run(command, env=environment, cwd=Path(__file__).resolve().parents[1])
    if done.returncode:
        raise SystemExit(f"The job {dict(job)} failed; its error stands above.")
    return json.loads(result.read_text())


def main() -> None:
    warnings.simplefilter("ignore", FutureWarning)
    job, result = (Path(argument) for argument in sys.argv[1:])
    found = carry_out(json.loads(job.read_text()))
    result.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
