"""Runs of pytest in forks of one process that has already imported everything but the package."""

import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

OPTIONS = ["-q", "-x", "-o", "addopts=", "-m", "not slow", "--import-mode=importlib"]
OPTIONS += ["-p", "no:cacheprovider", "--rootdir=."]
PASSED, NO_TESTS = 0, 5  # of pytest's exit codes


@dataclass(frozen=True)
class Place:
    """Where things are: the copy, the folder of sources in it, the folders of tests."""

    root: Path
    sources: Path
    tests: list[str]

    def module(self, file: str) -> str:
        package = self.sources.relative_to(self.root / "src").parts
        parts = (*package, *Path(file).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class Survey:
    """Which tests call which functions of the sources; None stands for no test in particular."""

    def __init__(self, place: Place) -> None:
        self.prefix, self.copy = f"{place.sources}{os.sep}", str(place.root)
        self.test: str | None = None
        self.calls: dict[str, dict[str | None, None]] = {}
        self.seconds: dict[str, float] = {}

    def trace(self, frame, event, arg) -> None:
        code = frame.f_code
        if code.co_filename.startswith(self.prefix):
            file = code.co_filename.removeprefix(self.prefix)
            key = f"{file}:{code.co_firstlineno}:{code.co_name}"
            self.calls.setdefault(key, {})[self.test] = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.test = item.nodeid
        try:
            return (yield)
        finally:
            self.test = None

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        here, shared = self.test, fixturedef.scope != "function"
        self.test = None if shared else here
        try:
            return (yield)
        finally:
            self.test = here

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    def save(self, path: Path) -> None:
        def outside(module) -> bool:
            file = getattr(module, "__file__", None)
            return not (file and file.startswith(self.copy))

        modules = [name for name, module in sys.modules.items() if outside(module)]
        calls = {key: list(tests) for key, tests in self.calls.items()}
        path.write_text(json.dumps({"modules": modules, "calls": calls, "seconds": self.seconds}))


class Selection:
    """Runs these tests only."""

    def __init__(self, tests: list[str]) -> None:
        self.tests = set(tests)

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.tests]


class Mutated(importlib.abc.MetaPathFinder):
    """Imports one module from a source of ours."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        class Loader(importlib.machinery.SourceFileLoader):
            def get_code(self, fullname):
                return compile(source, str(path), "exec", dont_inherit=True)

        self.module, self.path, self.loader = module, path, Loader(module, str(path))

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self.loader)


def steady_hypothesis() -> None:
    """The same examples for every mutant, and none refused because the machine is slow."""
    if "hypothesis" in sys.modules:
        from hypothesis import HealthCheck, settings

        settings.register_profile(
            "mutants",
            database=None,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutants")


def in_a_fork(output: Path, run: Callable[[], int]) -> int:
    """The number of a child process that exits with run()'s result."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    status = 70
    try:
        os.setsid()
        log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        steady_hypothesis()
        status = int(run())
    finally:
        os._exit(status)


def survey(place: Place, output: Path) -> dict:
    """Which tests call what, and what they import; ends the program where a test fails."""

    def run() -> int:
        recorder = Survey(place)
        sys.settrace(recorder.trace)
        status = pytest.main([*OPTIONS, *place.tests], plugins=[recorder])
        sys.settrace(None)
        recorder.save(output.with_suffix(".json"))
        return status

    _, status = os.waitpid(in_a_fork(output, run), 0)
    if status:
        print(output.read_text()[-4000:])
        print("The tests do not pass as they are, so they say nothing of mutants.")
        raise SystemExit(2)
    return json.loads(output.with_suffix(".json").read_text())


def preload(modules: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in modules:
            try:
                importlib.import_module(name)
            except Exception:  # a module of a stranger that only its package imports
                continue
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    gc.collect()
    gc.freeze()  # what is imported stays: a fork need not look through it, nor copy it
