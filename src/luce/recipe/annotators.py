"""How many annotators are behind some labels: mixtures of more and more of them, compared on pairs
that none of them saw."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from luce.errors import RecipeError
from luce.files import read_jsonl
from luce.intervals import Estimate, bootstrap
from luce.models.heads import SETTING, heads_of
from luce.recipe.load import load_recipe, written
from luce.recipe.run import train_run


@dataclass(frozen=True)
class Candidate:
    """A mixture of K annotators.

    Attributes:
        K: how many.
        nll: mean negative log-likelihood of the held-out labels, nats a pair.
        gain: by how much that is below the nll of `over` annotators, as a paired difference; None
            of the first candidate.
        over: the number of annotators that were best so far.
        weights: how often each annotator judged, as learnt.
        folder: of its run.
    """

    K: int
    nll: Estimate
    gain: Estimate | None
    over: int | None
    weights: tuple[float, ...]
    folder: Path

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"K": self.K, "folder": str(self.folder), "over": self.over}
        for name, value in (("nll", self.nll), ("gain", self.gain)):
            if value is not None:
                found |= value.flat(name)
        return found | {"n": self.nll.n, "weights": list(self.weights)}


@dataclass(frozen=True)
class Choice:
    """Mixtures by number of annotators, and the smallest that no larger one is surely better than.

    Attributes:
        candidates: in the order in which they were tried.
        chosen: K.
    """

    candidates: tuple[Candidate, ...]
    chosen: int

    @property
    def verdict(self) -> str:
        """What the numbers say, in a sentence."""
        last = next(c for c in self.candidates if c.K == self.chosen)
        tried = max(c.K for c in self.candidates)
        if last.gain is None:
            word = "explains" if self.chosen == 1 else "explain"
            return (
                f"{_people(self.chosen)} {word} the labels as well as up to {tried}: no larger "
                "number is surely better on held-out pairs."
            )
        return (
            f"{_people(self.chosen)} explain the labels better than {last.over}: "
            f"{last.gain.words(4)} nats a pair on "
            f"{last.nll.n} held-out prompts."
        )

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "chosen": self.chosen,
            "verdict": self.verdict,
            "candidates": [c.plain() for c in self.candidates],
        }

    def lines(self) -> list[str]:
        """For people."""
        found = []
        for c in self.candidates:
            gain = "" if c.gain is None else (
                f"  gain over {c.over}: {c.gain.value:+.4f} [{c.gain.low:+.4f}, {c.gain.high:+.4f}]"
            )  # fmt: skip
            shares = ", ".join(f"{w:.2f}" for w in c.weights)
            nll = c.nll.words(4)
            found.append(f"K = {c.K}  nll {nll} nats a pair{gain}  shares {shares}")
        return [*found, self.verdict]


def choose_annotators(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    ks: Sequence[int] = (1, 2, 3),
    console: Console | None = None,
) -> Choice:
    """Train a mixture for each K on the same pairs, and choose among them by the likelihood of the
    held-out labels (Dumoulin et al., 2023, arXiv:2311.14115, eq. 30).

    A larger K is taken only where its gain has a 95 % interval above 0; prompts are drawn for it.
    Each K has a run of its own in `output_dir`/K1, K2, …; one that is finished is not run again,
    and one that was killed goes on.

    Args:
        recipe: with pairs held out, and a mixture for its objective, whose parameters but K are
            kept; any other objective of a reward model is put aside for one.

    Raises:
        RecipeError: it trains a policy by no mixture, or holds no pairs out.
    """
    resolved = load_recipe(recipe, overrides)
    tree = written(resolved.recipe)
    mixture = tree["objective"].get("mixture", {"of": "reward"})
    of_policies = resolved.recipe.model.kind == "policy" and "mixture" not in tree["objective"]
    if of_policies or resolved.recipe.data.eval is None:
        raise RecipeError(
            "recipe: choosing a number of annotators takes `model.kind: reward`, or a mixture for "
            "the objective, and `data.eval` for pairs to compare them on."
        )
    if not ks or list(ks) != sorted(set(ks)) or ks[0] < 1:
        raise RecipeError(f"k: {list(ks)}; give numbers of annotators, from 1, in rising order.")
    kept = {key: value for key, value in mixture.items() if key not in ("K", "weights")}
    folder, found, best = Path(resolved.recipe.output_dir), [], None
    for k in ks:
        own = folder / f"K{k}"
        one = tree | {
            "objective": {"mixture": {**kept, "K": k}},
            "output_dir": str(own),
            "name": f"{resolved.recipe.name}-K{k}",
        }
        if not _finished(own):
            train_run(one, resume=(own / "manifest.json").exists(), console=console)
        costs, prompts = _costs(own)
        nll = bootstrap(lambda i, c=costs: float(c[i].mean()), len(costs), prompts)
        gain, over = None, None
        if best is not None:
            over, lower = best
            apart = lower - costs
            gain = bootstrap(lambda i, d=apart: float(d[i].mean()), len(apart), prompts)
        found.append(Candidate(k, nll, gain, over, _weights(own), own))
        if gain is None or gain.low > 0:
            best = k, costs
    assert best is not None  # there is at least one K
    return Choice(tuple(found), best[0])


def _finished(folder: Path) -> bool:
    manifest = folder / "manifest.json"
    return manifest.exists() and json.loads(manifest.read_text("utf-8"))["status"] == "finished"


def _costs(folder: Path) -> tuple[np.ndarray, list[str]]:
    """Nats of each held-out label under a run's margins, which are log-odds; and whose prompt."""
    rows = read_jsonl(folder / "held_out.jsonl")
    z = np.array([row["margin"] for row in rows], dtype=float)
    p = np.array([row["label"] for row in rows], dtype=float)
    costs = p * np.logaddexp(0, -z) + (1 - p) * np.logaddexp(0, z)
    return costs, [row["prompt"] for row in rows]


def _weights(folder: Path) -> tuple[float, ...]:
    told = folder / "annotators.json"
    if told.exists():
        return tuple(json.loads(told.read_text("utf-8"))["weights"].values())
    if not (folder / "model" / "config.json").exists():  # one adapter
        return (1.0,)
    config = json.loads((folder / "model" / "config.json").read_text("utf-8"))
    return heads_of(config.get(SETTING), str(folder)).numbers or (1.0,)


def _people(count: int) -> str:
    return "One annotator" if count == 1 else f"{count} annotators"
