"""What luce needs may be given on under the terms of luce: every package's licence is on a list."""

import re
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement

ALLOWED = re.compile(
    r"apache|\bmit\b|\bbsd|\bpsf\b|python software foundation|\bisc\b|mpl-2|mozilla public|"
    r"unlicense|\bcc0|\bzlib|\b0bsd|matplotlib|public domain|hpnd",
    re.IGNORECASE,
)
SAID_ELSEWHERE = {
    "torch": "BSD-3-Clause",
    "jaxtyping": "MIT",
    "wadler-lindig": "MIT",
    "peft": "Apache-2.0",
}
"""Packages whose metadata name no licence, or hold it whole; each read in its own repository."""


def needed(name: str, seen: dict[str, str]) -> dict[str, str]:
    """name → licence of a package and of all that it needs here, without extras."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return seen
    try:
        found = distribution(name)
    except PackageNotFoundError:  # for another system or another Python
        return seen
    about = found.metadata
    told = [about.get("License-Expression") or "", (about.get("License") or "")[:200]]
    told += [c for c in about.get_all("Classifier") or [] if c.startswith("License")]
    seen[key] = SAID_ELSEWHERE.get(key, " ".join(told))
    for line in found.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed(requirement.name, seen)
    return seen


def test_every_licence_is_on_the_list():
    licences = needed("luce", {})
    assert len(licences) > 20 and "torch" in licences
    unknown = {name: said for name, said in licences.items() if not ALLOWED.search(said)}
    assert unknown == {}


@pytest.mark.parametrize("said", ["GPL-3.0-or-later", "Proprietary", ""])
def test_a_licence_that_is_not_is_seen(said):
    assert not ALLOWED.search(said)
