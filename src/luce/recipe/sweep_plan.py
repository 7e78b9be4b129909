"""What a sweep would run: the combinations of values, a folder for each, and what is there already.

Everything that can be wrong with a key or a value is told here, before anything runs.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from luce.errors import LuceError, RecipeError
from luce.files import fingerprint, sha256_file
from luce.recipe.load import Resolved, load_recipe, written
from luce.recipe.overrides import flatten, parse_override
from luce.recipe.preferred import check_annotator
from luce.recipe.prepare import check_fit
from luce.recipe.watch import check_watch
from luce.recipe.yaml12 import parse_yaml

State: TypeAlias = Literal["new", "resume", "finished"]

LONGEST = 120
"""Characters of a folder's name; a longer one ends in a hash."""

FREE = (
    "name",
    "output_dir",
    "train.logging_steps",
    "train.save_steps",
    "train.save_total_limit",
    "train.report_to",
    "diagnose",
)
"""Keys in which a run that is there may differ from the one that is asked for: they enter no number
that the sweep tells."""


@dataclass(frozen=True)
class Axis:
    """A key, and its values as they were written."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    """A run of the sweep.

    Attributes:
        name: of its folder, made of its values.
        folder: where it is written.
        values: key → value, as written, of the keys that the sweep varies.
        overrides: of the recipe, name and folder among them.
        resolved: its recipe.
        state: what is there already.
    """

    name: str
    folder: Path
    values: Mapping[str, str]
    overrides: tuple[str, ...]
    resolved: Resolved
    state: State


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, in the order of the combinations, the last key changing fastest."""

    recipe: Path
    folder: Path
    axes: tuple[Axis, ...]
    runs: tuple[Planned, ...]


def parse_axis(text: str) -> Axis:
    """`key=a,b` → the key and its values. Commas within brackets, braces or quotes belong to a
    value: a list is one value.

    >>> parse_axis("train.seed=0,1")
    Axis(key='train.seed', values=('0', '1'))
    >>> parse_axis("model.lora.target_modules=[q_proj,v_proj],all-linear").values
    ('[q_proj,v_proj]', 'all-linear')
    """
    key, sign, raw = text.partition("=")
    key = key.strip().removeprefix("recipe.").removeprefix("--")
    if not sign or not key:
        raise RecipeError(f"command line: expected `key=value,value,…`, got {text!r}.")
    values = tuple(split_values(raw, key))
    read = [canonical(key, value) for value in values]
    for index, value in enumerate(read):
        if value in read[:index]:
            raise RecipeError(f"command line: {key}: {values[index]} is given twice.")
    return Axis(key, values)


def split_values(raw: str, key: str) -> list[str]:
    """The values of a list without brackets, as they are written.

    Raises:
        RecipeError: a value is empty, or a bracket or quote is not closed.
    """
    parts, depth, quote = [""], 0, ""
    for character in raw:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (depth or not parts[-1].strip()):
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    if depth or quote:
        raise RecipeError(f"command line: {key}: a bracket or quote is not closed in {raw!r}.")
    parts = [part.strip() for part in parts]
    if "" in parts:
        raise RecipeError(
            f"command line: {key}: an empty value in {raw!r}. Write `null` for nothing, and quotes "
            "around a value with a comma."
        )
    return parts


def canonical(key: str, value: str) -> str:
    """One text for a value however it is written."""
    return fingerprint(parse_override(_override(key, value)).value)


def plan_sweep(recipe: str | Path, texts: Sequence[str], out: Path | None = None) -> Plan:
    """The runs of a sweep, checked.

    Args:
        recipe: a recipe file.
        texts: `key=a,b,c` each; a key with one value holds for all runs.
        out: where the runs are written; None: `<output_dir>-sweep` of the recipe.

    Raises:
        LuceError: a key or value that no recipe takes; a folder that holds another run.
    """
    axes = [parse_axis(text) for text in texts]
    _check_keys(axes)
    path = Path(recipe)
    if out is None:
        first = [_override(axis.key, axis.values[0]) for axis in axes]
        base = Path(load_recipe(path, first).recipe.output_dir)
        out = base.with_name(f"{base.name}-sweep")
    if (out / "manifest.json").exists():
        raise RecipeError(f"{out}: holds a run. Name another folder with --out.")
    hashes: dict[str, str] = {}
    varied = [axis for axis in axes if len(axis.values) > 1] or axes
    fixed = {axis.key: axis.values[0] for axis in axes if axis not in varied}
    short = _short([axis.key for axis in varied])
    combinations = [
        dict(zip([axis.key for axis in varied], values, strict=True))
        for values in itertools.product(*(axis.values for axis in varied))
    ]
    names = [_name({short[key]: value for key, value in one.items()}) for one in combinations]
    twice = {name for name, n in Counter(names).items() if n > 1}
    runs = []
    for values, name in zip(combinations, names, strict=True):
        own = f"{name}-{fingerprint(values)[:8]}" if name in twice else name
        runs.append(_planned(path, out / own, fixed, values, hashes))
    changed = [(run, text) for run, text in runs if text]
    if changed:
        raise RecipeError(
            f"{changed[0][0].folder}: holds a run of another recipe ({changed[0][1]}"
            f"{f'; {len(changed) - 1} more such folders' if len(changed) > 1 else ''}). Name "
            "another folder with --out, or delete what is there."
        )
    return Plan(path, out, tuple(axes), tuple(run for run, _ in runs))


def state_of(folder: Path) -> State:
    """How far the run in a folder is."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return "new"
    done = json.loads(manifest.read_text("utf-8")).get("status") == "finished"
    return "finished" if done else "resume"


def _check_keys(axes: Sequence[Axis]) -> None:
    if not axes:
        raise RecipeError("luce sweep: name what to vary, as in `train.learning_rate=1e-6,3e-6`.")
    for index, axis in enumerate(axes):
        if axis.key in ("name", "output_dir"):
            raise RecipeError(
                f"command line: {axis.key}: every run of a sweep has one of its own. Name the "
                "folder of all with --out."
            )
        if axis.key in [other.key for other in axes[:index]]:
            raise RecipeError(f"command line: {axis.key}: given twice. Put all values behind one.")


def _planned(
    recipe: Path,
    folder: Path,
    fixed: Mapping[str, str],
    values: Mapping[str, str],
    hashes: dict[str, str],
) -> tuple[Planned, str]:
    """A run, and how a run that is there differs from it; "" where it does not."""
    overrides = (
        *(_override(key, value) for key, value in {**fixed, **values}.items()),
        f"name={folder.name}",
        f"output_dir={folder}",
    )
    resolved = load_recipe(recipe, overrides)
    check_fit(resolved.recipe, resolved.objective)
    check_watch(resolved.recipe)
    if not hashes:  # the annotator is a model that takes a while to load: once is enough
        check_annotator(resolved.recipe)
    state = state_of(folder)
    run = Planned(folder.name, folder, dict(values), overrides, resolved, state)
    data = resolved.recipe.data.path
    if data not in hashes:
        hashes[data] = sha256_file(Path(data)) if Path(data).is_file() else ""
    return run, "" if state == "new" else _changed(run, hashes[data])


def _changed(run: Planned, data_hash: str) -> str:
    """How the run in a folder differs from the one that is asked for."""
    try:
        there = load_recipe(run.folder / "recipe.yaml").recipe
    except (LuceError, OSError) as error:
        return f"its recipe.yaml cannot be read: {error}"
    old, new = (flatten(written(recipe)) for recipe in (there, run.resolved.recipe))
    told = [
        f"{key}: {old.get(key)} → {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if key not in FREE and old.get(key) != new.get(key)
    ]
    manifest = json.loads((run.folder / "manifest.json").read_text("utf-8"))
    before = manifest.get("data", {}).get("train", {}).get("sha256")
    if data_hash and before and before != data_hash:
        told.append(f"the content of {run.resolved.recipe.data.path}")
    return "; ".join(told)


def _override(key: str, value: str) -> str:
    """A value as `key=value`. Where the key holds text, quotes around it are not part of it."""
    text = f"{key}={value}"
    if value[0] in "\"'" and parse_override(text).value == value:
        return f"{key}={parse_yaml(value, f'command line: {key}').value}"
    return text


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Each key by its last part, or whole where two keys have the same one.

    >>> _short(["train.seed", "model.path", "data.path"])
    {'train.seed': 'seed', 'model.path': 'model.path', 'data.path': 'data.path'}
    """
    last = Counter(key.rpartition(".")[2] for key in keys)
    return {k: k.rpartition(".")[2] if last[k.rpartition(".")[2]] == 1 else k for k in keys}


def _name(values: Mapping[str, Any]) -> str:
    """A folder's name out of keys and values.

    >>> _name({"beta": "0.1", "path": "models/a b"})
    'beta=0.1,path=models-a-b'
    """
    text = ",".join(f"{key}={value}" for key, value in values.items())
    name = re.sub(r"[^\w.,+=-]+", "-", text).strip("-.")
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}-{fingerprint(dict(values))[:8]}"
