"""The rows that a round is trained on, out of its samples and what was judged of them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from luce.data.ledger import RowError
from luce.data.rows import Record
from luce.files import lines_of, read_jsonl
from luce.online.select import SELECTORS, Candidates, Listing, Nothing, Pair, Terms
from luce.recipe.online_engine import row_weight
from luce.recipe.online_prompts import Prompt, plain
from luce.recipe.online_stages import Stage, rng_of
from luce.recipe.schema import Online
from luce.types import Place, Preference, Ranking, TokenIds


def select_rows(stage: Stage) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows to train on, and a ledger of the prompts that gave none."""
    samples = {row["prompt"]: row["samples"] for row in read_jsonl(stage.folder / "samples.jsonl")}
    rows, ledger = [], []
    by_number = {p.number: p for p in stage.prompts}
    for at, verdict in enumerate(read_jsonl(stage.folder / "verdicts.jsonl")):
        prompt = by_number[verdict["prompt"]]
        entry = {"prompt": prompt.number, "left_out": verdict["left_out"]}
        usable, refused = finite(verdict)
        if refused:
            strange = {"action": "changed", "reason": "reward_not_finite", "samples": refused}
            ledger.append(entry | strange)
        made = _row(stage, prompt, samples[prompt.number], usable, rng_of(stage, 0, at, 2))
        if isinstance(made, Nothing):
            ledger.append(entry | {"action": "dropped", "reason": made.reason})
        else:
            rows.append(made)
    return rows, ledger


def finite(verdict: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """A verdict without the samples whose reward is no finite number, and how many they are."""
    good = [i for i, r in enumerate(verdict["rewards"]) if math.isfinite(r)]
    refused = len(verdict["rewards"]) - len(good)
    if not refused:
        return verdict, 0
    usable = dict(verdict)
    for name in ("kept", "rewards", "widths"):
        if name in verdict:
            usable[name] = [verdict[name][i] for i in good]
    if "beats" in verdict:
        usable["beats"] = [[verdict["beats"][i][j] for j in good] for i in good]
    if "members" in verdict:
        usable["members"] = [[member[i] for i in good] for member in verdict["members"]]
    return usable, refused


def _row(
    stage: Stage,
    prompt: Prompt,
    samples: Sequence[Mapping[str, Any]],
    verdict: Mapping[str, Any],
    rng: np.random.Generator,
) -> dict[str, Any] | Nothing:
    places, online = verdict["kept"], stage.online
    if len(places) < 2:
        return Nothing("fewer_than_two")
    kept = [samples[j] for j in places]
    found = Candidates(
        np.asarray(verdict["rewards"], dtype=float),
        np.asarray([len(s["ids"]) for s in kept], dtype=float),
        np.asarray(verdict["beats"], dtype=float) if "beats" in verdict else None,
        np.asarray(verdict["members"], dtype=float) if "members" in verdict else None,
        np.asarray(verdict["widths"], dtype=float) if "widths" in verdict else None,
        np.asarray(["of" in s for s in kept]) if online.opponent is not None else None,
    )
    terms = Terms(online.length_penalty, online.acceptance_beta, online.optimism)
    chosen = SELECTORS[online.select](found, terms, rng)
    if isinstance(chosen, Nothing):
        return chosen
    row: dict[str, Any] = {
        "id": f"{stage.number}-{prompt.number}",
        "source": f"round {stage.number}",
        "prompt": plain(prompt.text),
    }
    used: Sequence[Mapping[str, Any]] = kept
    if isinstance(chosen, Listing):
        row |= {
            "responses": [s["text"] for s in kept],
            "scores": [float(r) for r in found.rewards],
            "token_ids": {"prompt": list(prompt.ids), "responses": [s["ids"] for s in kept]},
        }
    else:
        row |= _pair(kept, found, chosen, online, rng) | {"token_ids": {"prompt": list(prompt.ids)}}
        better, worse = row.pop("places")
        used = (kept[better], kept[worse])
        row["token_ids"] |= {"chosen": kept[better]["ids"], "rejected": kept[worse]["ids"]}
        sides = {"chosen": "of" in kept[better], "rejected": "of" in kept[worse]}
        if online.opponent == "reference" and sum(sides.values()) == 1:
            row["reference_sample"] = max(sides, key=lambda side: sides[side])
    weight = row_weight(used, online.engine.max_weight)
    if weight != 1.0:
        row["weight"] = row.get("weight", 1.0) * weight
    fault = _fault(row, prompt, stage)
    return row if fault is None else Nothing(fault)


def _pair(
    kept: Sequence[Mapping[str, Any]],
    found: Candidates,
    chosen: Pair,
    online: Online,
    rng: np.random.Generator,
) -> dict[str, Any]:
    better, worse = chosen.better, chosen.worse
    p = probability(found, better, worse, online.label_temperature)
    if online.labels == "drawn" and rng.random() >= p:
        better, worse = worse, better
    row: dict[str, Any] = {
        "chosen": kept[better]["text"],
        "rejected": kept[worse]["text"],
        "margin": found.margin(better, worse),
        "score_chosen": float(found.rewards[better]),
        "score_rejected": float(found.rewards[worse]),
        "places": (better, worse),
    }
    if online.labels == "soft":
        row["label"] = p
    if chosen.weight != 1.0:
        row["weight"] = chosen.weight
    return row


def probability(found: Candidates, better: int, worse: int, temperature: float) -> float:
    """P(better ≻ worse): what the annotator said, else σ(Δr / temperature)."""
    if found.beats is not None and not np.isnan(found.beats[better, worse]):
        return float(found.beats[better, worse])
    return float(torch.sigmoid(torch.tensor(found.margin(better, worse) / temperature)))


def _fault(row: Record, prompt: Prompt, stage: Stage) -> str | None:
    """Why the row could not be trained on; None where it can."""
    place = Place("samples", prompt.number + 1)
    given = {"prompt": prompt.text, "place": place, "id": row["id"]}
    if "responses" in row:
        texts = row["responses"]
        ids = zip(texts, row["token_ids"]["responses"], strict=True)
        made: Any = Ranking(
            **given, responses=tuple(texts), scores=tuple(row["scores"]),
            token_ids=TokenIds(prompt.ids, {t: tuple(i) for t, i in ids}),
        )  # fmt: skip
    else:
        own = {row[side]: tuple(row["token_ids"][side]) for side in ("chosen", "rejected")}
        made = Preference(
            **given, chosen=row["chosen"], rejected=row["rejected"],
            token_ids=TokenIds(prompt.ids, own),
        )  # fmt: skip
    try:
        group = stage.renderer.group(made)
    except RowError as error:
        return error.reason
    return "too_long" if group.longest > stage.recipe.data.max_length else None


def rows_to_train(recipe_seed: int, online: Online, own: Sequence[Path], number: int) -> list[str]:
    """The lines to train on in a round: its own, all so far, or its own with a draw of earlier ones
    so that these are `replay_share` of the whole (all of them where there are fewer)."""
    latest = _lines(own[-1])
    if online.train_on == "latest":
        return latest
    earlier = [line for path in own[:-1] for line in _lines(path)]
    if online.train_on == "replay":
        share = online.replay_share
        wanted = len(earlier) if share == 1 else round(len(latest) * share / (1 - share))
        rng = np.random.default_rng((recipe_seed, number, 3))
        if wanted < len(earlier):
            taken = sorted(rng.choice(len(earlier), size=wanted, replace=False).tolist())
            earlier = [earlier[i] for i in taken]
    return [*earlier, *latest]


def _lines(path: Path) -> list[str]:
    return [f"{line}\n" for line in lines_of(path.read_text("utf-8", "surrogatepass"))]
