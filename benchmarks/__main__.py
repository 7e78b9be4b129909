"""luce against TRL on this machine, as tables.

    python -m benchmarks --quick                     one small case, under two minutes
    python -m benchmarks --case hh-q05ratio          one case
    python -m benchmarks --output benchmarks/RESULTS.md --threads 1 2      everything

Every job runs in a fresh process; what it found is kept as JSON in the --keep folder, and --reuse
takes up what lies there already.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cases import CPU_CASES, CUDA_CASES, DEFAULTS, LUCE, QUICK, TINY, TUNED, VARIANTS
from benchmarks.page import arguments, page
from benchmarks.worker import send

QUICK_VARIANTS = (LUCE, DEFAULTS, TUNED)
END_TO_END = {"end-to-end": False, "end-to-end-bf16": True}
SCALING = ("sharing", "responses", "vocabulary", "pairs")
STEP_CASES = {case.name: case for case in (*CPU_CASES, *CUDA_CASES, QUICK, TINY)}


class Bench:
    """The jobs of one call, and where their results lie."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.keep = asked, Path(asked.keep).resolve()

    def send(self, job: dict[str, Any], name: str) -> dict[str, Any]:
        """A job's result: a kept one of the very same job, or that of a fresh process."""
        result, told = self.keep / f"{name}.json", self.keep / f"{name}.job.json"
        if self.asked.reuse and result.exists() and told.exists():
            if json.loads(told.read_text()) == job:
                return json.loads(result.read_text())
        print(f"--- {name}", flush=True)
        result.unlink(missing_ok=True)
        return send(job, result)

    def sections(self) -> Iterator[str]:
        """Every table that was asked for, as it is done."""
        from benchmarks import table

        for threads in self.asked.threads:
            for name in self.asked.case:
                if name in STEP_CASES:
                    yield self._steps(name, threads)
                elif name in END_TO_END:
                    yield self._end_to_end(name, threads)
        for name in self.asked.case:
            if name.removeprefix("scaling-") in SCALING and name not in STEP_CASES:
                kind = name.removeprefix("scaling-")
                job = {"kind": "scaling", "table": kind, "rounds": self.asked.rounds, "threads": 1}
                found = self.send(job, name)
                if kind == "pairs":
                    alone = self.send(job | {"rounds": 0}, f"{name}-memory")
                    rows = zip(found["rows"], alone["rows"], strict=True)
                    found["rows"] = [both | one for one, both in rows]
                yield table.scaling_section(found)

    def _steps(self, name: str, threads: int) -> str:
        from benchmarks import table

        common = {
            "case": name,
            "rounds": self.asked.rounds,
            "threads": threads,
            "device": self.asked.device,
        }
        label = f"{name}-{threads}"
        result = self.send({"kind": "steps", **common}, label)
        memory = {}
        wanted = QUICK_VARIANTS if self.asked.quick else VARIANTS
        for variant in () if self.asked.no_memory or threads > 1 else wanted:
            job = {"kind": "memory", "variant": variant, **common}
            plain = re.sub(r"\W+", "-", variant)
            memory[variant] = self.send(job, f"{label}-memory-{plain}")
        return table.step_section(result, memory)

    def _end_to_end(self, name: str, threads: int) -> str:
        from benchmarks import end_to_end, table

        runs = []
        with tempfile.TemporaryDirectory() as folder:
            files = {"kind": "prepare", "folder": folder, "shape": self.asked.shape}
            given: dict[str, Any] = {}
            for number in range(self.asked.end_to_end_rounds):
                order = ("luce", "trl") if number % 2 == 0 else ("trl", "luce")
                for program in order:
                    label = f"{name}-{threads}-{program}-{number}"
                    kept = self._kept_run(label, name, threads, program)
                    if kept is not None:
                        runs.append(kept)
                        continue
                    if not given:
                        files |= {"pairs": self.asked.pairs, "threads": threads}
                        given = send(files, Path(folder) / "given.json")
                    own = Path(folder) / label
                    own.mkdir()
                    job = self._run_job(name, threads, program)
                    job |= {"given": given, "folder": str(own)}
                    print(f"--- {label}", flush=True)
                    found = send(job, self.keep / f"{label}.json")
                    runs.append(found)
        end_to_end.compared(runs)
        return table.end_to_end_section(name, runs, self.asked.pairs)

    def _run_job(self, name: str, threads: int, program: str) -> dict[str, Any]:
        return {
            "kind": "end_to_end",
            "program": program,
            "bf16": END_TO_END[name],
            "threads": threads,
            "shape": self.asked.shape,
            "pairs": self.asked.pairs,
        }

    def _kept_run(self, label: str, name: str, threads: int, program: str) -> Any:
        """A kept run of the same job; the folders that it ran in are gone."""
        result, told = self.keep / f"{label}.json", self.keep / f"{label}.job.json"
        if not (self.asked.reuse and result.exists() and told.exists()):
            return None
        job = json.loads(told.read_text())
        wanted = self._run_job(name, threads, program)
        same = {key: job.get(key) for key in wanted} == wanted
        return json.loads(result.read_text()) if same else None


def parse(given: list[str] | None = None) -> argparse.Namespace:
    """The options; `case` filled in where none was named."""
    summary, usage = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=summary,
        epilog=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [*STEP_CASES, *END_TO_END, *(f"scaling-{name}" for name in SCALING)]
    parser.add_argument("--case", nargs="+", choices=names, help="default: all of the device's")
    parser.add_argument("--rounds", type=int, default=5, help="alternations (5)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="of torch (1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--pairs", type=int, default=96, help="of an end-to-end epoch (96)")
    parser.add_argument("--shape", default="q05ratio", help="of the end-to-end model (q05ratio)")
    parser.add_argument("--end-to-end-rounds", type=int, default=3, help="runs of each program (3)")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory runs out")
    parser.add_argument("--quick", action="store_true", help="one small case, two rounds")
    parser.add_argument("--output", type=Path, help="write the page there, too")
    parser.add_argument("--keep", default="runs/bench", help="folder of results (runs/bench)")
    parser.add_argument("--reuse", action="store_true", help="take up results kept of the same job")
    asked = parser.parse_args(given)
    if asked.quick:
        asked.case, asked.rounds = [QUICK.name], min(asked.rounds, 2)
    elif asked.case is None and asked.device == "cuda":
        asked.case = [case.name for case in CUDA_CASES]
    elif asked.case is None:
        asked.case = [case.name for case in CPU_CASES]
        asked.case += [*END_TO_END, *(f"scaling-{name}" for name in SCALING)]
    return asked


def main() -> None:
    asked = parse()
    if asked.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise SystemExit("--device cuda: torch sees no GPU here.")
    sections: list[str] = []
    for section in Bench(asked).sections():
        print(f"\n{section}\n", flush=True)
        sections.append(section)
        if asked.output:  # after every table, so that a call that is cut short leaves what it has
            asked.output.write_text(page(sections, arguments(), asked.device), encoding="utf-8")


if __name__ == "__main__":
    main()
