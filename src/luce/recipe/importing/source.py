"""What another program was told: a YAML or JSON file, or a command line in a shell script."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luce.errors import LuceError, RecipeError
from luce.recipe.yaml12 import parse_yaml, read_yaml

STOP = {";", "&&", "||", "|", "&", ">", ">>", "2>&1", "<", "EOF"}
DEVICES = re.compile(r"--(nproc[-_]per[-_]node|num[-_]processes|num[-_]gpus)[ =]+(\d+)")
"""How launchers are told the number of processes."""


@dataclass(frozen=True)
class Source:
    """The settings that a file holds.

    Attributes:
        place: the file.
        values: key → value; of a command line the flags without dashes.
        program: what the command line runs, as the peer's pattern names it; "" for a file of keys.
        words: words of the command line that belong to no flag.
        devices: the number of processes that the file's launcher is told, or None.
        config: the file that the command line names.
        spelled: key → how the file spells it, where that differs.
    """

    place: str
    values: Mapping[str, Any]
    program: str = ""
    words: tuple[str, ...] = ()
    devices: int | None = None
    config: str = ""
    spelled: Mapping[str, str] = field(default_factory=dict)


def read_source(path: Path, command: re.Pattern[str]) -> Source:
    """The settings in a file. `command` finds a command line; its first group that matched is the
    program.

    Raises:
        LuceError: no such file, neither keys nor such a command line, or a shell variable without
            a value.
    """
    text = read_text(path)
    if path.suffix in (".yaml", ".yml", ".json"):
        return Source(str(path), _mapping(path))
    text = _substituted(re.sub(r"\\[ \t]*\r?\n", " ", text))
    line = next((s for s in text.splitlines() if command.search(s) and not _comment(s)), None)
    if line is None:
        return Source(str(path), _keys_or_error(path, text))
    found = command.search(line)
    assert found is not None
    tokens = _tokens(path, line[found.end() :])
    values, words = _flags(path, tokens)
    program = next((group for group in found.groups() if group), "")
    config = str(values.pop("config", ""))
    if config:
        values = {**_mapping(_beside(path, config)), **values}
    told = DEVICES.search(text)
    return Source(str(path), values, program, tuple(words), int(told[2]) if told else None, config)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        LuceError: there is none, or it is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise LuceError(f"{path}: no such file.") from None
    except (IsADirectoryError, UnicodeDecodeError, OSError) as error:
        raise LuceError(f"{path}: cannot be read: {error}.") from None


def with_file(source: Source, name: str) -> Source:
    """The source with the keys of the file that its command line names; flags count before keys."""
    keys = _mapping(_beside(Path(source.place), name))
    return Source(source.place, {**keys, **source.values}, source.program, (), source.devices, name)


def _comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _mapping(path: Path) -> dict[str, Any]:
    value = read_yaml(path).value
    if not isinstance(value, dict):
        raise LuceError(f"{path}: expected `key: value` lines.")
    return value


def _keys_or_error(path: Path, text: str) -> dict[str, Any]:
    try:
        value = parse_yaml(text, str(path)).value
    except RecipeError:
        value = None
    if not isinstance(value, dict):
        raise LuceError(
            f"{path}: neither `key: value` lines nor a command line of this program. Give its "
            "configuration file, or a shell script that runs it."
        )
    return value


def _beside(path: Path, name: str) -> Path:
    """The file that a script names: from the current folder, or from that of the script."""
    beside = path.parent / name
    return beside if beside.exists() and not Path(name).exists() else Path(name)


def _substituted(text: str) -> str:
    """Shell variables that the text itself gives a value, or a default, put in their places."""
    known: dict[str, str] = {}

    def value(found: re.Match[str]) -> str:
        name, default = found[1] or found[3], found[2]
        if name in known:
            return known[name]
        return found[0] if default is None else default

    pattern = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")
    lines = []
    for line in text.splitlines():
        line = line if _comment(line) else pattern.sub(value, line)
        given = re.fullmatch(r"\s*(?:export\s+)?(\w+)=(\"[^\"]*\"|'[^']*'|[^\s;]*)\s*", line)
        if given:
            known[given[1]] = given[2].strip("\"'")
        lines.append(line)
    return "\n".join(lines)


def _tokens(path: Path, rest: str) -> list[str]:
    try:
        tokens = shlex.split(rest, comments=True)
    except ValueError as error:
        raise LuceError(f"{path}: the command line cannot be read: {error}.") from None
    end = next((i for i, token in enumerate(tokens) if token in STOP), len(tokens))
    for token in tokens[:end]:
        unset = re.search(r"\$\{?\w+\}?", token)
        if unset:
            raise LuceError(
                f"{path}: `{unset[0]}` has no value in the file. Write the value in its place."
            )
    return tokens[:end]


def _flags(path: Path, tokens: list[str]) -> tuple[dict[str, Any], list[str]]:
    """`--key value`, `--key=value`, `--key` (true), `--no_key` (false) and `--key a b` (a list)."""
    values: dict[str, Any] = {}
    words: list[str] = []
    key = ""
    for token in tokens:
        if re.match(r"--?[A-Za-z]", token):
            key, sign, value = token.lstrip("-").partition("=")
            key = key.replace("-", "_")
            values[key] = _value(value) if sign else True
            key = "" if sign else key
        elif not key:
            words.append(token)
        elif values[key] is True:
            values[key] = _value(token)
        else:
            held = values[key] if isinstance(values[key], list) else [values[key]]
            values[key] = [*held, _value(token)]
    for name in [n for n, v in values.items() if n.startswith("no_") and v is True]:
        values[name.removeprefix("no_")] = not values.pop(name)
    return values, words


def _value(text: str) -> Any:
    """A word of a command line, as YAML would read it where it can."""
    try:
        return parse_yaml(text, "").value
    except RecipeError:
        return text
