"""The reference of a run: what the recipe says, opened, hashed, its log-probabilities cached."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from luce.data.pack import pack
from luce.errors import ReferencePolicyError
from luce.models.policy import CausalPolicy
from luce.models.reference import ReferenceCache, compute_reference, open_reference
from luce.models.reward import RewardModel
from luce.recipe.prepare import Data
from luce.recipe.schema import Recipe
from luce.train.distributed import World
from luce.types import CostFunction


@dataclass(frozen=True)
class Reference:
    """Log-probabilities of the reference, and what the manifest says of it.

    Attributes:
        cache: None where the objective has no reference.
        facts: kind, hash and path.
        is_policy_at_step_0: whether policy and reference are meant to be the same weights.
    """

    cache: ReferenceCache | None
    facts: dict[str, Any]
    is_policy_at_step_0: bool


def prepare_reference(
    recipe: Recipe,
    objective: CostFunction,
    model: CausalPolicy | RewardModel,
    data: Data,
    folder: Path,
    world: World,
    console: Console,
) -> Reference:
    """The reference that the recipe names, with the log-probabilities of every row of the run.

    `initial` is the policy as it stands now, adapters included; `base` the model under its
    adapter; anything else a path. The cache lies in `reference/` of the run, keyed by weights and
    tokens, and is read instead of computed where it is there.

    Raises:
        ReferencePolicyError: no such reference, or one that the objective has no use for.
    """
    if not objective.needs_reference or not isinstance(model, CausalPolicy):
        if recipe.reference not in ("initial", "none"):
            raise ReferencePolicyError(
                f"recipe.reference: {objective.name!r} uses no reference, but the recipe names "
                f"{recipe.reference!r}. Leave the key out."
            )
        return Reference(None, {"kind": "none", "hash": None, "path": None}, False)
    found = open_reference(
        recipe.reference, model, trust_remote_code=recipe.model.trust_remote_code
    )
    if found is None:
        raise ReferencePolicyError("recipe.reference: none, but the objective needs one.")
    if not world.first:  # the first rank computes, the others read what it wrote
        world.barrier()
    cache = compute_reference(
        found,
        [*data.train, *data.held_out],
        pack,
        folder / "reference",
        max_tokens=recipe.train.max_tokens_per_batch,
    )
    if world.first:
        world.barrier()
    # a fresh adapter starts as the identity; one that was trained before does not
    same = found.kind == "initial" or (found.kind == "base" and model.lora is not None)
    console.print(f"reference: {recipe.reference} = {found.path} (sha256 {found.hash[:12]})")
    return Reference(cache, {"kind": found.kind, "hash": found.hash, "path": found.path}, same)
