"""What a run's policy is compared with: what the recipe says, opened, hashed, cached.

Two models may stand beside the policy: the reference, and the earlier iterate that `history` names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from luce.data.pack import pack
from luce.errors import ReferencePolicyError
from luce.models.policy import CausalPolicy
from luce.models.reference import (
    ReferenceCache,
    ReferencePolicy,
    adapter_off,
    compute_reference,
    open_reference,
)
from luce.models.reward import RewardModel
from luce.recipe.memory import size_text
from luce.recipe.prepare import Data, compares, train_settings
from luce.recipe.schema import Recipe
from luce.train.distributed import World
from luce.types import CostFunction, Group

NONE: dict[str, Any] = {"kind": "none", "hash": None, "path": None}
"""What the manifest says of a model that the objective does not look at."""


@dataclass(frozen=True)
class Reference:
    """What the policy is compared with, and what the manifest says of it.

    Attributes:
        cache: log-probabilities of the reference; None where the objective reads none.
        facts: kind, hash and path of the reference.
        is_policy_at_step_0: whether policy and reference are meant to be the same weights.
        resident: the reference as a network in memory, where the objective asks for whole
            distributions; else None.
        online: the reference as a network that is asked in the step, for rows that are not in the
            cache; else None.
        history: log-probabilities of the earlier iterate; None where the objective reads none.
        history_facts: its kind, hash and path.
    """

    cache: ReferenceCache | None = None
    facts: dict[str, Any] = field(default_factory=lambda: dict(NONE))
    is_policy_at_step_0: bool = False
    resident: ReferencePolicy | None = None
    online: ReferencePolicy | None = None
    history: ReferenceCache | None = None
    history_facts: dict[str, Any] = field(default_factory=lambda: dict(NONE))


def prepare_reference(
    recipe: Recipe,
    objective: CostFunction,
    model: CausalPolicy | RewardModel,
    data: Data,
    folder: Path,
    world: World,
    console: Console,
    beforehand: bool = False,
) -> Reference:
    """The reference and the earlier iterate that the recipe names, with the log-probabilities of
    every row of the run.

    `initial` is the policy as it stands now, adapters included; `base` the model under its
    adapter; anything else a path. The caches lie in `reference/` and `history/` of the run, keyed
    by weights and tokens, and are read instead of computed where they are there. A run that sees
    its rows once has no use for a cache of them: where the reference is the network in training
    with its adapter off, it is asked in the step, on the very row that is trained on.

    Args:
        beforehand: compute all rows now, whatever the run will see of them.

    Raises:
        ReferencePolicyError: no such model, or one that the objective has no use for.
    """
    if not isinstance(model, CausalPolicy) or not compares(objective):
        if recipe.reference not in ("initial", "none"):
            raise ReferencePolicyError(
                f"recipe.reference: {objective.name!r} uses no reference, but the recipe names "
                f"{recipe.reference!r}. Leave the key out."
            )
    if not isinstance(model, CausalPolicy):
        return Reference()
    groups = [*data.train, *data.held_out]
    parts: dict[str, Any] = {}
    if compares(objective):
        found = _open(recipe.reference, "reference", recipe, model, console)
        # a fresh adapter starts as the identity; one that was trained before does not
        same = found.kind == "initial" or (found.kind == "base" and model.lora is not None)
        parts["facts"] = _facts(found)
        if "kl" in objective.needs:
            parts["resident"] = resident = found.resident()
            console.print(_tell_resident(resident, model))
        if "reference" in objective.needs:
            parts["is_policy_at_step_0"] = same
            once = not beforehand and _seen_once(recipe, data) and adapter_off(found.kind, model)
            kept = data.held_out if once else groups
            parts["cache"] = cache = _cache(found, kept, folder / "reference", recipe, world)
            if once and not all(group in cache for group in data.train):
                parts["online"] = found.resident()
                console.print("reference: asked in the step, with the adapter off")
    if "history" in objective.needs:
        earlier = _open(str(recipe.history), "history", recipe, model, console)
        parts["history_facts"] = _facts(earlier)
        whole = "cache" in parts and "online" not in parts
        if whole and parts["facts"]["hash"] == earlier.hash:  # the first iteration
            parts["history"] = parts["cache"]
        else:
            parts["history"] = _cache(earlier, groups, folder / "history", recipe, world)
    return Reference(**parts)


def resident_bytes(resident: ReferencePolicy, model: CausalPolicy) -> int:
    """What a reference in memory takes beside the policy; 0 where it is the policy's own network
    with its adapter off."""
    if resident.policy is model:
        return 0
    return sum(p.numel() * p.element_size() for p in resident.policy.module.parameters())


def _seen_once(recipe: Recipe, data: Data) -> bool:
    """Whether the run sees no training row twice."""
    rows = len(data.train)
    return train_settings(recipe).visits(rows) <= rows


def _open(
    kind: str, key: str, recipe: Recipe, model: CausalPolicy, console: Console
) -> ReferencePolicy:
    try:
        found = open_reference(kind, model, trust_remote_code=recipe.model.trust_remote_code)
    except ReferencePolicyError as error:
        raise ReferencePolicyError(str(error).replace("reference:", f"{key}:", 1)) from error
    if found is None:
        raise ReferencePolicyError(f"recipe.{key}: none, but the objective needs one.")
    console.print(f"{key}: {kind} = {found.path} (sha256 {found.hash[:12]})")
    return found


def _facts(found: ReferencePolicy) -> dict[str, Any]:
    return {"kind": found.kind, "hash": found.hash, "path": found.path}


def _tell_resident(resident: ReferencePolicy, model: CausalPolicy) -> str:
    if resident.policy is model:
        return "reference: asked in training, with the adapter off"
    size = size_text(resident_bytes(resident, model))
    return f"reference: kept in memory beside the policy ({size}), for KL at every token"


def _cache(
    found: ReferencePolicy, groups: Sequence[Group], folder: Path, recipe: Recipe, world: World
) -> ReferenceCache:
    """The log-probabilities of these rows: the first rank computes, the others read."""
    if not world.first:
        world.barrier()
    cache = compute_reference(
        found, groups, pack, folder, max_tokens=recipe.train.max_tokens_per_batch
    )
    if world.first:
        world.barrier()
    return cache
