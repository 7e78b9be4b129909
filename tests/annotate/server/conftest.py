"""A store, a real browser, and the way to import `annotation_pages`."""

import sys
from pathlib import Path

import pytest

# tests are imported by path; this is where `annotation_pages` is found
sys.path.insert(0, str(Path(__file__).parent))

from luce.annotate.server import Settings, Store  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "votes.sqlite", Settings(overlap=2))
    yield opened
    opened.close()


@pytest.fixture
def chromium():
    """A headless browser; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()
