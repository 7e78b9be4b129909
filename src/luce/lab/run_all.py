"""Every experiment, one after another, into one folder; what is finished is not run again."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from luce.errors import LuceError
from luce.files import write_atomic, write_json
from luce.lab.errata import ERRATA
from luce.lab.experiment import Experiment
from luce.lab.write import save

INDEX, PAGE = "index.json", "index.html"


@dataclass(frozen=True)
class Entry:
    """What became of an experiment.

    Attributes:
        name, claim, source, verdict, stops: the experiment's own.
        seeds, quick, luce: settings of the run, and the version of the library.
        state: "passed"; "failed", a number is not what was expected; "error", it did not end.
        found: what the run tells of the claim; of an error, its message.
        failed: the numbers that are not what was expected, in words.
        figures: files in the experiment's folder, SVG.
        cpu_s: CPU seconds, of all threads.
    """

    name: str
    claim: str
    source: str
    verdict: str
    stops: str
    seeds: int
    quick: bool
    luce: str
    state: Literal["passed", "failed", "error"]
    found: str
    failed: tuple[str, ...]
    figures: tuple[str, ...]
    cpu_s: float

    def is_of(
        self, experiment: Experiment, seeds: int, quick: bool, version: str, folder: Path
    ) -> bool:
        """Whether it is finished, with these settings, and its files are there."""
        written = (folder / self.name / file for file in ("numbers.json", *self.figures))
        return (
            self.state != "error"
            and (self.name, self.seeds, self.quick) == (experiment.name, seeds, quick)
            and self.luce == version
            and all(file.is_file() for file in written)
        )


def run_all(
    experiments: Mapping[str, Callable[[], Experiment]],
    folder: Path,
    seeds: int | None,
    quick: bool,
    version: str,
    tell: Callable[[str], None],
) -> list[Entry]:
    """Run what is not yet finished, and keep `index.json` and `index.html` up to date after each.

    An experiment that breaks is told of, and the rest go on; the next call tries it again.

    Args:
        experiments: name → loads it.
        folder: each experiment has one of its own in it.
        seeds: None for each experiment's own.
        quick: as in `Experiment.run`.
        version: of the library; what another version has found is run again.
        tell: takes a line for people.

    Raises:
        LuceError: the folder holds an `index.json` that is not of the lab.
    """
    from luce.lab.page import page

    known = {entry.name: entry for entry in read_index(folder)}
    done: list[Entry] = []
    for number, (name, load) in enumerate(experiments.items(), 1):
        place = f"{number}/{len(experiments)} {name}"
        earlier = known.get(name)
        entry = _run(
            name, load, folder, seeds, quick, version, earlier, partial(_tell, tell, place)
        )
        if entry is not earlier:
            _tell(tell, place, _outcome(entry))
        done.append(entry)
        # those to come keep what an earlier call has found until they are run
        rest = [known[other] for other in list(experiments)[number:] if other in known]
        write_json(folder / INDEX, _plain([*done, *rest]))
        write_atomic(folder / PAGE, page([*done, *rest], folder))
    return done


def _tell(tell: Callable[[str], None], place: str, line: str) -> None:
    tell(f"{place}: {line}")


def _run(
    name: str,
    load: Callable[[], Experiment],
    folder: Path,
    seeds: int | None,
    quick: bool,
    version: str,
    earlier: Entry | None,
    tell: Callable[[str], None],
) -> Entry:
    started, settings = time.process_time(), (seeds or 0, quick, version)
    own = ("", "", "", "")
    try:
        chosen = load()
        count = seeds or (chosen.quick_seeds if quick else chosen.seeds)
        settings = (count, quick, version)
        own = (chosen.claim, chosen.source, chosen.verdict, chosen.stops)
        if earlier is not None and earlier.is_of(chosen, count, quick, version, folder):
            tell("finished before, not run again.")
            return earlier
        tell(f"{count} seeds, about {chosen.cpu_s[quick]} CPU seconds …")
        result = chosen.run(count, quick)
        written = save(folder / name, chosen, result, count, quick)
    except Exception as error:  # the next experiment has nothing to do with it
        spent = time.process_time() - started
        found = f"{type(error).__name__}: {error}"
        return Entry(name, *own, *settings, "error", found, (), (), round(spent, 1))
    return Entry(
        name,
        *own,
        *settings,
        "passed" if result.passed else "failed",
        result.verdict,
        tuple(
            f"{check.what}: {check.found.words()}, expected {check.expected}"
            for check in result.checks
            if not check.passed
        ),
        tuple(path.name for path in written if path.suffix == ".svg"),
        round(time.process_time() - started, 1),
    )


def _outcome(entry: Entry) -> str:
    if entry.state == "error":
        return f"broke off. {entry.found}"
    if entry.state == "failed":
        return f"not as expected ({'; '.join(entry.failed)})."
    return f"as expected, {entry.cpu_s:.0f} CPU seconds. The claim {entry.verdict}."


def _plain(entries: list[Entry]) -> dict[str, Any]:
    return {
        "experiments": [asdict(entry) for entry in entries],
        "errata": [asdict(erratum) for erratum in ERRATA],
        "cpu_s": round(sum(entry.cpu_s for entry in entries), 1),
    }


def read_index(folder: Path) -> Iterator[Entry]:
    """The entries of a folder's `index.json`; none where there is no such file.

    Raises:
        LuceError: the file is not the lab's.
    """
    path = folder / INDEX
    if not path.exists():
        return
    try:
        for row in json.loads(path.read_text(encoding="utf-8"))["experiments"]:
            lists = {key: tuple(row[key]) for key in ("failed", "figures")}
            yield Entry(**(row | lists))
    except (ValueError, KeyError, TypeError) as error:
        raise LuceError(
            f"{path}: not an index of the lab ({error}). Remove it, or choose another folder "
            "with --out."
        ) from error
