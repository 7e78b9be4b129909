"""The commands that README and the pages show, block by block."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.S | re.M)
SHELLS = ("console", "bash", "sh", "shell")


@dataclass(frozen=True)
class Shown:
    """A command of a page, `$ ` and comment taken off, or a script of several lines."""

    page: str
    text: str
    script: bool = False


def shown_in(page: str, text: str) -> list[Shown]:
    """Every command of a page, in order; ValueError for a block whose commands cannot be told."""
    found = []
    for language, block in FENCE.findall(text):
        if language in ("bash", "sh", "shell"):
            found.append(Shown(page, block.strip(), script=True))
        elif language == "console":
            lines = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
            if not lines:
                raise ValueError(f"{page}: a console block without a line that begins with `$ `")
            found += [Shown(page, re.sub(r"\s+#\s.*$", "", line).strip()) for line in lines]
        elif not language and re.search(r"^(\$ |luce |pip )", block, flags=re.M):
            raise ValueError(f"{page}: a block of commands that is not marked as console")
    return found


def every_command() -> dict[str, list[Shown]]:
    """Page → its commands; pages without any are left out."""
    found = {}
    for path in PAGES:
        name = path.relative_to(ROOT).as_posix()
        if commands := shown_in(name, path.read_text(encoding="utf-8")):
            found[name] = commands
    return found


def inline_commands() -> list[Shown]:
    """Commands within the running text, between back ticks."""
    found = []
    for path in PAGES:
        text = FENCE.sub("", path.read_text(encoding="utf-8"))
        for span in re.findall(r"`(luce [^`]+)`", text):
            found.append(Shown(path.relative_to(ROOT).as_posix(), " ".join(span.split())))
    return found
