"""A run folder as one frozen value: what the report, the model card and comparisons read."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from luce.errors import LuceError

Split: TypeAlias = Literal["train", "eval", "samples"]


@dataclass(frozen=True)
class Series:
    """One metric over training.

    Attributes:
        steps: optimizer steps, ascending.
        values: one per step; nan where the metric was not a number.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def finite(self) -> "Series":
        """The points that are finite numbers."""
        kept = [(s, v) for s, v in zip(self.steps, self.values, strict=True) if math.isfinite(v)]
        return Series(tuple(s for s, _ in kept), tuple(v for _, v in kept))


@dataclass(frozen=True)
class Run:
    """What a run left behind. Files that a run need not have are empty here.

    Attributes:
        folder: where it lies.
        manifest: manifest.json.
        train, held_out, sampled: the lines of metrics.jsonl by split, in the order written.
        timing: timing.jsonl.
        ledger: rows.jsonl, each row dropped, changed or noted.
        samples: samples.jsonl.
        pairs: held_out.jsonl, each held-out pair with its margins.
        evaluation: evaluation.json.
        recipe: the text of recipe.yaml, or None.
        damage: a sentence for each file that ends in the middle of a line.
    """

    folder: Path
    manifest: Mapping[str, Any]
    train: tuple[Mapping[str, Any], ...] = ()
    held_out: tuple[Mapping[str, Any], ...] = ()
    sampled: tuple[Mapping[str, Any], ...] = ()
    timing: tuple[Mapping[str, Any], ...] = ()
    ledger: tuple[Mapping[str, Any], ...] = ()
    samples: tuple[Mapping[str, Any], ...] = ()
    pairs: tuple[Mapping[str, Any], ...] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    damage: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name in the manifest, else the folder's own."""
        return str(self.get("name") or self.folder.resolve().name)

    def get(self, path: str) -> Any:
        """The manifest's value at a dotted path, or None where there is none.

        `run.get("objective.parameters.beta")`
        """
        return dig(self.manifest, path)

    def series(self, metric: str, split: Split = "train") -> Series:
        """A metric by its bare name (`rewards/margins`), over the steps that report it."""
        rows, prefix = {
            "train": (self.train, ""),
            "eval": (self.held_out, "eval_"),
            "samples": (self.sampled, "samples/"),
        }[split]
        key = prefix + metric
        kept = [row for row in rows if key in row]
        values = (row[key] for row in kept)
        return Series(
            tuple(row["step"] for row in kept),
            tuple(float(v) if type(v) in (float, int) else math.nan for v in values),
        )


def dig(mapping: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of nested mappings, or None.

    >>> dig({"a": {"b": 1}}, "a.b"), dig({"a": None}, "a.b")
    (1, None)
    """
    value: Any = mapping
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def load_run(folder: Path | str) -> Run:
    """The run in a folder that `luce train` wrote, finished or not.

    Raises:
        LuceError: no such folder, no manifest in it, or a file of it that is not JSON.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LuceError(
            f"{folder}: no such folder. Give the folder of a run, for example runs/<name>."
        )
    if not (folder / "manifest.json").is_file():
        inside = sorted(p.parent.name for p in folder.glob("*/manifest.json"))
        hint = (
            f"The runs inside it are: {', '.join(inside)}."
            if inside
            else "Give the folder that `luce train` wrote, for example runs/<name>."
        )
        raise LuceError(f"{folder}: not a run, for it has no manifest.json. {hint}")
    damage: list[str] = []
    metrics = _read_lines(folder / "metrics.jsonl", damage)
    for number, row in enumerate(metrics, 1):
        if not isinstance(row.get("step"), int):
            raise LuceError(f"{folder / 'metrics.jsonl'}:{number}: no whole number `step`.")
    recipe = folder / "recipe.yaml"
    evaluation = folder / "evaluation.json"
    return Run(
        folder=folder,
        manifest=_read_object(folder / "manifest.json"),
        train=tuple(row for row in metrics if row.get("split") not in ("eval", "samples")),
        held_out=tuple(row for row in metrics if row.get("split") == "eval"),
        sampled=tuple(row for row in metrics if row.get("split") == "samples"),
        timing=_read_lines(folder / "timing.jsonl", damage),
        ledger=_read_lines(folder / "rows.jsonl", damage),
        samples=_read_lines(folder / "samples.jsonl", damage),
        pairs=_read_lines(folder / "held_out.jsonl", damage),
        evaluation=_read_object(evaluation) if evaluation.is_file() else {},
        recipe=recipe.read_text("utf-8", "replace") if recipe.is_file() else None,
        damage=tuple(damage),
    )


def _read_object(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8", "surrogatepass"))
    except ValueError as error:
        raise LuceError(f"{path}: not JSON ({error}). The run's own file is damaged.") from error
    if not isinstance(value, Mapping):
        raise LuceError(f"{path}: a JSON {type(value).__name__} where an object is expected.")
    return value


def _read_lines(path: Path, damage: list[str]) -> tuple[Mapping[str, Any], ...]:
    """The objects of a .jsonl file; () where there is no file. A last line that a killed run left
    half-written is passed over and told in `damage`; any other bad line is an error."""
    if not path.is_file():
        return ()
    text = path.read_bytes().decode("utf-8", "replace")
    lines = text.split("\n")
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                damage.append(
                    f"{path.name} ends in the middle of line {number}: the run was stopped while "
                    "writing it. The unfinished line is left out here."
                )
                continue
            raise LuceError(f"{path}:{number}: not JSON ({error}). The file is damaged.") from error
        if not isinstance(row, Mapping):
            raise LuceError(f"{path}:{number}: a JSON {type(row).__name__}, not an object.")
        rows.append(row)
    return tuple(rows)
