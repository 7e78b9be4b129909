"""The comparison of runs at the terminal, in 80 columns."""

from collections.abc import Iterator, Sequence

from luce.report.compare import Comparison
from luce.report.numbers import count

WIDTH = 80
TITLE = 30
"""Columns of what is compared; the rest is the runs'."""


def comparison_lines(found: Comparison) -> list[str]:
    """What differs, the results and the differences, a line for each run and thing."""
    lines = [
        _head(f"{letter}  {name}", str(run.folder))
        for letter, name, run in zip(found.letters, found.names, found.runs, strict=True)
    ]
    unfinished = [
        letter
        for letter, run in zip(found.letters, found.runs, strict=True)
        if run.get("status") != "finished"
    ]
    if unfinished:
        lines.append(f"not finished: {', '.join(unfinished)}")
    lines += ["", "What differs in the recipes"]
    lines += list(_recipes(found)) or ["  nothing that was recorded"]
    lines += ["", "What they were made of", *_facts(found)]
    if not found.same_data:
        lines.append("  Not trained and held out on the same rows, or they do not say so:")
        lines.append("  their accuracies are not about the same pairs.")
    lines += ["", "Results, with 95 % intervals", *_results(found)]
    if found.differences:
        lines += ["", "Differences from A on the same pairs or prompts", *_differences(found)]
    return [line.replace("\xa0", " ") for line in lines]


def _recipes(found: Comparison) -> Iterator[str]:
    for key in found.keys:
        sides = [
            f"{letter} –" if given is None else f"{letter} {given.value}  ({given.origin})"
            for letter, given in zip(found.letters, key.given, strict=True)
        ]
        yield from _block(key.key, sides)


def _facts(found: Comparison) -> Iterator[str]:
    for fact in found.facts:
        if fact.same:
            yield from _block(fact.title, [f"the same: {fact.values[0]}"])
            continue
        sides = zip(found.letters, fact.values, strict=True)
        yield from _block(fact.title, [f"{a} {v or 'not recorded'}" for a, v in sides])


def _results(found: Comparison) -> Iterator[str]:
    for metric, values in found.results:
        sides = []
        for letter, value in zip(found.letters, values, strict=True):
            if value is None:
                sides.append(f"{letter} –")
                continue
            parts = [metric.told(value.value), metric.told_range(value.low, value.high)]
            n = "" if value.n is None else f"n = {count(value.n)}"
            sides.append("  ".join([f"{letter} {parts[0]}", *filter(None, (parts[1], n))]))
        yield from _block(metric.title, sides, metric.unit)


def _differences(found: Comparison) -> Iterator[str]:
    names = dict.fromkeys((d.name, d.title) for d in found.differences)
    for name, title in names:
        mine = [d for d in found.differences if d.name == name]
        sides = [f"{found.letters[d.run]} {d.words}, n = {count(d.rows)}" for d in mine]
        yield from _block(title, sides)


def _block(title: str, sides: Sequence[str], unit: str = "") -> Iterator[str]:
    """A title with a line for each side; the unit stands under the title."""
    heads = [title, unit] if unit else [title]
    if len(title) > TITLE - 3:
        yield f"  {_clip(title, WIDTH - 2)}"
        heads = ["", *heads[1:]]
    for index in range(max(len(sides), len(heads))):
        head = heads[index] if index < len(heads) else ""
        side = sides[index] if index < len(sides) else ""
        yield f"  {head:<{TITLE - 2}}{_clip(side, WIDTH - TITLE)}".rstrip()


def _head(title: str, folder: str) -> str:
    title = _clip(title, WIDTH - 22)
    room = WIDTH - len(title) - 2
    return f"{title}  {folder if len(folder) <= room else '…' + folder[1 - room :]}"


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
