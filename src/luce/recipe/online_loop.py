"""An online run under way: its recipe checked, its prompts read, its policies at hand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from luce.data.template import Renderer
from luce.errors import LuceError, RecipeError
from luce.files import write_atomic, write_json
from luce.models.engines import Weights
from luce.models.policy import CausalPolicy
from luce.objectives.own import code_of
from luce.recipe.load import Resolved, written
from luce.recipe.manifest import identity, now, versions
from luce.recipe.online_engine import HOW, check_engine, check_named, weights_of
from luce.recipe.online_evaluate import Judges
from luce.recipe.online_ledger import ledger
from luce.recipe.online_models import (
    Models,
    annotator_facts,
    check_opponent,
    check_reference,
    dtype_of,
    load_frozen,
)
from luce.recipe.online_prompts import Prompts, load_prompts
from luce.recipe.online_rl_check import check_rl, is_rl
from luce.recipe.online_stages import Stage
from luce.recipe.preferred import Opened, open_annotator
from luce.recipe.prepare import check_fit
from luce.recipe.provenance import dump_resolved
from luce.recipe.schema import Online, Recipe
from luce.train.fit import changed

IN_MEMORY = "python"
"""What a recipe calls an annotator that was given as an object."""


@dataclass
class Loop:
    """An online run under way.

    Attributes:
        resolved: the recipe of the whole.
        folder: of the run.
        renderer: of every round.
        models: policies and references by round.
        prompts: all of them.
        hashes: of the policies, by round, as far as they are known.
        annotator, gold: who judges, where they were given as objects.
    """

    resolved: Resolved
    folder: Path
    renderer: Renderer
    models: Models
    prompts: Prompts
    console: Console
    hashes: dict[int, str]
    annotator: Opened | None = None
    gold: Opened | None = None

    @property
    def recipe(self) -> Recipe:
        return self.resolved.recipe

    @property
    def online(self) -> Online:
        assert self.recipe.online is not None
        return self.recipe.online

    def stage(self, number: int) -> Stage:
        """The stages of a round."""
        return Stage(
            self.recipe,
            number,
            self.models.round(number),
            self.prompts.of_round(number, self.online.prompts_per_round),
            self.renderer,
            partial(self.policy_after, number - 1),
            self._annotator,
            partial(self.weights_after, number - 1),
            partial(self.console.print, markup=False),
            None if self.online.opponent is None else partial(self.models.opponent, number),
        )

    def weights_after(self, number: int) -> Weights:
        """Where the policy after a round lies, with its hash."""
        if number not in self.hashes:
            self.policy_after(number)
        return weights_of(self.models.path(number), self.hashes[number])

    def judges(self) -> Judges:
        """Who judges the answers to held-out prompts."""
        load = None if self.online.gold is None else self._gold
        return Judges(self._annotator, load)

    def _annotator(self) -> Opened:
        return self.annotator or open_annotator(self.online.annotator, self.online.annotator_kind)

    def _gold(self) -> Opened:
        return self.gold or open_annotator(str(self.online.gold), self.online.gold_kind)

    def policy_after(self, number: int) -> tuple[CausalPolicy, str]:
        policy = self.models.load(number)
        loaded = policy.hash()
        found = self.hashes.setdefault(number, loaded)
        if found != loaded:
            raise LuceError(
                f"{self.models.path(number)}: its weights are not those of round {number} (sha256 "
                f"{loaded[:12]}, recorded {found[:12]}). Put them back, or start again in "
                "another output_dir."
            )
        return policy, found


def check_online(resolved: Resolved) -> None:
    """Raise where a recipe is none for rounds."""
    recipe = resolved.recipe
    if recipe.online is None:
        raise RecipeError(
            "recipe.online: missing. Give at least `online: {annotator: …}`, or use `luce train`."
        )
    if is_rl(resolved):
        check_rl(resolved)
        return
    if recipe.model.kind != "policy":
        raise RecipeError("recipe.model.kind: rounds are of a policy. Use `luce train`.")
    if resolved.objective.structure == "list" and recipe.online.select != "listwise":
        raise RecipeError(
            f"recipe.online.select: {resolved.objective.name} learns from rankings. Set "
            "`select: listwise`."
        )
    check_engine(recipe)
    check_named(recipe, IN_MEMORY)
    check_reference(recipe)
    check_opponent(recipe)
    inner: dict[str, Any] = {"online": None}  # what `luce train` gets in every round
    if recipe.history == "previous_round":
        inner["history"] = "initial"
    check_fit(recipe.model_copy(update=inner), resolved.objective)


def open_loop(resolved: Resolved, folder: Path, console: Console) -> Loop:
    """The run with its prompts, whatever of it is done."""
    recipe = resolved.recipe
    policy = load_frozen(recipe, recipe.model.path, dtype_of(recipe))
    renderer = Renderer(
        policy.tokenizer, render=recipe.data.render, score_turns=recipe.data.score_turns
    )
    folder.mkdir(parents=True, exist_ok=True)
    prompts = load_prompts(recipe, renderer, folder)
    models = Models(recipe, folder, str(policy.inner.dtype).removeprefix("torch."))
    hashes = {0: policy.hash()}
    hashes |= {line["round"]: line["policy"]["hash"] for line in ledger(folder)}
    return Loop(resolved, folder, renderer, models, prompts, console, hashes)


def begin(loop: Loop, allow_change: Sequence[str]) -> dict[str, Any]:
    """Write what the run is; raise where the folder's run is another one."""
    recipe, objective, online = loop.recipe, loop.resolved.objective, loop.online
    same = identity(
        written(recipe),
        {
            "prompts": loop.prompts.fingerprint,
            "model (weights)": loop.hashes[0],
            "annotator": annotator_facts(online.annotator),
            "template": loop.renderer.template_hash,
            "objective (code)": code_of(recipe.objective.name).get("sha256"),
        },
    )
    free = tuple(f"{key}." for key in ("online.rounds", "online.block", *HOW))
    same = {k: v for k, v in same.items() if not f"{k}.".startswith(free)}
    path = loop.folder / "manifest.json"
    if path.exists():
        before = json.loads(path.read_text("utf-8"))
        differ = changed(before["identity"], json.loads(json.dumps(same)))
        refused = [text for key, text in differ.items() if key not in allow_change]
        if refused:
            raise RecipeError(
                f"{loop.folder}: this run has changed since: {'; '.join(refused)}. Change it back, "
                "name the key with --allow-change, or set another output_dir."
            )
    facts = {
        "luce": versions().get("luce"),
        "name": recipe.name,
        "kind": "online",
        "command": ["luce", "online", f"{recipe.output_dir}/recipe.yaml"],
        "created": now(),
        "seed": recipe.train.seed,
        "objective": {
            "name": objective.name,
            "parameters": dict(objective.parameters),
            "formula": objective.formula,
            "code": code_of(recipe.objective.name),
        },
        "annotator": annotator_facts(online.annotator),
        "gold": None if online.gold is None else annotator_facts(online.gold),
        "prompts": {"train": len(loop.prompts), "held_out": len(loop.prompts.held_out)},
        "identity": same,
        "versions": versions(),
        "status": "running",
    }
    write_atomic(loop.folder / "recipe.yaml", dump_resolved(loop.resolved))
    write_json(path, facts)
    loop.console.print(
        f"{recipe.name}: {online.rounds} rounds of {objective.name} on {recipe.model.path}, "
        f"{len(loop.prompts)} prompts, {len(loop.prompts.held_out)} held out"
    )
    return facts
