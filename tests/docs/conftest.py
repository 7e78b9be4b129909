"""The way to import what reads the pages, and a folder for the commands of a page."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# tests are imported by path; this is where `shown_commands` and the others are found
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "annotate" / "judge"))

from judge_server import JudgeServer, chat  # noqa: E402
from stand_ins import NEEDS, RECIPE, Sandbox, pairs  # noqa: E402

from luce.cli.main import run  # noqa: E402


@pytest.fixture(scope="session")
def a_run(tmp_path_factory, tiny_model_dir) -> Path:
    """The folder of a finished run."""
    home = tmp_path_factory.mktemp("finished")
    box = Sandbox(home, tiny_model_dir)
    (home / "path/to").mkdir(parents=True)
    shutil.copytree(tiny_model_dir, home / "path/to/model")
    pairs(box, home / "pairs.jsonl")
    (home / "recipe.yaml").write_text(RECIPE)
    before = os.getcwd()
    os.chdir(home)
    try:
        assert run(["train", "recipe.yaml"]) == 0
    finally:
        os.chdir(before)
    return home / "runs/recipe"


@pytest.fixture
def sandbox(tmp_path, tiny_model_dir, monkeypatch, request) -> Callable[[str], Sandbox]:
    """`sandbox(page)`: the current folder, with every stand-in of the page."""

    def make(page: str) -> Sandbox:
        needs = NEEDS.get(page, ())
        made = any(name.endswith(":run") for name in needs)
        finished = request.getfixturevalue("a_run") if made else None
        folder = tmp_path / "sandbox"
        folder.mkdir()
        box = Sandbox(folder, tiny_model_dir, finished)
        for name in needs:
            box.put(page, name)
        monkeypatch.chdir(folder)
        return box

    return make


@pytest.fixture
def judge_url(monkeypatch):
    """A server that speaks OpenAI's protocol and finds both responses equally good."""
    running = JudgeServer()
    running.answer = lambda request: chat("Fine.\nVerdict: [[C]]")
    monkeypatch.setenv("JUDGE_URL", running.url)
    yield running.url
    running.stop()
