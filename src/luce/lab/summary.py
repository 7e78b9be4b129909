"""The lab's page in the documentation: `python -m luce.lab.summary docs` writes its tables."""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from luce.errors import LuceError
from luce.files import write_atomic
from luce.lab import EXPERIMENTS, load
from luce.lab.errata import ERRATA

PAGE = "lab.md"
BEGIN, END = "<!-- by luce.lab.summary: {} -->", "<!-- end of {} -->"


def experiments() -> str:
    """The table of experiments, in Markdown."""
    rows, full, quick = [], 0, 0
    for name in EXPERIMENTS:
        one = load(name)
        full, quick = full + one.cpu_s[0], quick + one.cpu_s[1]
        rows.append(
            (
                f"`luce lab {name}`",
                _text(one.source),
                _text(one.claim),
                f"**{one.verdict}**",
                _text(one.stops),
                f"{one.cpu_s[0]} / {one.cpu_s[1]}",
            )
        )
    rows.append(("`luce lab all`", "", "", "", "", f"{full} / {quick}"))
    head = ("command", "paper and place", "claim", "verdict", "where it stops", "CPU s")
    return _table(head, rows)


def errata() -> str:
    """The table of errors in the papers' texts, in Markdown."""
    rows = [
        (
            f"{row.paper}, {row.place}",
            _text(row.said),
            _text(row.found),
            ", ".join(f"`{name}`" for name in row.shown_by) or "–",
        )
        for row in ERRATA
    ]
    return _table(("paper and place", "the text", "what is so", "shown by"), rows)


def written(page: str) -> str:
    """The page with its tables as they are now.

    Raises:
        LuceError: the page has no place for one.
    """
    for name, table in (("experiments", experiments()), ("errata", errata())):
        begin, end = BEGIN.format(name), END.format(name)
        if begin not in page or end not in page:
            raise LuceError(f"{PAGE}: no `{begin}` and `{end}` to put the table between.")
        between = re.escape(begin) + ".*?" + re.escape(end)
        text = f"{begin}\n{table}\n{end}"
        page = re.sub(between, lambda _, text=text: text, page, flags=re.DOTALL)
    return page


def _text(words: str) -> str:
    """As Markdown: stars and bars are themselves."""
    return words.replace("*", r"\*").replace("|", r"\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(folder: str) -> None:
    """Write the tables of `lab.md` in a folder of documentation."""
    path = Path(folder) / PAGE
    write_atomic(path, written(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(*sys.argv[1:])
