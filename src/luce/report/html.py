"""The report of one run: a self-contained page, report.html."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luce.files import write_atomic
from luce.report import summary, words
from luce.report.curves import describe
from luce.report.diagnostics import diagnostics
from luce.report.online_page import online_report
from luce.report.page import Frame, clip, pretty_json, render
from luce.report.plots import figures
from luce.report.preferences import preferences
from luce.report.run import Run, Split, dig, load_run
from luce.report.samples import side_by_side
from luce.report.svg import inline_svg
from luce.report.unusual import clipped

LEDGER_ROWS = 50
SOURCE_CHARACTERS = 60_000


def write_report(run_folder: Path | str) -> Path:
    """Write report.html into a run folder, whole or not at all; returns its path.

    Raises:
        LuceError: where the folder is not a run, or one of its files is damaged.
    """
    path = Path(run_folder) / "report.html"
    write_atomic(path, report_page(run_folder))
    return path


def report_page(run_folder: Path | str, frame: Frame | None = None) -> str:
    """The report of a run folder of any kind, as text; nothing is written.

    Args:
        frame: what stands around it.

    Raises:
        LuceError: where the folder is not a run, or one of its files is damaged.
    """
    run = load_run(run_folder)
    if run.get("kind") == "online":
        return online_report(run.folder, frame)
    return render_report(run, frame)


def render_report(run: Run, frame: Frame | None = None) -> str:
    """The page: no network, one hashed script, curves as inline SVG; below 1.5 MB, for which long
    lists and texts are cut, and what is cut is said."""
    return render(
        "report.html.j2",
        {
            "run": run,
            "verdict": words.verdict(run),
            "cautions": words.cautions(run),
            "tiles": _tiles(run),
            "objective": _entry(run, "objective", "name parameters formula structure source"),
            "reference": _entry(run, "reference", "kind hash path"),
            "model": _entry(
                run,
                "model",
                "path kind hash initial_hash parameters trainable_parameters lora heads",
            ),
            "facts": _facts(run),
            "splits": _splits(run),
            "ledger_counts": summary.ledger_counts(run),
            "ledger": [_ledger_row(row) for row in run.ledger[:LEDGER_ROWS]],
            "slices": _slices(run),
            "grades": summary.grades_of(run),
            "curves": [
                (curve, inline_svg(figure, name, curve.title, describe(curve, run)))
                for name, (curve, figure) in figures(run).items()
            ],
            "diagnostics": diagnostics(run),
            "preferences": preferences(run),
            "values": _values(run),
            "samples": side_by_side(run.samples),
            "command": command(run),
            "versions": versions(run),
            "recipe": clip(run.recipe, SOURCE_CHARACTERS) if run.recipe else None,
            "manifest": clip(pretty_json(run.manifest), SOURCE_CHARACTERS),
        },
        frame,
    )


def command(run: Run) -> str:
    """The command that made the run, as a shell takes it; empty where it was not recorded."""
    parts = run.get("command")
    if isinstance(parts, list | tuple):
        return shlex.join(str(part) for part in parts)
    return str(parts) if parts else ""


def versions(run: Run) -> dict[str, str]:
    """luce and the packages whose code enters a number, with their versions."""
    found = {"luce": run.get("luce"), **(run.get("versions") or {})}
    return {str(name): str(version) for name, version in found.items() if version is not None}


def _entry(run: Run, key: str, fields: str) -> dict[str, Any]:
    """An entry of the manifest with None for each field it lacks."""
    return {field: run.get(f"{key}.{field}") for field in fields.split()}


def _tiles(run: Run) -> list[dict[str, Any]]:
    """The verdict's numbers, each with what it takes to draw it."""
    tiles: list[dict[str, Any]] = []
    rate, accuracy = summary.win_rate_of(run), summary.accuracy_of(run)
    if rate is not None:
        tiles.append(
            {
                "kind": "share",
                "title": "Win rate",
                "unit": "prompts",
                "of": rate,
                "against": words.opponent(run),
            }
        )
    if accuracy is not None:
        tiles.append(
            {
                "kind": "share",
                "title": "Held-out accuracy",
                "unit": "pairs",
                "of": accuracy,
                "against": None,
            }
        )
    moved = summary.likelihood_of(run)
    if moved is not None:
        reach = max(abs(moved.chosen), abs(moved.rejected)) or 1.0
        tiles.append(
            {
                "kind": "likelihood",
                "title": "Log-probability margin",
                "of": moved,
                "chosen_width": 50 * moved.chosen / reach,
                "rejected_width": 50 * moved.rejected / reach,
            }
        )
    nll = summary.held_out_change(run, "nll")
    if nll is not None and run.get("objective.structure") == "demonstration":
        tiles.append({"kind": "nll", "title": "Held-out negative log-likelihood", "of": nll})
    lengths = summary.length_of(run)
    if lengths is not None:
        longest = max(lengths[0].value, lengths[1].value) or 1.0
        tiles.append(
            {
                "kind": "length",
                "title": "Response length",
                "of": lengths,
                "widths": [100 * side.value / longest for side in lengths],
            }
        )
    kl = summary.kl_of(run)
    if kl is not None:
        tiles.append({"kind": "kl", "title": "KL from the initial policy", "of": kl})
    return tiles


def _facts(run: Run) -> list[tuple[str, Any]]:
    """Name and value of what was run, in reading order; unknown ones are left out."""
    terminator = run.get("terminator.token")
    layout, why = run.get("layout"), run.get("layout_reason")
    gpus = run.get("machine.gpus")
    rows = [
        ("Seed", run.get("seed")),
        ("Steps", run.get("steps")),
        ("Epochs", run.get("epochs")),
        ("Batch size", run.get("batch_size")),
        ("Tokens per forward pass, at most", run.get("max_tokens_per_batch")),
        ("Gradients clipped", clipped(run)),
        ("Chat template", run.get("template")),
        ("End-of-turn token", repr(terminator) if terminator is not None else None),
        ("Layout", f"{layout} ({why})" if layout and why else layout),
        ("Processor", run.get("machine.cpu") or run.get("machine.processor")),
        ("Cores", run.get("machine.cores")),
        ("GPUs", ", ".join(map(str, gpus)) if isinstance(gpus, list) else gpus),
        ("Recipe fingerprint", _short(run.get("recipe_fingerprint"))),
        ("Data fingerprint", _short(summary.data_fingerprint(run))),
    ]
    return [(name, value) for name, value in rows if value not in (None, "", [])]


def _short(digest: Any) -> str | None:
    return str(digest)[:12] if digest else None


def _splits(run: Run) -> list[dict[str, Any]]:
    splits = []
    for key, title in (("train", "Training"), ("eval", "Held out")):
        data = run.get(f"data.{key}")
        if isinstance(data, dict):
            splits.append(
                {
                    "title": title,
                    "source": data.get("source"),
                    "format": data.get("format"),
                    "rows": data.get("rows_read"),
                    "used": data.get("groups"),
                    "dropped": summary.total(data.get("dropped")),
                    "changed": summary.total(data.get("changed")),
                    "tokens": data.get("tokens"),
                    "sha256": data.get("sha256"),
                }
            )
    return splits


def _ledger_row(row: Any) -> dict[str, str]:
    place = ":".join(str(row[key]) for key in ("file", "line", "field") if row.get(key) is not None)
    return {
        "place": place,
        **{key: str(row.get(key) or "") for key in ("id", "action", "reason", "detail")},
    }


def _slices(run: Run) -> list[tuple[str, list[tuple[str, summary.Interval]]]]:
    """Held-out accuracy by source and by annotator, where there is more than one of them."""
    tables = []
    for key, title in (("by_source", "source"), ("by_annotator", "annotator")):
        parts = dig(run.evaluation, f"held_out.{key}")
        if not isinstance(parts, dict) or len(parts) < 2:
            continue
        rows = [
            (
                name or "not named",
                summary.Interval(
                    part["accuracy"], part["accuracy_low"], part["accuracy_high"], part["n"]
                ),
            )
            for name, part in list(parts.items())[:LEDGER_ROWS]
        ]
        tables.append((title, rows))
    return tables


def _values(run: Run) -> list[dict[str, Any]]:
    """First and last value of every metric, by split: the numbers behind the curves."""
    rows = []
    places: tuple[tuple[str, Split, Sequence[Mapping[str, Any]], str], ...] = (
        ("training", "train", run.train, ""),
        ("held out", "eval", run.held_out, "eval_"),
        ("samples", "samples", run.sampled, "samples/"),
    )
    for title, split, records, prefix in places:
        names = sorted({key.removeprefix(prefix) for row in records for key in row})
        for name in names:
            if name in ("split", "step", "epoch", "n") or name.endswith(("_low", "_high")):
                continue
            if any(isinstance(row.get(f"{prefix}{name}"), str | list | dict) for row in records):
                continue
            series = run.series(name, split)
            finite = series.finite
            first = finite.values[0] if len(finite) else None
            last = finite.values[-1] if len(finite) else None
            rows.append(
                {
                    "name": name,
                    "split": title,
                    "n": len(finite),
                    "gaps": len(series) - len(finite),
                    "first": first,
                    "last": last,
                    "low": min(finite.values, default=None),
                    "high": max(finite.values, default=None),
                }
            )
    return rows
