"""YAML as version 1.2 reads it, with the line of every key.

PyYAML follows version 1.1, where `1e-6` is a string and `no` is false. Here `1e-6` is a float,
`on`, `off`, `yes` and `no` are strings, a key given twice is an error, and a tag that would build
an object (`!!python/…`) is refused.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from luce.errors import RecipeError

_TAG = "tag:yaml.org,2002:"
_PATTERNS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}


class _Resolver(BaseResolver):
    """The core schema of YAML 1.2."""


for _name, _pattern in _PATTERNS.items():
    _Resolver.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), None)


class _Loader(Reader, Scanner, Parser, Composer, _Resolver):
    """Text to a graph of nodes. It holds no constructor, so nothing in a file can build objects."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _Resolver.__init__(self)


@dataclass(frozen=True)
class Document:
    """Plain values, and where each stands.

    Attributes:
        value: None, bool, int, float, str, and lists and dicts (with string keys) of these.
        lines: dotted key → line, counted from 1; of mappings and of single values.
    """

    value: Any
    lines: dict[str, int] = field(default_factory=dict)


def parse_yaml(text: str, place: str) -> Document:
    """The value of one YAML document; `place` names the file in errors.

    >>> parse_yaml("train: {learning_rate: 1e-6}", "a.yaml").value
    {'train': {'learning_rate': 1e-06}}
    """
    try:
        node = yaml.compose(text, Loader=_Loader)  # type: ignore[arg-type]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = error.problem or error.context or "cannot be read"
        raise RecipeError(f"{place}:{line}: not valid YAML: {problem}.") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise RecipeError(
            f"{place}:{line}: not valid YAML: the character {error.character!r} is not allowed."
        ) from None
    lines: dict[str, int] = {}
    value = None if node is None else _Builder(place, lines).build(node, "")
    return Document(value, lines)


def read_yaml(path: Path) -> Document:
    """`parse_yaml` of a file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file.") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: is a folder; a recipe is a YAML file.") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text (byte {error.start}).") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}.") from None
    return parse_yaml(text, str(path))


class _Builder:
    """Turns nodes into plain values and notes their lines."""

    def __init__(self, place: str, lines: dict[str, int]) -> None:
        self.place = place
        self.lines = lines
        self.open: set[int] = set()

    def error(self, node: Any, problem: str) -> RecipeError:
        return RecipeError(f"{self.place}:{node.start_mark.line + 1}: {problem}")

    def build(self, node: Any, path: str) -> Any:
        if path:
            self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if id(node) in self.open:
            raise self.error(node, "an alias (`*name`) refers to the value that holds it.")
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != _TAG + kind:
            raise self.tag_error(node)
        self.open.add(id(node))
        value = self.mapping(node, path) if kind == "map" else self.sequence(node, path)
        self.open.remove(id(node))
        return value

    def sequence(self, node: Any, path: str) -> list[Any]:
        return [
            self.build(item, f"{path}.{i}" if path else "") for i, item in enumerate(node.value)
        ]

    def mapping(self, node: Any, path: str) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key_node, item in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a key must be a name, not a list or a mapping.")
            key = key_node.value
            if key == "<<":
                raise self.error(key_node, "merge keys (`<<`) are not part of YAML 1.2.")
            if key in value:
                raise self.error(key_node, f"the key {key!r} is given twice.")
            place = f"{path}.{key}" if path else key
            value[key] = self.build(item, place)
            self.lines[place] = key_node.start_mark.line + 1
        return value

    def scalar(self, node: Any) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return node.value
        if kind not in _PATTERNS:
            raise self.tag_error(node)
        if not re.fullmatch(_PATTERNS[kind], node.value):
            raise self.error(node, f"{node.value!r} is not a YAML {kind}.")
        return _plain(kind, node.value)

    def tag_error(self, node: Any) -> RecipeError:
        tag = node.tag.replace(_TAG, "!!")
        return self.error(node, f"the tag {tag!r} is not allowed; a recipe holds plain values.")


def _plain(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def scalar_text(value: Any) -> str:
    """A single value, or a list of them, as one line that `parse_yaml` reads back the same.

    >>> [scalar_text(v) for v in (1e-6, "1e-6", "a b", True, None, ["q", 1])]
    ['1e-06', '"1e-6"', 'a b', 'true', 'null', '[q, 1]']
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(scalar_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{scalar_text(k)}: {scalar_text(v)}" for k, v in value.items()) + "}"
        )
    if not isinstance(value, str):
        raise TypeError(f"not a plain value: {value!r}")
    plain = re.fullmatch(r"[\w./~^-][\w./~^ -]*(?<! )", value)
    typed = any(re.fullmatch(pattern, value) for pattern in _PATTERNS.values())
    if plain and not typed and not value.startswith(("- ", "---", "...")) and value != "-":
        return value
    body = "".join(c if c.isprintable() and c not in '"\\' else _escape(c) for c in value)
    return f'"{body}"'


def _escape(character: str) -> str:
    return f"\\{character}" if character in '"\\' else f"\\U{ord(character):08x}"
