"""Folders of runs, a real browser, and the way to import `board_pages`."""

import json
import shutil
import sys
from pathlib import Path

import pytest

# tests are imported by path; this is where `board_pages` is found
sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi", reason="the extra `ui` is not installed")

from board_pages import write_sweep  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")

ONLINE = {
    "luce": "0.1.0", "name": "rounds", "kind": "online", "status": "finished",
    "command": ["luce", "online", "r.yaml"], "objective": {"name": "dpo", "formula": "f"},
    "annotator": {"name": "gold"}, "gold": None,
}  # fmt: skip


def share(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 100}


def round_line(number):
    found = {"win_rate": share(0.5 + 0.1 * number)}
    return {
        "round": number, "prompts": 10, "samples": 40, "annotations": 20, "rows": 10,
        "trained_rows": 10, "left_out": {}, "no_row": {}, "annotations_so_far": 20 * number,
        "reference": {"is": "policy of round 0"}, "kl": {"initial": share(1.0 * number)},
        "evaluation": {"annotator": {"initial": found, "reward": share(1.0)}, "length": share(6.0)},
        "sampler_gap": {"mean": 1e-7}, "tokens": {"shared": 50, "unshared": 100},
    }  # fmt: skip


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def online_folder(tmp_path):
    """Writes an online run of two rounds, with answers and the training of round 1."""

    def write(root, name="rounds"):
        folder = root / name
        (folder / "rounds/000").mkdir(parents=True)
        (folder / "rounds/002").mkdir()
        (folder / "manifest.json").write_text(json.dumps(ONLINE))
        (folder / "rounds.jsonl").write_text(lines(round_line(k) for k in (1, 2)) + '{"round": 3')
        (folder / "recipe.yaml").write_text("name: rounds\n")
        (folder / "evaluation.json").write_text(json.dumps(round_line(2)["evaluation"]))
        asked = {"number": 7, "split": "held_out", "prompt": "Say hello to a guest."}
        (folder / "prompts.jsonl").write_text(lines([asked]))
        for part, text in (("000", "Well."), ("002", "Good morning <b>")):
            row = {"prompt": 7, "text": text, "ids": [1, 2], "ended": True}
            (folder / "rounds" / part / "answers.jsonl").write_text(lines([row]))
        return folder

    return write


@pytest.fixture
def runs(tmp_path, finished_folder, write_run, with_manifest, make_metrics, online_folder):
    """A folder with a finished run, one below it that was stopped, an online run, an experiment of
    the lab, a damaged run, and folders that are none of luce's."""
    root = tmp_path / "runs"
    root.mkdir()
    shutil.copytree(finished_folder, root / "done")
    stopped = write_run(
        "runs/deep/er/stopped",
        manifest=with_manifest({"objective.name": "simpo"}) | {"status": "running"},
        metrics=make_metrics(60, 20),
        evaluation=None,
        recipe="train:\n  learning_rate: 3.0e-06  # recipe\n",
    )
    import os

    for path in stopped.iterdir():
        os.utime(path, (1.7e9, 1.7e9))
    online_folder(root)
    lab = root / "lab" / "some-claim"
    lab.mkdir(parents=True)
    check = {"what": "a slope", "expected": "1", "passed": True}
    numbers = {"name": "some-claim", "claim": "Water is wet.", "verdict": "It is.", "passed": True}
    (lab / "numbers.json").write_text(json.dumps(numbers | {"checks": [check]}))
    (lab / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "damaged").mkdir()
    (root / "damaged" / "manifest.json").write_text('{"luce": "0.1.0", "sta')
    (root / "web").mkdir()
    (root / "web" / "manifest.json").write_text('{"icons": []}')
    return root


@pytest.fixture
def swept(runs, write_run, with_manifest):
    """`runs` with a finished sweep of four runs beside the others."""
    folder = runs / "recipe-sweep"
    folder.mkdir()
    for run in write_sweep(folder):
        manifest = with_manifest({"name": run.name})
        shutil.move(write_run(f"made/{run.name}", manifest=manifest), run.folder)
    return runs


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
