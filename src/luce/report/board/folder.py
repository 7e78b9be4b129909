"""Which runs lie in a folder, and which paths that somebody asks for lie in it."""

import os
from collections.abc import Iterator
from pathlib import Path

from luce.errors import LuceError
from luce.report.watch import FILES

PARTS = frozenset("annotators best checkpoints critic history model reference rounds train".split())
"""Folders inside a run: what lies there is part of the run, not another one."""

MARKS = ("manifest.json", "numbers.json", "sweep.json")
"""Files that a folder with something for the board has one of."""

MOST_DEEP = 12


class NotInside(LuceError):
    """A path that is not one of a run in the folder."""


def runs_in(root: Path) -> Iterator[Path]:
    """Every folder below `root`, itself included, with a manifest.json (a run), a numbers.json (an
    experiment of the lab) or a sweep.json (a sweep), in alphabetic order. Links to folders are not
    followed, and what cannot be read is passed over."""
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name, reverse=True)
                plain = [(e.name, e.is_dir(follow_symlinks=False)) for e in entries]
        except OSError:
            continue
        names = {name for name, is_folder in plain if not is_folder}
        within = "manifest.json" in names
        if not names.isdisjoint(MARKS):
            yield folder
        if depth == MOST_DEEP:
            continue
        for name, is_folder in plain:
            if is_folder and not name.startswith(".") and not (within and name in PARTS):
                waiting.append((folder / name, depth + 1))


def inside(root: Path, path: str) -> Path:
    """The folder of a run by its path from `root`.

    Raises:
        NotInside: the path leads out of `root`, also by a link; or a file of the run does; or no
            run is there.
    """
    if "\x00" in path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise NotInside("No run is there.")
    root = root.resolve()
    try:
        folder = (root / path).resolve()
    except (OSError, RuntimeError):  # a name too long, links in a ring
        raise NotInside("No run is there.") from None
    if not folder.is_relative_to(root) or not is_run(folder):
        raise NotInside("No run is there.")
    if (name := leads_out(root, folder)) is not None:
        raise NotInside(f"{name} is a link out of the folder; the board does not follow it.")
    return folder


def is_run(folder: Path) -> bool:
    """Whether a run, an experiment of the lab or a sweep is there."""
    return any(os.path.isfile(folder / name) for name in MARKS)


def leads_out(root: Path, folder: Path) -> str | None:
    """The name of a file of the run that is a link out of `root`; None without any."""
    root = root.resolve()
    told = [*FILES, "numbers.json", "sweep.json"]
    paths = [folder / name for name in told] + list(folder.glob("rounds/*/answers.jsonl"))
    for path in paths:
        if path.exists() and not path.resolve().is_relative_to(root):
            return path.name
    return None
