"""Where faults are put into luce: a tiny model, a file of rows, a recipe, and the command line.

A test of a fault is marked with the number it has on the page and what luce's answer is:

    @case(22, what="a file without rows", answer=ANSWERED)
    def test_a_file_without_rows(bench, says):
        bench.put([])
        says(bench.train().refused("pairs.jsonl", "0 rows"))

`says` is what the page quotes. `python -m tests.faults` runs the suite and writes the page.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fault_table import ANSWERED, ANSWERS, COUNTED, SAME  # noqa: F401 - the tests take them here

from luce.cli.main import run

ROOT = Path(__file__).resolve().parents[2]


def case(*numbers: int, what: str, answer: str) -> pytest.MarkDecorator:
    """The mark of a fault: its numbers on the page, its name there, and how luce answers."""
    assert numbers and answer in ANSWERS
    return pytest.mark.fault(numbers=numbers, what=what, answer=answer)


@dataclass(frozen=True)
class Ended:
    """How a command line ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    def refused(self, *parts: str) -> str:
        """The message of a refusal that holds all these parts; fails where it was none."""
        assert self.code == 2, (self.code, self.out[-500:], self.err[-2000:])
        said = self.err.partition("luce: ")[2].strip()
        assert "Traceback" not in self.err and "internal error" not in self.err, self.err
        for part in parts:
            assert part in said, (part, said)
        return said

    def done(self) -> "Ended":
        """Itself, where the command went through."""
        assert self.code == 0, (self.code, self.out[-500:], self.err[-2000:])
        assert "Traceback" not in self.err, self.err
        return self

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def pair(i: int) -> dict[str, Any]:
    """A row of turns without a fault."""
    return {
        "id": f"r{i}",
        "prompt": [turn("user", f"question {i}, please")],
        "chosen": [turn("assistant", f"a good answer {i}")],
        "rejected": [turn("assistant", f"bad {i}")],
    }


def pairs(n: int = 8) -> list[dict[str, Any]]:
    return [pair(i) for i in range(n)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def spoiled(number: int, **changes: Any) -> list[dict[str, Any]]:
    """Eight rows, one of which has other values; `...` takes a column out."""
    rows = pairs()
    rows[number - 1] = {k: v for k, v in {**rows[number - 1], **changes}.items() if v is not ...}
    return rows


@dataclass
class Bench:
    """A folder with a model, data and a recipe that trains in a second.

    Attributes:
        folder: where the command line runs.
        model: a folder with the tiny model, which a test may spoil.
        recipe: the recipe as a tree.
        ask: carries out a command line in this process.
    """

    folder: Path
    model: Path
    ask: Callable[[Sequence[str]], Ended]
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recipe = {
            "name": "fault",
            "output_dir": str(self.folder / "run"),
            "model": {"path": str(self.model)},
            "data": {"path": str(self.data), "eval": None, "max_length": 128},
            "objective": {"dpo": {"beta": 0.1}},
            "train": {"learning_rate": 0.002, "batch_size": 4, "max_steps": 1},
            "evaluate": {"sample_prompts": 0},
        }
        self.put(pairs())

    @property
    def data(self) -> Path:
        return self.folder / "pairs.jsonl"

    @property
    def run_folder(self) -> Path:
        return Path(self.recipe["output_dir"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The ledger of the run."""
        return lines(self.run_folder / "rows.jsonl")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return lines(self.run_folder / "metrics.jsonl")

    def put(self, content: Sequence[Mapping[str, Any]] | bytes) -> Path:
        """Write the data: rows, or bytes as they are."""
        if not isinstance(content, bytes):
            content = "".join(json.dumps(row) + "\n" for row in content).encode()
        self.data.write_bytes(content)
        return self.data

    def set(self, **sections: Any) -> None:
        """Change keys of the recipe; a mapping is merged into its section."""
        for name, value in sections.items():
            before = self.recipe.get(name)
            merge = isinstance(value, dict) and isinstance(before, dict) and name != "objective"
            self.recipe[name] = {**before, **value} if merge else value

    def write(self) -> Path:
        path = self.folder / "recipe.yaml"
        path.write_text(json.dumps(self.recipe))
        return path

    def train(self, *more: str) -> Ended:
        """`luce train recipe.yaml …`."""
        return self.ask(["train", str(self.write()), *more])

    def check(self, *more: str) -> Any:
        """What `luce check recipe.yaml --json …` found."""
        return self.ask(["check", str(self.write()), "--json", *more]).done().json

    def start(self, *more: str, before: Sequence[str] = (), **variables: str) -> subprocess.Popen:
        """`luce train recipe.yaml …` in a process of its own."""
        command = [*before, sys.executable, "-m", "luce", "train", str(self.write()), *more]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        )


def ended(process: subprocess.Popen, timeout_s: float = 600) -> Ended:
    """How a process of its own ended; the time is for machines that are busy with other things."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()  # it stays with nobody
    return Ended(process.returncode, out, err)


def in_process(capsys: pytest.CaptureFixture[str]) -> Callable[[Sequence[str]], Ended]:
    """The command line, run here; what it writes is caught."""

    def ask(arguments: Sequence[str]) -> Ended:
        capsys.readouterr()
        code = run(arguments)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return ask
