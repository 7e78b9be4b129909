"""Does a test fail for every wrong line? Each file of a package is mutated, one line at a time, and
the tests are run on every mutant; one that passes them all has survived, and is reported.

    python tests/mutants.py [--only losses.py] [--jobs 2] [--sample 100] [--timeout 60]
    python tests/mutants.py --again OUTPUT       only those that survived in an earlier run

Exit status: 0 all caught but those in the list of equivalent mutants, which are taken at their word
unless `--recheck` runs them too; 1 there are survivors, or entries of that list that are caught or
mutate nothing; 2 the tests do not pass as they are. The tree is copied first and not touched.

torch is imported once: each mutant is a fork of a process that has imported everything except the
package. A first run records which tests call which functions; a mutant meets the tests of its own
module first, then those that call its function, the quick ones first, then all. Shapes are not
checked at run time.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mutation.edits import Mutation, mutations
from mutation.forks import (
    NO_TESTS,
    OPTIONS,
    PASSED,
    Mutated,
    Place,
    Selection,
    in_a_fork,
    preload,
    survey,
)

SETUP = 0.5
"""Seconds that a test file takes before its first test, about."""

AS_IT_IS = Mutation(0, 0, "", 1, "", "", None)
JUNK = shutil.ignore_patterns(".*", "__pycache__", "runs", "build", "dist", "site")


def copy_tree(root: Path, to: Path) -> None:
    """What git knows of and has not been told to ignore; everything, where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    if listed.returncode or not (root / ".git").exists():
        shutil.copytree(root, to, ignore=JUNK, dirs_exist_ok=True)
        return
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, to / name)


@dataclass
class Mutant:
    """A mutation of a file and the tests that it has still to meet: None stands for all."""

    file: str
    mutation: Mutation
    stages: list[list[str] | None]
    source: str = ""
    fate: str = "survived"
    started: float = 0.0
    child: int = 0
    output: Path = field(default_factory=Path)

    @property
    def change(self) -> tuple[str, str, str]:
        """What the list of equivalent mutants knows it by: lines move, their text does not."""
        return self.file, self.mutation.before, self.mutation.after

    @property
    def shown(self) -> str:
        m = self.mutation
        return f"{self.file}:{m.line}: {m.before}  ->  {m.after}"


def stages(file: str, mutation: Mutation, known: dict) -> list[list[str] | None]:
    """The tests of the file's own module; those of the three test files that call the function most
    for their time; all that call it, which is all there are where an import does."""
    stem = Path(file).stem if Path(file).stem != "__init__" else Path(file).parent.name
    own = [t for t in known["seconds"] if Path(t.split("::")[0]).stem.startswith(f"test_{stem}")]
    key = f"{file}:{mutation.code[0]}:{mutation.code[1]}" if mutation.code else None
    callers = known["calls"].get(key, [None])
    imported = None in callers  # any test may see what an import calls
    seen = set(callers) if not imported else set(known["seconds"])
    own = [t for t in own if t in seen]
    rest = [t for t in callers if t and t not in set(own)] or [t for t in seen if t not in set(own)]
    by_file: dict[str, list[str]] = {}
    for test in rest:
        by_file.setdefault(test.split("::")[0], []).append(test)

    def worth(tests: list[str]) -> float:
        return len(tests) / (SETUP + sum(known["seconds"][t] for t in tests))

    first = sorted(by_file.values(), key=worth, reverse=True)[:3]
    chosen = {test for tests in first for test in tests}
    rest = [] if imported else [t for t in rest if t not in chosen]
    return [s for s in (own, *first, rest, None if imported else []) if s != []]


def start(place: Place, mutant: Mutant, known: dict) -> None:
    tests = mutant.stages.pop(0)

    def run() -> int:
        path, mutated = place.sources / mutant.file, mutant.mutation.apply(mutant.source)
        sys.meta_path.insert(0, Mutated(place.module(mutant.file), path, mutated))
        if tests is None:
            return pytest.main([*OPTIONS, *place.tests])
        seconds: dict[str, float] = {}
        for test in tests:
            name = test.split("::")[0]
            seconds[name] = seconds.get(name, 0) + known["seconds"][test]
        return pytest.main(
            [*OPTIONS, *sorted(seconds, key=seconds.__getitem__)], plugins=[Selection(tests)]
        )

    mutant.started, mutant.child = time.monotonic(), in_a_fork(mutant.output, run)


def ended(mutant: Mutant, timeout: float) -> bool:
    """Whether its run is over; its fate is then known, or it waits for its next stage."""
    found, status = os.waitpid(mutant.child, os.WNOHANG)
    if not found:
        if time.monotonic() - mutant.started < timeout:
            return False
        os.killpg(mutant.child, signal.SIGKILL)
        os.waitpid(mutant.child, 0)
        mutant.fate = "timed out"
        return True
    code = os.waitstatus_to_exitcode(status)
    # a mutant of a table may rename the tests that were chosen: none is left of them
    mutant.fate = "survived" if code in (PASSED, NO_TESTS) else "caught"
    return True


def sweep(place: Place, todo: list[Mutant], known: dict, jobs: int, timeout: float, scratch: Path):
    """Yields each mutant when its fate is known."""
    waiting, slots = todo[::-1], list(range(jobs))
    running: list[tuple[Mutant, int]] = []
    try:
        while waiting or running:
            while waiting and slots:
                mutant, slot = waiting.pop(), slots.pop()
                mutant.output = scratch / f"output-{slot}"
                start(place, mutant, known)
                running.append((mutant, slot))
            for mutant, slot in [pair for pair in running if ended(pair[0], timeout)]:
                running.remove((mutant, slot))
                slots.append(slot)
                if mutant.fate == "survived" and mutant.stages:
                    waiting.append(mutant)
                else:
                    yield mutant
            time.sleep(0.005)
    finally:
        for mutant, _ in running:
            os.killpg(mutant.child, signal.SIGKILL)


def controls(place: Place, files: list[str], known: dict) -> Iterator[Mutant]:
    """Each file as it is, with the tests that call it: they are to pass by themselves."""
    for file in files:
        called = [t for key, t in known["calls"].items() if key.startswith(f"{file}:")]
        if tests := sorted({test for some in called for test in some if test}):
            source = (place.sources / file).read_text(encoding="utf-8")
            yield Mutant(file, AS_IT_IS, [tests], source)


def check(options: argparse.Namespace, root: Path, scratch: Path) -> int:
    place = Place(root, root / options.sources, options.tests)
    sys.path[:1] = [str(root / "src"), str(root)]  # in place of this script's folder
    os.environ.pop("PYTEST_ADDOPTS", None)
    os.environ |= {"PYTHONPATH": str(root / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.chdir(root)
    files = sorted(p.relative_to(place.sources).as_posix() for p in place.sources.rglob("*.py"))
    files = [f for f in files if not options.only or f in options.only]
    if missing := set(options.only) - set(files):
        print(f"--only: no {', '.join(sorted(missing))} in {options.sources}")
        return 2
    known = survey(place, scratch / "survey")
    preload(known["modules"])
    checked = controls(place, files, known)
    for control in sweep(place, list(checked), known, 1, 10 * options.timeout, scratch):
        if control.fate != "survived":
            print(control.output.read_text()[-4000:])
            print(f"{control.file}: its tests fail when they are run by themselves.")
            return 2
    todo = []
    for file in files:
        source = (place.sources / file).read_text(encoding="utf-8")
        todo += [Mutant(file, m, stages(file, m, known), source) for m in mutations(source)]
    whole = len(todo)
    if options.sample and options.sample < whole:
        chosen = set(random.Random(0).sample(range(whole), options.sample))
        todo = [mutant for i, mutant in enumerate(todo) if i in chosen]
    if options.again:
        lines = options.again.read_text(encoding="utf-8").splitlines()
        survived = {re.sub(r":\d+: ", ": ", line, count=1) for line in lines}
        todo = [
            m for m in todo if re.sub(r":\d+: ", ": ", f"survived: {m.shown}", count=1) in survived
        ]
    taken = [] if options.recheck else [m for m in todo if m.change in equivalents(options)]
    todo = [mutant for mutant in todo if mutant.change not in {m.change for m in taken}]
    print(f"{len(todo)} of {whole} mutants of {len(files)} files", flush=True)
    done = list(follow(sweep(place, todo, known, options.jobs, options.timeout, scratch), todo))
    return report(done + taken, options, files if len(todo + taken) == whole else [])


def follow(swept: Iterator[Mutant], todo: list[Mutant]) -> Iterator[Mutant]:
    """Prints each survivor as it is found, and a line when a file is through."""
    left: dict[str, list[Mutant]] = {}
    total = {mutant.file: sum(m.file == mutant.file for m in todo) for mutant in todo}
    began = time.monotonic()
    for mutant in swept:
        yield mutant
        if mutant.fate == "survived":
            print(f"survived: {mutant.shown}", flush=True)
        through = left.setdefault(mutant.file, [])
        through.append(mutant)
        if len(through) == total[mutant.file]:
            fates = [m.fate for m in through]
            survived, late = fates.count("survived"), fates.count("timed out")
            print(
                f"{mutant.file}: {len(fates)} mutants, {survived} survived, {late} timed out "
                f"({time.monotonic() - began:.0f} s)",
                flush=True,
            )


def equivalents(options: argparse.Namespace) -> dict[tuple[str, str, str], str]:
    """(file, before, after) of mutants that compute the same → why they do."""
    listed = options.root / options.equivalent
    known = tomllib.loads(listed.read_text()).get("equivalent", []) if listed.exists() else []
    return {(e["file"], e["before"], e["after"]): e["reason"] for e in known}


def report(done: list[Mutant], options: argparse.Namespace, whole_files: list[str]) -> int:
    reasons = equivalents(options)
    survivors = [m for m in done if m.fate == "survived"]
    unknown = [m for m in survivors if m.change not in reasons]
    seen = {mutant.change for mutant in survivors}
    stale = [key for key in reasons if key[0] in whole_files and key not in seen]
    for mutant in done:
        if mutant.fate == "timed out":
            print(f"timed out (counted as caught): {mutant.shown}")
    if len(unknown) < len(survivors):
        print("of the survivors these are not known to be equivalent:")
        for mutant in sorted(unknown, key=lambda m: (m.file, m.mutation.start)):
            print(f"unknown: {mutant.shown}")
    for file, before, after in stale:
        print(f"no survivor, yet in {options.equivalent}: {file}: {before}  ->  {after}")
    print(
        f"{len(done)} mutants: {len(unknown)} survived, {len(survivors) - len(unknown)} known to "
        f"be equivalent, {len(done) - len(survivors)} caught."
    )
    return 1 if unknown or stale else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--only", action="append", default=[], help="a file of the sources")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--again", type=Path, help="the output of an earlier run")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, drawn with seed 0")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds of one run of tests")
    parser.add_argument("--recheck", action="store_true", help="run known equivalents too")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--sources", default="src/luce/objectives", help="folder below the root")
    parser.add_argument("--tests", nargs="+", default=["tests/objectives", "tests/laws"])
    parser.add_argument("--equivalent", default="tests/mutation/equivalent.toml")
    options = parser.parse_args()
    options.root = options.root.resolve()
    options.again = options.again and options.again.resolve()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        scratch = Path(folder).resolve()
        copy_tree(options.root, scratch / "tree")
        return check(options, scratch / "tree", scratch)


if __name__ == "__main__":
    raise SystemExit(main())
