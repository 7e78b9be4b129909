"""Installed packages against those that luce's own metadata ask for."""

import platform
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from luce.recipe.doctor import Check, importable

MODULES = {"pyyaml": "yaml"}
"""Packages that luce needs whose module has another name."""

NUMBERS = ("tokenizers",)
"""Packages that enter a number although luce asks for them through another one only."""


def versions() -> list[Check]:
    """Python, luce, and every package that luce needs, with the range it needs; each is loaded."""
    asked = str(metadata.metadata("luce")["Requires-Python"])
    here, mine = platform.python_version(), metadata.version("luce")
    python = Check("versions", "python", here, value=here)
    if not SpecifierSet(asked).contains(here, prereleases=True):
        found, how = f"{here}; luce needs {asked}", "Install a newer Python."
        python = Check("versions", "python", found, "failed", how, here)
    needs = [need for need in _needs() if _applies(need, "")]
    checks = [python, Check("versions", "luce", mine, value=mine), *map(_needed, needs)]
    for name in NUMBERS:
        if (version := _installed(name)) is not None:
            checks.append(Check("versions", name, version, "note", value=version))
    return checks


def extras() -> list[Check]:
    """One check for each optional extra: what of it is missing or too old, and how to install."""
    found = []
    for extra in metadata.metadata("luce").get_all("Provides-Extra") or ():
        mine = [n for n in _needs() if _applies(n, extra) and not _applies(n, "")]
        lacking = sorted(need.name for need in mine if _why_not(need))
        if lacking:
            told = f"without {', '.join(lacking)}"
            how = f"pip install 'luce[{extra}]'"
            found.append(Check("extras", extra, told, "missing", how, lacking))
        else:
            there = ", ".join(sorted(need.name for need in mine))
            found.append(Check("extras", extra, there, value=[]))
    return found


def _needs() -> list[Requirement]:
    return [Requirement(text) for text in metadata.requires("luce") or ()]


def _applies(need: Requirement, extra: str) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": extra})


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _why_not(need: Requirement) -> str:
    """Why what is installed does not meet the need; empty where it does."""
    version = _installed(need.name)
    if version is None:
        return f"not installed; luce needs {need.specifier}"
    if not need.specifier.contains(version, prereleases=True):
        return f"{version}; luce needs {need.specifier}"
    return ""


def _needed(need: Requirement) -> Check:
    """A package that luce cannot do without: there, of a version in the range, and loadable."""
    version, why = _installed(need.name), _why_not(need)
    how = f"pip install '{need.name}{need.specifier}'"
    if not why:
        broken = importable(MODULES.get(need.name.lower(), need.name.replace("-", "_")))
        why = f"{version} does not load: {broken}" if broken else ""
    if why or version is None:
        return Check("versions", need.name, why, "failed", how, version)
    return Check("versions", need.name, version, value=version)
