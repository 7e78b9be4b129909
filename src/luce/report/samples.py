"""Samples before and after training, cut to what a page can hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape

from luce.report.page import clip

MOST = 200
CHARACTERS = 4_000
"""Of each text."""
ALL_BYTES = 600_000
"""Of all texts together, as they stand in the page."""


def side_by_side(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`shown`: the rows of samples.jsonl that fit, each text with what is cut off; `left_out`: how
    many do not."""
    shown: list[dict[str, Any]] = []
    size = 0
    for row in rows[:MOST]:
        sample: dict[str, Any] = {"prompt": clip(str(row.get("prompt", "")), CHARACTERS)}
        for side, other in (("before", "after"), ("after", "before")):
            reward, rival = row.get(f"{side}_reward"), row.get(f"{other}_reward")
            sample[side] = {
                "title": side.capitalize(),
                "text": clip(str(row.get(side, "")), CHARACTERS),
                "tokens": row.get(f"{side}_tokens"),
                "ended": row.get(f"{side}_ended"),
                "reward": reward,
                "better": reward is not None and rival is not None and reward > rival,
            }
        texts = (sample["prompt"], sample["before"]["text"], sample["after"]["text"])
        size += sum(len(escape(text).encode("utf-8", "replace")) for text, _ in texts)
        if shown and size > ALL_BYTES:
            break
        shown.append(sample)
    return {"shown": shown, "left_out": len(rows) - len(shown)}
