"""The model card: README.md of a run, Markdown with the YAML front matter that hubs read."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from luce.files import write_atomic
from luce.report import summary, words
from luce.report.html import command, versions
from luce.report.numbers import count, counted, number, number_range, percent, percent_range, signed
from luce.report.page import visible
from luce.report.run import Run, load_run

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_DATA_FILE = re.compile(r"\.(jsonl?|parquet|csv|tsv|arrow)(\.\w+)?$")


def write_card(run_folder: Path | str) -> Path:
    """Write README.md, the model card, into a run folder, whole or not at all; returns its path.

    Raises:
        LuceError: where the folder is not a run, or one of its files is damaged.
    """
    run = load_run(run_folder)
    path = run.folder / "README.md"
    write_atomic(path, render_card(run))
    return path


def render_card(run: Run) -> str:
    """The card: what was trained, by which formula, on what, how it came out, how to repeat it."""
    sections = [
        f"# {plain(run.name)}",
        _opening(run),
        "## Results",
        _results(run),
        _cautions(run),
        "## Objective",
        _objective(run),
        "## Data",
        _data(run),
        "## Reproduce",
        _reproduce(run),
    ]
    body = "\n\n".join(section for section in sections if section)
    return visible(f"---\n{front_matter(run)}---\n\n{body}\n")


def front_matter(run: Run) -> str:
    """The YAML block. `base_model` and `datasets` hold hub names only: a local folder means
    nothing to the reader of a hub, and stands in the text instead."""
    grader, lora = run.get("model.kind") in ("reward", "pairwise"), run.get("model.lora")
    matter: dict[str, Any] = {}
    if _is_hub_name(run.get("model.path")):
        matter["base_model"] = run.get("model.path")
    matter["library_name"] = "peft" if lora else "transformers"
    matter["pipeline_tag"] = "text-classification" if grader else "text-generation"
    tags = ["luce", "preference-learning", run.get("objective.name")]
    tags += ["reward-model"] if run.get("model.kind") == "reward" else []
    tags += ["lora"] if lora else []
    matter["tags"] = [" ".join(str(tag).split()) for tag in tags if tag]
    source = run.get("data.train.source")
    if _is_hub_name(source):
        matter["datasets"] = [source]
    return yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=10_000)


def plain(text: Any) -> str:
    """Text as Markdown that shows it as it is: one line, every mark of Markdown and HTML escaped.

    >>> plain("a|b <i>_x_</i>")
    'a\\\\|b &lt;i>\\\\_x\\\\_&lt;/i>'
    """
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)


def code(text: Any) -> str:
    """Text as inline code, whatever backticks are in it."""
    line = " ".join(str(text).split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    # a bar ends a table cell even within code
    return f"{fence}{padding}{line}{padding}{fence}".replace("|", "\\|")


def block(text: str, language: str = "") -> str:
    """Text as a fenced block that its own backticks do not end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _opening(run: Run) -> str:
    kinds = {"reward": "reward model", "pairwise": "pairwise preference model"}
    kind = kinds.get(str(run.get("model.kind")), "language model")
    base = run.get("model.path")
    start = f" It started from {code(base)}." if base else ""
    how = " as a LoRA adapter" if run.get("model.lora") else ""
    name, version = run.get("objective.name"), run.get("luce")
    objective = f"with {code(name)}" if name else "with an unrecorded objective"
    maker = f"luce {plain(version)}" if version else "luce"
    verdict = " ".join(_sentence(sentence) for sentence in words.verdict(run))
    return f"A {kind} trained{how} {objective} by {maker}.{start}\n\n{verdict}"


def _sentence(text: str) -> str:
    # the verdict's own backticks are code; the rest of it is plain
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return plain(text)
    return "".join(
        code(part) if index % 2 else _keep_ends(part) for index, part in enumerate(parts)
    )


def _keep_ends(part: str) -> str:
    lead, trail = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
    return f"{lead and ' '}{plain(part)}{trail and ' '}" if part.strip() else " " * bool(part)


def _results(run: Run) -> str:
    rows: list[Sequence[str]] = []
    rate, accuracy, kl = summary.win_rate_of(run), summary.accuracy_of(run), summary.kl_of(run)
    for title, share, unit in (
        (f"Win rate against {plain(words.opponent(run))}", rate, "prompt"),
        ("Held-out accuracy", accuracy, "pair"),
    ):
        if share is not None:
            interval = percent_range(share.low, share.high)
            rows.append((title, percent(share.value), interval, counted(share.n, unit)))
    nll = summary.held_out_change(run, "nll")
    if nll is not None:
        title = "Held-out negative log-likelihood, nats per token"
        rows.append(
            (title, number(nll.after), f"before: {number(nll.before)}", counted(nll.n, "response"))
        )
    moved = summary.likelihood_of(run)
    if moved is not None:
        where = "held-out pairs" if moved.held_out else "training batches"
        n = counted(moved.n, "pair") if moved.n is not None else ""
        for side, change in (("chosen", moved.chosen), ("rejected", moved.rejected)):
            title = f"Change of log-probability of {side}, nats per response, {where}"
            rows.append((title, signed(change), "", n))
    lengths = summary.length_of(run)
    for title, length in zip(("before", "after"), lengths or (), strict=False):
        interval = number_range(length.low, length.high)
        n = counted(length.n, "response")
        rows.append((f"Response length {title}, tokens", number(length.value), interval, n))
    if kl is not None:
        interval, n = number_range(kl.low, kl.high), counted(kl.n, "response")
        rows.append(
            ("KL from the initial policy, nats per response", number(kl.value), interval, n)
        )
    if not rows:
        return "The run recorded no held-out result."
    return table(("", "Value", "95 % interval", "n"), rows)


def _cautions(run: Run) -> str:
    lines = [
        f"- {_sentence(caution.what)} {_sentence(caution.remedy)}"
        for caution in words.cautions(run)
    ]
    return "\n".join(["**Before you use it**", "", *lines]) if lines else ""


def _objective(run: Run) -> str:
    parts = []
    if run.get("objective.formula"):
        parts.append(block(str(run.get("objective.formula")), "text"))
    rows = [(code(k), code(v)) for k, v in (run.get("objective.parameters") or {}).items()]
    if rows:
        parts.append(table(("Parameter", "Value"), rows))
    if run.get("objective.source"):
        parts.append(f"Source: {plain(run.get('objective.source'))}.")
    reference = run.get("reference.kind")
    if reference:
        path, digest = run.get("reference.path"), run.get("reference.hash")
        where = f", {code(path)}" if path else ""
        which = f", parameter hash {code(digest)}" if digest else ""
        parts.append(f"Reference policy: {plain(reference)}{where}{which}.")
    return "\n\n".join(parts) or "The manifest does not record the objective."


def _data(run: Run) -> str:
    rows = []
    for key, title in (("train", "Training"), ("eval", "Held out")):
        data = run.get(f"data.{key}")
        if isinstance(data, dict):
            rows.append(
                (
                    title,
                    code(data.get("source", "–")),
                    plain(data.get("format", "–")),
                    count(data.get("rows_read")),
                    count(data.get("groups")),
                    count(summary.total(data.get("dropped"))),
                    count(summary.total(data.get("changed"))),
                )
            )
    if not rows:
        return "The manifest has no data counts."
    head = ("Split", "Source", "Format", "Rows read", "Used", "Dropped", "Changed")
    parts = [table(head, rows)]
    reasons = summary.ledger_counts(run)
    if reasons:
        listed = ((plain(a), plain(r.replace("_", " ")), f"{n:,}") for a, r, n in reasons)
        parts.append(table(("What happened", "Reason", "Rows"), listed))
        parts.append("Each row is named in `rows.jsonl`.")
    return "\n\n".join(parts)


def _reproduce(run: Run) -> str:
    parts = [block(command(run), "console")] if command(run) else []
    known = [*versions(run).items(), ("seed", run.get("seed"))]
    listed = ", ".join(f"{name} {value}" for name, value in known if value is not None)
    if listed:
        parts.append(f"Made with {plain(listed)}.")
    parts.append(
        "`recipe.yaml` holds every setting with where it came from, `manifest.json` hashes and "
        "versions, `report.html` the curves and samples."
    )
    return "\n\n".join(parts)


def _is_hub_name(name: Any) -> bool:
    """Whether a name can be a hub's: `owner/name` or `name`, and nothing on this disk."""
    return (
        isinstance(name, str)
        and _HUB_NAME.fullmatch(name) is not None
        and not _DATA_FILE.search(name)
        and not Path(name).exists()
    )
