"""`luce probe`: short runs at several learning rates and β, and which to take."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from luce.errors import RecipeError
from luce.files import write_atomic, write_json
from luce.models.products import quick_products
from luce.objectives.units import beta_key
from luce.recipe.load import Resolved, load_recipe
from luce.recipe.prepare import check_fit, describe_resolved, refuse_used_folder
from luce.recipe.probe_advice import (
    CHOSEN_FALL,
    KL_PER_STEP,
    Advice,
    advise_beta,
    advise_learning_rate,
    refusal,
)
from luce.recipe.probe_measure import Bench, Measured
from luce.recipe.provenance import dump_resolved
from luce.report.probe_page import probe_page
from luce.train.fit import locked

FACTORS = (0.1, 1 / 3, 1.0, 3.0, 10.0)
"""Times the recipe's own value that is tried unless said otherwise."""


@dataclass(frozen=True)
class Probe:
    """What was tried and what to take.

    Attributes:
        resolved: the recipe, with the steps and the schedule of the runs.
        beta_key: of the objective's β in the recipe; None where it has none.
        rates: the runs at several learning rates, with the recipe's β.
        betas: those at several β, with the learning rate that the first recommend; empty where
            there is no β, or no learning rate to try them at.
        rate_advice, beta_advice: what to take; None of β where none was tried.
        folder: of probe.html and probe.json.
    """

    resolved: Resolved
    beta_key: str | None
    rates: tuple[Measured, ...]
    betas: tuple[Measured, ...]
    rate_advice: Advice
    beta_advice: Advice | None
    folder: Path

    @property
    def recommended(self) -> dict[str, float]:
        """Recipe key → value, of what can be recommended."""
        found = {}
        if self.rate_advice.value is not None:
            found["train.learning_rate"] = self.rate_advice.value
        if self.beta_key and self.beta_advice is not None and self.beta_advice.value is not None:
            found[self.beta_key] = self.beta_advice.value
        return found

    def plain(self) -> dict[str, Any]:
        """probe.json."""
        recipe = self.resolved.recipe
        advice = {"train.learning_rate": self.rate_advice.reason}
        if self.beta_key and self.beta_advice is not None:
            advice[self.beta_key] = self.beta_advice.reason
        return {
            "name": recipe.name,
            "what": describe_resolved(self.resolved),
            "formula": self.resolved.objective.formula,
            "steps": recipe.train.max_steps,
            "batch_size": recipe.train.batch_size,
            "beta_key": self.beta_key,
            "bounds": {"kl_per_step": KL_PER_STEP, "chosen_fall": CHOSEN_FALL},
            "recommended": self.recommended,
            "reasons": advice,
            "learning_rates": [one.plain() | {"refused": refusal(one)} for one in self.rates],
            "betas": [one.plain() | {"refused": refusal(one)} for one in self.betas],
        }


def probe(
    recipe: str | Path,
    overrides: Sequence[str] = (),
    *,
    steps: int = 50,
    learning_rates: Sequence[float] | None = None,
    betas: Sequence[float] | None = None,
    out: Path | None = None,
    console: Console | None = None,
) -> Probe:
    """Try learning rates at the recipe's β, then β at the learning rate that these recommend.

    Every run takes `steps` steps of the recipe at a constant learning rate after the recipe's
    warm-up, from the same weights: the numbers of `luce train` with the keys that it is told by.
    Nothing is exported.

    Args:
        recipe, overrides: as `luce train` takes them.
        learning_rates, betas: to try; None: the recipe's own times `FACTORS`.
        out: the folder; None: `<output_dir>-probe` of the recipe.

    Raises:
        RecipeError: β of an objective that has none; no held-out rows; a recipe for `luce online`.
        LuceError: whatever `luce train` would say.
    """
    if steps < 2:
        raise RecipeError(f"--steps: expected 2 or more, got {steps}.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError("luce probe: runs in one process. Start it without torchrun.")
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    short = [*overrides, f"train.max_steps={steps}", "train.lr_scheduler_type=constant"]
    resolved = load_recipe(recipe, short)
    check_fit(resolved.recipe, resolved.objective)
    key, own = beta_of(resolved)
    if betas and own is None:
        raise RecipeError(
            f"--betas: {resolved.recipe.objective.name!r} has no β, or the recipe's is not a "
            "number. Leave the option out."
        )
    rate = resolved.recipe.train.learning_rate
    rates = _values(learning_rates, rate, "--learning-rates")
    others = _values(betas, own, "--betas") if own is not None else []
    folder = out or Path(f"{resolved.recipe.output_dir}-probe")
    refuse_used_folder(folder, resume=False)
    with locked(folder), quick_products():
        write_atomic(folder / "recipe.yaml", dump_resolved(resolved))
        bench = Bench(resolved, folder, console)

        def run(rate: float, beta: float | None) -> Measured:
            keys = [f"train.learning_rate={rate!r}"]
            keys += [f"{key}={beta!r}"] if beta is not None else []
            one = bench.run(load_recipe(recipe, [*short, *keys]), rate, beta, [*short[-2:], *keys])
            console.print(_told(one), markup=False)
            return one

        tried = tuple(run(rate, own) for rate in rates)
        rate_advice = advise_learning_rate(tried)
        best, more, beta_advice = rate_advice.value, (), None
        if best is not None and own is not None and others:
            at_own = next(one for one in tried if one.learning_rate == best)
            more = tuple(at_own if b == own else run(best, b) for b in others)
            beta_advice = advise_beta(more, own)
        found = Probe(resolved, key, tried, more, rate_advice, beta_advice, folder)
        write_json(folder / "probe.json", found.plain())
        write_atomic(folder / "probe.html", probe_page(found.plain()))
    return found


def beta_of(resolved: Resolved) -> tuple[str | None, float | None]:
    """The dotted key of the objective's β, and its value; (None, None) where it has none.

    The parameter is the first in the objective's signature that is called beta, tau, gamma or
    scale (`luce.objectives.units.BETAS`).
    """
    choice = resolved.recipe.objective
    name = beta_key(choice.name)
    value = None if name is None else choice.parameters.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None, None
    return f"objective.{choice.name}.{name}", float(value)


def parse_numbers(text: str, flag: str) -> list[float]:
    """`1e-6,3e-6` as numbers above 0.

    >>> parse_numbers("1e-6,3e-6", "--betas")
    [1e-06, 3e-06]
    """
    found = []
    for part in text.split(","):
        try:
            number = float(part)
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            raise RecipeError(f"{flag}: expected numbers above 0, as in 1e-6,3e-6; got {part!r}.")
        found.append(number)
    if len(set(found)) < len(found):
        raise RecipeError(f"{flag}: a value is given twice in {text!r}.")
    return found


def probe_lines(found: Probe) -> list[str]:
    """The tables and the advice for people, in 80 columns."""
    told = found.plain()
    source = {one.kl_from for one in (*found.rates, *found.betas) if one.kl_from}
    lines = [
        f"{told['steps']} steps of {told['batch_size']} rows each. On held-out rows: Δ log-prob in "
        "nats",
        "a token, growth of the margin a step, accuracy.",
        *([f"KL: nats a response and step, on {source.pop()}."] if source else []),
    ]
    parts: list[tuple[str, str, Sequence[Mapping[str, Any]], Advice | None]] = [
        ("learning_rate", "lr", told["learning_rates"], found.rate_advice),
        ("beta", "β", told["betas"], found.beta_advice),
    ]
    for name, head, rows, advice in parts:
        if not rows or advice is None:
            continue
        lines += [
            "",
            f"{head:<9}{'KL/step':>10}{'Δchosen':>10}{'Δrejected':>11}{'margin/step':>13}"
            f"{'accuracy':>10}{'|grad|':>9}",
        ]
        for row in rows:
            mark = "→" if row[name] == advice.value else " "
            cells = [
                _cell(row["kl_per_step"], 10, "{:.2g}"),
                _cell(row["chosen"], 10, "{:+.3f}"),
                _cell(row["rejected"], 11, "{:+.3f}"),
                _cell(row["margin"], 13, "{:+.2g}"),
                _cell(row["accuracy"], 10, "{:.3f}"),
                f"{row['grad_norm']:9.3g}" if row["grad_norm"] is not None else f"{'–':>9}",
            ]
            lines.append(f"{mark}{row[name]:<8.3g}{''.join(cells)}")
            if row["refused"]:
                lines.append(f"           {row['refused']}")
        lines += ["", *textwrap.wrap(advice.reason, 80)]
    if found.recommended:
        keys = " ".join(f"{key}={value:g}" for key, value in found.recommended.items())
        lines += ["", f"recommended: {keys}"]
    return lines


def _cell(estimate: Mapping[str, Any] | None, width: int, form: str) -> str:
    known = estimate is not None and estimate["value"] is not None
    return f"{form.format(estimate['value']) if known and estimate else '–':>{width}}"


def _values(given: Sequence[float] | None, own: float, flag: str) -> list[float]:
    if given is None:
        return [float(f"{own * factor:.3g}") if factor != 1 else own for factor in FACTORS]
    if not given:
        raise RecipeError(f"{flag}: name one value at least, as in 1e-6,3e-6.")
    return sorted(given)


def _told(one: Measured) -> str:
    beta = "" if one.beta is None else f", β {one.beta:g}"
    why = refusal(one)
    kl = "" if one.kl is None else f", KL {one.kl.value:.3g}"
    end = one.failure or f"held-out loss {one.loss[0]:.4g} → {one.loss[1]:.4g}{kl}"
    return f"learning rate {one.learning_rate:g}{beta}: {end}" + (
        f" (will not do: {why})" if why and not one.failure else ""
    )
