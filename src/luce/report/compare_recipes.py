"""What differs between runs before their results: values of the recipes, hashes, versions."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luce.report.run import Run

OWN = ("name", "output_dir")
"""Keys that differ between any two runs and say nothing of what they computed."""

FACTS = (
    ("formula", "objective.formula"),
    ("code of the objective", "objective.code.sha256"),
    ("model at the start", "model.initial_hash"),
    ("reference", "reference.hash"),
    ("earlier iterate", "history.hash"),
    ("data file", "data.train.sha256"),
    ("rows and tokens", "data.fingerprint"),
    ("chat template", "template_hash"),
    ("luce", "luce"),
    ("torch", "versions.torch"),
    ("transformers", "versions.transformers"),
)
"""What a run was made of: words, and where the manifest has it."""

_LINE = re.compile(r'^( *)("(?:[^"\\]|\\.)*"|[^":#\s][^":]*):(?: (.*))?$')


@dataclass(frozen=True)
class Given:
    """A value of a recipe, as it is written, and where it came from."""

    value: str
    origin: str


@dataclass(frozen=True)
class KeyDifference:
    """A key whose value is not the same in all recipes; None where a recipe has no such key."""

    key: str
    given: tuple[Given | None, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        sides = [None if g is None else {"value": g.value, "from": g.origin} for g in self.given]
        return {"key": self.key, "given": sides}


@dataclass(frozen=True)
class Fact:
    """What the runs were made of in one respect; None where a run did not record it.

    Attributes:
        same: None where a run did not record it while another did.
    """

    title: str
    values: tuple[str | None, ...]

    @property
    def same(self) -> bool | None:
        if None in self.values:
            return None
        return len(set(self.values)) == 1

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"title": self.title, "same": self.same, "values": list(self.values)}


def recipe_values(text: str) -> dict[str, Given]:
    """Dotted key → value and origin, of the text that a run keeps as its recipe.yaml: a key a line,
    two spaces for each level, and the origin behind the value.

    >>> recipe_values("train:\\n  seed: 1  # command line\\n")
    {'train.seed': Given(value='1', origin='command line')}
    """
    found: dict[str, Given] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or line.lstrip().startswith("#"):
            continue
        depth, key, rest = len(match[1]), match[2], match[3]
        key = json.loads(re.sub(r"\\U000(\w{5})", _shorter, key)) if key[0] == '"' else key
        while path and path[-1][0] >= depth:
            path.pop()
        dotted = ".".join([name for _, name in path] + [key])
        if rest is None:
            path.append((depth, key))
            continue
        value, mark, origin = rest.rpartition("  # ")
        found[dotted] = Given(value, origin) if mark else Given(rest, "")
    return found


def recipe_differences(runs: Sequence[Run]) -> list[KeyDifference]:
    """The keys in which the recipes differ, in the order of the first that has them; [] where a
    run kept no recipe."""
    if any(run.recipe is None for run in runs):
        return []
    read = [recipe_values(run.recipe or "") for run in runs]
    keys = dict.fromkeys(key for values in read for key in values if key not in OWN)
    found = []
    for key in keys:
        given = tuple(values.get(key) for values in read)
        if len({None if g is None else g.value for g in given}) > 1:
            found.append(KeyDifference(key, given))
    return found


def facts(runs: Sequence[Run]) -> list[Fact]:
    """What the runs were made of; what none of them recorded is left out."""
    found = []
    for title, path in FACTS:
        values = tuple(_fact(run, path) for run in runs)
        if any(value is not None for value in values):
            found.append(Fact(title, values))
    return found


def _fact(run: Run, path: str) -> str | None:
    value = run.get(path)
    if value is None and path == "data.fingerprint":
        value = run.get("data_fingerprint")
    return None if value is None or isinstance(value, Mapping) else str(value)


def _shorter(match: re.Match[str]) -> str:
    """YAML's escape of eight digits as the one or two of four that JSON has."""
    return json.dumps(chr(int(match[1], 16)))[1:-1]
