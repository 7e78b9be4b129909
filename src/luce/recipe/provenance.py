"""The resolved recipe as YAML: every value, and behind each where it came from."""

from collections.abc import Mapping
from typing import Any

from luce.recipe.load import Resolved, written
from luce.recipe.yaml12 import scalar_text


def dump_resolved(resolved: Resolved) -> str:
    """YAML that `load_recipe` reads back to an equal recipe, with a comment behind each value:
    `default`, `file:line` or `command line`."""
    lines = [
        "# Every value of this run; behind each, where it came from.",
        *_lines(written(resolved.recipe), resolved.provenance, "", 0),
    ]
    return "\n".join(lines) + "\n"


def _lines(
    tree: Mapping[str, Any], provenance: Mapping[str, str], path: str, depth: int
) -> list[str]:
    found: list[str] = []
    for key, value in tree.items():
        dotted = f"{path}.{key}" if path else key
        head = f"{'  ' * depth}{scalar_text(key)}:"
        if isinstance(value, Mapping) and value:
            found += [head, *_lines(value, provenance, dotted, depth + 1)]
        else:
            origin = " ".join(provenance.get(dotted, "default").split())
            found.append(f"{head} {scalar_text(value)}  # {origin}")
    return found
