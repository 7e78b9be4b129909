"""What the docstring of a preset says, taken apart.

A summary with the formula, further text, then any of these sections in this order:

    Args:       name: what raising it does
    Optimum:    the closed-form optimum, where there is one
    Pitfalls:   program: where other implementations compute something else
    Defaults:   name: what is known of a default that could not be verified in the paper
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SECTIONS = ("Args", "Optimum", "Pitfalls", "Defaults")


@dataclass(frozen=True)
class Docstring:
    """A docstring's parts; paragraphs are single lines.

    Attributes:
        summary: the first paragraph.
        text: the paragraphs after it.
        args, pitfalls, defaults: entries of the sections.
        optimum: the section.
        other: names of sections that are none of these.
    """

    summary: str = ""
    text: tuple[str, ...] = ()
    args: dict[str, str] = field(default_factory=dict)
    optimum: str = ""
    pitfalls: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    other: tuple[str, ...] = ()


def read_docstring(function: Callable[..., Any]) -> Docstring:
    """The parts of a function's docstring; empty where it has none.

    >>> from luce.objectives.presets import dpo
    >>> read_docstring(dpo).summary
    'Direct preference optimization: −log σ(β h).'
    """
    lines = inspect.cleandoc(inspect.getdoc(function) or "").splitlines()
    body, sections, name = [], {}, ""
    for line in lines:
        if line.startswith(">>>"):
            break
        if heading := re.fullmatch(r"([A-Z][A-Za-z]+):", line):
            name = heading[1]
            sections[name] = []
        elif name and (line.startswith(" ") or not line):
            sections[name].append(line[4:])
        else:
            name = ""
            body.append(line)
    summary, *text = _paragraphs(body) or [""]
    known = {key: sections.pop(key, []) for key in SECTIONS}
    return Docstring(
        summary=summary,
        text=tuple(text),
        args=_entries(known["Args"]),
        optimum=" ".join(_paragraphs(known["Optimum"])),
        pitfalls=_entries(known["Pitfalls"]),
        defaults=_entries(known["Defaults"]),
        other=tuple(sections),
    )


def _paragraphs(lines: list[str]) -> list[str]:
    """A block whose lines all have columns, set apart by two spaces, is a list: `a: b; c: d`."""
    found = []
    for block in "\n".join(lines).split("\n\n"):
        rows = [re.fullmatch(r"(\S+)  +(\S.*)", line) for line in block.splitlines()]
        if all(rows) and len(rows) > 1:
            block = "; ".join(f"{row[1]}: {row[2]}" for row in rows if row)
        found.append(" ".join(block.split()))
    return [block for block in found if block]


def _entries(lines: list[str]) -> dict[str, str]:
    """`name: text`, going on over lines that are indented further."""
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if entry := re.match(r"(\S[^:]*): *(.*)", line):
            name = entry[1]
            found[name] = entry[2]
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}"
    return found
