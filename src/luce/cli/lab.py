"""`luce lab`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

if TYPE_CHECKING:
    from luce.lab.experiment import Experiment, Result

lab = App(name="lab")


@lab.default
def experiment(
    name: str,
    /,
    *,
    seeds: int | None = None,
    quick: bool = False,
    out: Path | None = None,
    text: list[Path] | None = None,
    json: bool = False,
) -> int:
    """An experiment of the papers: its figures, and its numbers against what was expected.

    Exit code 1 where a number is not what was expected.

    Parameters
    ----------
    name
        One of `luce lab list`.
    seeds
        Worlds or runs that everything is averaged over. Default: the experiment's own.
    quick
        Fewer seeds, under a minute on one core.
    out
        The folder for figures (PNG and SVG) and numbers.json. Default: lab/NAME.
    text
        Your own text in place of the built-in sentences: a plain file, or one of JSON lines, all
        of whose strings are read; once for each file. Only of experiments on text.
    json
        Print the numbers as JSON.
    """
    from luce.cli.output import print_json, say
    from luce.lab import load, write

    _enough(seeds)
    chosen = load(name)
    count = seeds or (chosen.quick_seeds if quick else chosen.seeds)
    result = _result(chosen, count, quick, text or [])
    folder = out or Path("lab") / name
    written = write.save(folder, chosen, result, count, quick)
    if json:
        print_json(write.plain(chosen, result, count, quick))
    else:
        print(*write.lines(chosen, result), sep="\n")
    say(f"Written to {folder}: {', '.join(path.name for path in written)}.")
    return 0 if result.passed else 1


@lab.command(name="all")
def every_experiment(
    *,
    seeds: int | None = None,
    quick: bool = False,
    out: Path = Path("lab"),
    json: bool = False,
) -> int:
    """Every experiment, and a page with each figure beside the paper's claim and our verdict.

    What is finished in the folder with the same settings is not run again; what breaks is told of,
    and the rest goes on. Exit code 1 where one broke or a number is not what was expected.

    Parameters
    ----------
    seeds
        Worlds or runs that everything is averaged over. Default: each experiment's own.
    quick
        Fewer seeds, smaller runs: all in a quarter of an hour on one core.
    out
        The folder for index.html, index.json and a folder for each experiment.
    json
        Print what index.json holds of each experiment.
    """
    from dataclasses import asdict
    from functools import partial

    from luce import __version__
    from luce.cli.output import print_json, say
    from luce.lab import EXPERIMENTS, load
    from luce.lab.page import headline
    from luce.lab.run_all import run_all

    _enough(seeds)
    todo = {name: partial(load, name) for name in EXPERIMENTS}
    entries = run_all(todo, out, seeds, quick, __version__, say)
    if json:
        print_json([asdict(entry) for entry in entries])
    else:
        print(headline(entries))
    say(f"Written to {out}: index.html, index.json.")
    return 0 if all(entry.state == "passed" for entry in entries) else 1


def _result(chosen: "Experiment", seeds: int, quick: bool, text: Sequence[Path]) -> "Result":
    """Of the experiment on its own world, or on the user's text where that is given."""
    from luce.errors import LuceError
    from luce.lab.text_corpus import sentences_of

    if not text:
        return chosen.run(seeds, quick)
    if chosen.on_text is None:
        raise LuceError(
            f"--text: {chosen.name} is not about text. Leave it out, or choose pbde-fig6 or "
            "pbde-matched-scores."
        )
    return chosen.on_text(seeds, quick, sentences_of(text))


@lab.command(name="list")
def list_experiments(*, json: bool = False) -> None:
    """The experiments there are.

    Parameters
    ----------
    json
        Print them as JSON.
    """
    from luce.cli.output import print_json
    from luce.lab import EXPERIMENTS

    if json:
        print_json({name: line for name, (_, line) in EXPERIMENTS.items()})
        return
    width = max(map(len, EXPERIMENTS))
    for name, (_, line) in EXPERIMENTS.items():
        print(f"{name:{width}}  {line}")


def _enough(seeds: int | None) -> None:
    from luce.errors import LuceError

    if seeds is not None and seeds < 2:
        raise LuceError(f"--seeds: {seeds} must be 2 or more, for an interval over them.")
