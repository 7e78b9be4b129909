"""The lines of rounds.jsonl: what a round cost and gave."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from luce.files import read_jsonl


def ledger(folder: Path) -> list[dict[str, Any]]:
    """The lines of the rounds that are done."""
    path = folder / "rounds.jsonl"
    return read_jsonl(path) if path.exists() else []


def status(folder: Path) -> str | None:
    """What a run's manifest says of how far it is."""
    return json.loads((folder / "manifest.json").read_text("utf-8")).get("status")


def annotations_of(verdicts: Sequence[Mapping[str, Any]]) -> int:
    """What the annotator was asked in a round: responses that it graded, or pairs it compared."""
    count = 0
    for row in verdicts:
        if "beats" in row:
            count += sum(p is not None for line in row["beats"] for p in line) // 2
        else:
            count += len(row["rewards"])
    return count


def tokens_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Tokens of the round's rows as they are trained on, each prompt once, and as they would be
    with the prompt before every response."""
    shared = apart = 0
    for row in rows:
        ids = row["token_ids"]
        responses = ids.get("responses") or [ids["chosen"], ids["rejected"]]
        own = sum(map(len, responses))
        shared += len(ids["prompt"]) + own
        apart += len(ids["prompt"]) * len(responses) + own
    return {"shared": shared, "unshared": apart}


def summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, n in one.items():
            total[name] = total.get(name, 0) + n
    return dict(sorted(total.items()))


def counted(reasons: Iterable[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in summed({r: 1} for r in reasons).items())


def told(line: Mapping[str, Any]) -> str:
    """The line in words."""
    tokens = line["tokens"]
    said = (
        f"round {line['round']}: {line['rows']} rows of {line['samples']} samples, "
        f"{line['annotations']} annotations; {tokens['shared']:,} tokens a pass with shared "
        f"prompts ({tokens['unshared']:,} without)"
    )
    evaluation = line.get("evaluation") or {}
    for role in ("annotator", "gold"):
        rate = evaluation.get(role, {}).get("initial", {}).get("win_rate")
        if rate is not None:
            said += f"; wins {rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}] ({role})"
    return said
