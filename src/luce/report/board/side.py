"""Two runs and more beside each other: what differs in their recipes, and their samples."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luce.errors import LuceError
from luce.report.compare_recipes import recipe_differences
from luce.report.online_page import answers
from luce.report.page import clip, visible
from luce.report.run import Run, load_run
from luce.report.samples import ALL_BYTES, CHARACTERS, MOST

MOST_RUNS = 8


def beside(root: Path, paths: Sequence[str]) -> dict[str, Any]:
    """Names, differing recipe keys, and the samples that at least two runs have of one prompt.

    Raises:
        LuceError: fewer than two runs or more than eight, one named twice, or a folder without one.
    """
    if not 2 <= len(paths) <= MOST_RUNS or len(set(paths)) < len(paths):
        raise LuceError(f"Choose two to {MOST_RUNS} different runs.")
    runs = [load_run(root / path) for path in paths]
    missing = [run.name for run in runs if run.recipe is None]
    return {
        "runs": [{"path": p, "name": visible(r.name)} for p, r in zip(paths, runs, strict=True)],
        "without_recipe": [visible(name) for name in missing],
        "recipe": [
            {
                "key": visible(one.key),
                "given": [None if g is None else visible(g.value) for g in one.given],
            }
            for one in recipe_differences(runs)
        ],
    } | _samples(runs)


def _samples(runs: Sequence[Run]) -> dict[str, Any]:
    answered = [_answers(run) for run in runs]
    keys = dict.fromkeys(key for by_prompt in answered for key in by_prompt)
    shared = [key for key in keys if sum(key in by_prompt for by_prompt in answered) > 1]
    shown: list[dict[str, Any]] = []
    size = 0
    for key in shared[:MOST]:
        prompt = _cut(key[0])
        sides = [by_prompt.get(key) for by_prompt in answered]
        size += len(prompt["text"]) + sum(len(side["text"]) for side in sides if side)
        if shown and size > ALL_BYTES:
            break
        shown.append({"prompt": prompt, "sides": sides})
    return {"samples": shown, "left_out": len(shared) - len(shown)}


def _answers(run: Run) -> dict[tuple[str, int], dict[str, Any]]:
    """What the trained policy answered, by prompt and how often that was asked before."""
    rows = answers(run.folder) if run.get("kind") == "online" else run.samples
    asked: Counter[str] = Counter()
    found = {}
    for row in rows:
        prompt = str(row.get("prompt", ""))
        about = {key: row.get(f"after_{key}") for key in ("tokens", "ended", "reward")}
        found[prompt, asked[prompt]] = _cut(str(row.get("after", ""))) | about
        asked[prompt] += 1
    return found


def _cut(text: str) -> dict[str, Any]:
    kept, more = clip(text, CHARACTERS)
    return {"text": visible(kept), "more": more}
