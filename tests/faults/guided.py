"""`python -m tests.faults.guided --seconds 600 [NAME…]`: the properties of `test_fuzz.py` on inputs
that are led by which lines of luce they reach (atheris, which is libFuzzer; `pip install atheris`).

Each property has a process of its own, so long, and starts from what an earlier run has found in
`--corpus`. Exit code 1: one has failed; what it said stands in the output, with the input.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
FUZZ = HERE / "test_fuzz.py"
MODULES = (
    "luce.annotate.judge.parse",
    "luce.annotate.server",
    "luce.data.dataset",
    "luce.data.template",
    "luce.recipe.check",
    "luce.recipe.load",
)
"""What the properties call: their lines, and those of what they import, are counted."""

# plugins would be imported before pytest can rewrite their assertions, which is a warning
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}
LONGEST = 8192
"""Bytes of an input."""
FIGURES = re.compile(r"number_of_executed_units:\s*(\d+)|\bcov: (\d+)")


class Guided:
    """A plugin of pytest under which a property is not examined, but fuzzed until time is up."""

    def __init__(self, seconds: int, corpus: Path):
        self.seconds, self.corpus = seconds, corpus

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            item.module.examine = self.examine

    def examine(self, property: Callable[[], None], examples: int) -> None:
        """Does not return: libFuzzer ends the process, with 77 where the property has failed."""
        import atheris  # pyright: ignore[reportMissingImports]
        from hypothesis import settings

        fuzzed = settings(deadline=None, database=None)(property).hypothesis.fuzz_one_input  # pyright: ignore

        def one(data: bytes) -> None:
            fuzzed(data)

        self.corpus.mkdir(parents=True, exist_ok=True)
        options = {"max_total_time": self.seconds, "max_len": LONGEST, "print_final_stats": 1}
        given = [f"-{name}={value}" for name, value in options.items()]
        atheris.Setup(
            [str(FUZZ), *given, f"-artifact_prefix={self.corpus.parent}/failed-", str(self.corpus)],
            one,
            enable_python_coverage=True,
        )
        atheris.Fuzz()


def names() -> list[str]:
    """The tests of `test_fuzz.py`."""
    return re.findall(r"^def (test_\w+)", FUZZ.read_text("utf-8"), re.MULTILINE)


def fuzz(name: str, seconds: int, corpus: Path) -> int:
    """Fuzz a property in this process."""
    import atheris  # pyright: ignore[reportMissingImports]

    with atheris.instrument_imports(include=["luce"]):
        for module in MODULES:
            __import__(module)
    # without the options of the default suite: shapes are checked in functions made anew
    own = ["-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider"]
    arguments = [f"{FUZZ}::{name}", "-s", "-q", "-k", "some", *own]
    return int(pytest.main(arguments, plugins=[Guided(seconds, corpus)]))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.guided", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names())}; all unless given")
    parser.add_argument("--seconds", type=int, default=600, help="for each")
    parser.add_argument("--corpus", type=Path, help="a folder where inputs are kept")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(names()):
        parser.error(f"no property {', '.join(sorted(unknown))}")
    corpus = (given.corpus or Path(tempfile.mkdtemp(prefix="luce-fuzz-"))).resolve()
    if given.here:
        return fuzz(given.names[0], given.seconds, corpus / given.names[0])
    failed = 0
    for name in given.names or names():
        own = ["--here", "--seconds", str(given.seconds), "--corpus", str(corpus), name]
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.guided", *own],
            cwd=HERE.parents[1], capture_output=True, text=True, errors="replace",
            env=os.environ | ENVIRONMENT,
        )  # fmt: skip
        said = done.stdout + done.stderr
        found = [a or b for a, b in FIGURES.findall(said)]
        runs, reached = (found[-1], found[-2]) if len(found) > 1 else ("no", "no")
        print(f"{name}: {runs} inputs, {reached} branches reached, exit code {done.returncode}")
        if done.returncode or runs == "no":
            failed += 1
            print(said[-6000:])
    print(f"inputs are kept in {corpus}")
    return min(1, failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
