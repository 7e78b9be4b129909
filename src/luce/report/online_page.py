"""The report of an online run: one self-contained page, report.html."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from luce.errors import LuceError
from luce.files import write_atomic
from luce.report.numbers import is_number, number, number_range, percent, percent_range
from luce.report.page import Frame, pretty_json, render
from luce.report.plots import COLORS, FAINT, library_style
from luce.report.run import dig
from luce.report.samples import side_by_side
from luce.report.svg import inline_svg

Line = Mapping[str, Any]

_ROLES = {"annotator": "single", "gold": "chosen"}
"""Who judges, and the color in figures."""


def write_online_report(folder: Path | str) -> Path:
    """Write report.html into the folder of an online run; returns its path.

    Raises:
        LuceError: the folder holds no online run, or no round of it is done.
    """
    path = Path(folder) / "report.html"
    write_atomic(path, online_report(Path(folder)))
    return path


def online_report(folder: Path, frame: Frame | None = None) -> str:
    """The report of an online run, as text.

    Raises:
        LuceError: the folder holds no online run, or no round of it is done.
    """
    path = folder / "rounds.jsonl"
    lines = whole_lines(path) if path.exists() else []
    if not lines:
        raise LuceError(f"{path}: missing. Give the folder of `luce online` with a round done.")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    started = folder / "initial.json"
    start = json.loads(started.read_text("utf-8")) if started.exists() else {}
    recipe = (folder / "recipe.yaml").read_text("utf-8")
    return online_page(manifest, start, lines, recipe, answers(folder), frame)


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a .jsonl file; a last line without its end is still being written."""
    text = path.read_bytes().decode("utf-8", "replace")
    return [json.loads(line) for line in text.split("\n")[:-1] if line.strip()]


def answers(folder: Path) -> list[dict[str, Any]]:
    """What the policy answered to held-out prompts before the first round and after the last one,
    as rows of samples.jsonl; none where this was not kept."""
    asked, rounds = folder / "prompts.jsonl", sorted(folder.glob("rounds/*/answers.jsonl"))
    if len(rounds) < 2 or rounds[0].parent.name != "000" or not asked.exists():
        return []
    prompts = {row["number"]: row["prompt"] for row in whole_lines(asked)}
    after = {row["prompt"]: row for row in whole_lines(rounds[-1])}
    return [
        {"prompt": spoken(prompts[row["prompt"]])}
        | _answer("before", row)
        | _answer("after", after[row["prompt"]])
        for row in whole_lines(rounds[0])
        if row["prompt"] in after and row["prompt"] in prompts
    ]


def _answer(side: str, row: Line) -> dict[str, Any]:
    found = {side: row["text"], f"{side}_ended": row["ended"]}
    return found | {f"{side}_tokens": len(row["ids"])}


def spoken(prompt: Any) -> str:
    """A prompt as text: as it is, or its turns.

    >>> spoken([{"role": "user", "content": "Hi"}])
    'user: Hi'
    """
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in prompt)


def online_page(
    manifest: Line,
    start: Line,
    lines: Sequence[Line],
    recipe: str,
    samples: Sequence[Line] = (),
    frame: Frame | None = None,
) -> str:
    """The page.

    Args:
        start: what the policy answered before the first round (`initial.json`).
        lines: of rounds.jsonl, one at least.
        samples: rows of samples.jsonl.
        frame: what stands around the page.
    """
    return render(
        "online.html.j2",
        {
            "name": manifest["name"],
            "status": manifest.get("status"),
            "verdict": verdict(lines),
            "manifest": pretty_json(manifest),
            "command": shlex.join(map(str, manifest.get("command") or ())),
            "objective": manifest["objective"],
            "annotator": manifest["annotator"],
            "gold": manifest["gold"],
            "rounds": [_row(line) for line in lines],
            "curves": [
                (c.title, c.note, inline_svg(_draw(c), c.name, c.title, c.words()))
                for c in online_curves(start, lines)
            ],
            "samples": side_by_side(samples),
            "recipe": recipe,
        },
        frame,
    )


def verdict(lines: Sequence[Line]) -> list[str]:
    """What the rounds came to, in sentences."""
    last, said = lines[-1], []
    whole = f"{len(lines)} round{'s' if len(lines) > 1 else ''}"
    for role, words in (("gold", "the gold annotator"), ("annotator", "the annotator")):
        rate = dig(last, f"evaluation.{role}.initial.win_rate")
        if rate is None:
            continue
        verb = (
            "beats" if rate["low"] > 0.5 else "loses to" if rate["high"] < 0.5 else "is level with"
        )
        said.append(
            f"After {whole} and {last['annotations_so_far']:,} annotations the policy {verb} the "
            f"one it began as by {words}: it wins {percent(rate['value'])} "
            f"({percent_range(rate['low'], rate['high'])}) of {rate['n']:,} held-out prompts."
        )
    guard = last.get("guard")
    if guard is not None and guard["action"] != "continue":
        said.append(f"The gold annotator has turned: {guard['why']}.")
    kl = dig(last, "kl.initial")
    if kl is not None:
        said.append(
            f"It is {number(kl['value'])} nats per response away from it "
            f"({number_range(kl['low'], kl['high'])}, on its own responses)."
        )
    return said or [f"{whole} are done; no prompts were held out, so nothing was compared."]


def _row(line: Line) -> dict[str, Any]:
    def rate(role: str, against: str) -> str:
        found = dig(line, f"evaluation.{role}.{against}.win_rate")
        if found is None:
            return "–"
        return f"{percent(found['value'])} ({percent_range(found['low'], found['high'])})"

    def estimate(path: str) -> str:
        found = dig(line, path)
        if found is None or not is_number(found.get("value")):
            return "–"
        return f"{number(found['value'])} ({number_range(found['low'], found['high'])})"

    lost = {**line["left_out"], **line["no_row"]}
    return {
        "number": line["round"],
        "prompts": line["prompts"],
        "samples": line["samples"],
        "annotations": line["annotations"],
        "rows": line["rows"],
        "trained_rows": line["trained_rows"],
        "lost": ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in lost.items()) or "–",
        "reference": line["reference"]["is"],
        "annotator": rate("annotator", "initial"),
        "gold": rate("gold", "initial"),
        "previous": rate("annotator", "previous"),
        "kl": estimate("kl.initial"),
        "length": estimate("evaluation.length"),
        "gap": f"{line['sampler_gap']['mean']:.1e}",
        "saved": percent(1 - line["tokens"]["shared"] / line["tokens"]["unshared"]),
    }


@dataclass(frozen=True)
class OnlineCurve:
    """What is drawn of the rounds over annotations.

    Attributes:
        name: a word.
        title, unit, note: as of the curves of a run.
        level: a value worth a rule of its own, or None.
        series: by who judges (`annotator`, `gold`), points (annotations, value, low, high).
        roles: by who judges, what gives the color.
    """

    name: str
    title: str
    unit: str
    level: float | None
    note: str
    series: "Mapping[str, Sequence[Point]]"
    roles: Mapping[str, str]

    def words(self) -> str:
        """The curve in words, for those who do not see it."""
        told = "; ".join(
            f"{role}: " + ", ".join(f"{number(v)} at {x}" for x, v, _, _ in points)
            for role, points in self.series.items()
        )
        return f"{self.title}. {told}."


def online_curves(start: Line, lines: Sequence[Line]) -> list[OnlineCurve]:
    """What the rounds have numbers for, two at least."""
    half = [(0, 0.5, 0.5, 0.5)]
    zero = [(0, 0.0, 0.0, 0.0)]
    parts = [
        ("win_rate", "Win rate over the policy it began as", "share of prompts", 0.5,
         {role: half + _points(lines, f"evaluation.{role}.initial.win_rate") for role in _ROLES},
         "On held-out prompts, ties half. Bars: 95 % intervals."),
        ("reward", "Reward of answers", "reward", None,
         {role: _begin(start, f"{role}.reward") + _points(lines, f"evaluation.{role}.reward")
          for role in _ROLES},
         "Mean over held-out prompts. A gold that falls while the other rises is over-optimised."),
        ("kl", "KL from the policy it began as", "nats per response", 0.0,
         {"annotator": zero + _points(lines, "kl.initial")},
         "Estimated on the policy's own answers, response tokens only."),
        ("length", "Length of answers", "tokens", None,
         {"annotator": _begin(start, "length") + _points(lines, "evaluation.length")},
         "Mean over held-out prompts."),
    ]  # fmt: skip
    found = []
    for name, title, unit, level, series, note in parts:
        drawn = {role: points for role, points in series.items() if len(points) > 1}
        if drawn:
            found.append(OnlineCurve(name, title, unit, level, note, drawn, _ROLES))
    return found


Point = tuple[int, float, float, float]


def _points(lines: Sequence[Line], path: str) -> list[Point]:
    found = []
    for line in lines:
        entry = dig(line, path)
        if entry is not None and is_number(entry.get("value")):
            low, high = (
                float(entry[end]) if is_number(entry.get(end)) else math.nan
                for end in ("low", "high")
            )
            found.append((line["annotations_so_far"], float(entry["value"]), low, high))
    return found


def _begin(start: Line, path: str) -> list[Point]:
    return [(0, *p[1:]) for p in _points([{"annotations_so_far": 0, **start}], path)]


def _draw(curve: OnlineCurve) -> Figure:
    series, unit, level = curve.series, curve.unit, curve.level
    with library_style():
        figure = Figure(figsize=(4.7, 2.9))
        axes = figure.add_axes((0.175, 0.16, 0.80, 0.70))
        for role, points in series.items():
            x, y, low, high = (list(column) for column in zip(*points, strict=True))
            color = COLORS[_ROLES[role]]
            axes.vlines(x, low, high, color=color, alpha=0.5, linewidth=1.2)
            axes.plot(x, y, color=color, marker="o", markersize=4, linewidth=1.4, label=role)
        if level is not None:
            axes.axhline(level, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        axes.set_xlabel("annotations", labelpad=2)
        axes.set_ylabel(unit)
        axes.yaxis.set_label_coords(-0.185, 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.6)
        axes.tick_params(length=3, width=0.8, pad=3)
        if len(series) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.215, 1.015), ncols=2)
        return figure
