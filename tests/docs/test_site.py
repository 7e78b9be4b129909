"""The site: it builds without a warning, fetches nothing from elsewhere, and every link and anchor
of every page leads somewhere."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from shown_commands import FENCE, PAGES, ROOT

from luce.recipe.yaml12 import parse_yaml

NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", flags=re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, by the rule of mkdocs and of GitHub where they agree."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\s-]", "", plain).strip().lower()
        name = re.sub(r"\s+", "-", name)
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.add(free)
    return found | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def broken(page: Path, text: str) -> list[str]:
    """The links of a page that lead to no file, out of the checkout, or to no heading."""
    found = []
    for target in LINK.findall(FENCE.sub("", text)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(ROOT):
            found.append(target)
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page):
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_seen():
    page = ROOT / "docs" / "index.md"
    text = "# A `b` c\n[x](#a-b-c) [x](nowhere.md) [x](data.md#nowhere) [x](data.md#truncation)"
    assert broken(page, text) == ["#a-b-c", "nowhere.md", "data.md#nowhere"]
    assert anchors("# A `b` c\n## d\n## d\n```\n# e\n```\n") == {"a-b-c", "d", "d_1"}


def places(nav: list) -> list[str]:
    """Every page of the navigation, groups taken apart."""
    found = []
    for entry in nav:
        for place in entry.values():
            found += places(place) if isinstance(place, list | tuple) else [place]
    return found


def test_every_page_stands_in_the_navigation_once():
    nav = parse_yaml((ROOT / "mkdocs.yml").read_text(), "mkdocs.yml").value["nav"]
    listed = places(nav)
    there = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(there)
    assert [next(iter(group)) for group in nav] == ["Start", "Guides", "Reference", "Theory"]


def test_every_page_is_reached_from_the_first():
    seen, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        links = (target.split("#")[0] for target in LINK.findall(text) if "://" not in target)
        waiting += [(page.parent / link).resolve() for link in links if link]
    missing = set((ROOT / "docs").rglob("*.md")) - seen
    assert not missing


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed; it is in the extra `dev`")
    built = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(
            r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(https?:[^\"]+)", text
        )
        assert not fetched, page
