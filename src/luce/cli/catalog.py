"""`luce list`: what a recipe can name, read from the tables themselves."""

import textwrap
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal[
    "objectives",
    "losses",
    "scores",
    "labels",
    "regularizers",
    "lists",
    "formats",
    "diagnostics",
]

WIDTH = 80
NAMES = 25
"""Columns that names take."""


def list_names(kind: Kind = "objectives", /, *, json: bool = False) -> None:
    """Names that a recipe or Python can use, with what each is; `luce show NAME` says more.

    Parameters
    ----------
    kind
        Which table. `lists` are the losses of objectives on lists.
    json
        Print name, group and what it is as JSON.
    """
    from luce.cli.output import print_json

    rows = _rows(kind)
    if json:
        print_json(rows)
        return
    group = ""
    for row in rows:
        if row["group"] != group:
            print(("\n" if group else "") + row["group"])
            group = row["group"]
        print(_line(row["name"], row["what"], indent="  " if group else ""))


def _rows(kind: Kind) -> list[dict[str, str]]:
    """name, group and what it is, of each entry of a table, groups together."""
    if kind == "formats":
        from luce.data.formats import FORMATS
        from luce.objectives.card_lines import STRUCTURES

        order = list(STRUCTURES)
        return [
            {"name": name, "group": STRUCTURES[entry.structure], "what": _needs(entry)}
            for name, entry in sorted(FORMATS.items(), key=lambda e: order.index(e[1].structure))
        ]
    if kind == "diagnostics":
        from luce.diagnostics.cards import DIAGNOSTICS

        return [{"name": n, "group": "", "what": c.asks} for n, c in DIAGNOSTICS.items()]
    from luce.objectives.cards import TABLES, summary

    rows = [
        {"name": name, "group": _group(kind, name), "what": summary(kind, name)}
        for name in TABLES[kind]
    ]
    order = list(dict.fromkeys(row["group"] for row in rows))
    return sorted(rows, key=lambda row: order.index(row["group"]))


def _group(kind: Kind, name: str) -> str:
    """Of objectives what rows they take, and whether they compare with a reference."""
    if kind != "objectives":
        return ""
    from luce.objectives.card_lines import group

    return group(name)


def _needs(entry: Any) -> str:
    needs: Mapping[str, str] = entry.needs
    columns = ", ".join(f"{column} ({values})" for column, values in needs.items())
    return f"{columns}; {entry.about}"


def _line(name: str, what: str, indent: str) -> str:
    """Name and text side by side, the text going on below itself."""
    wrapped = textwrap.wrap(what, WIDTH - NAMES, break_long_words=False, break_on_hyphens=False)
    first, *rest = wrapped or [""]
    head = f"{indent}{name}".ljust(NAMES)
    lines = [head + first] if head.endswith(" ") else [head, " " * NAMES + first]
    return "\n".join([*lines, *(" " * NAMES + line for line in rest)])
