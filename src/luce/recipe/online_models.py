"""Policies and references of an online run, by round: where they lie, how they are loaded."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from luce.errors import RecipeError
from luce.files import sha256_file
from luce.models.export import save_model
from luce.models.geometric import toward_reference
from luce.models.policy import CausalPolicy, load_policy
from luce.objectives.own import is_own
from luce.recipe.folders import inside
from luce.recipe.judge import own_annotator
from luce.recipe.schema import Recipe
from luce.train.distributed import local_device

SHARE = re.compile(r"(ema|mixture)\(\s*(0?\.\d+|0|1|1\.0)\s*\)")


def share_of(word: str, text: str) -> float | None:
    """The number from 0 to 1 in `word(number)`; None of another text.

    >>> share_of("mixture", "mixture(0.25)"), share_of("mixture", "ema(0.25)")
    (0.25, None)
    """
    found = SHARE.fullmatch(text)
    return float(found[2]) if found is not None and found[1] == word else None


def ema_rate(reference: str) -> float | None:
    """The rate of `ema(rate)`; None of another reference.

    >>> ema_rate("ema(0.9)")
    0.9
    """
    return share_of("ema", reference)


def check_opponent(recipe: Recipe) -> None:
    """Raise where the opponent is none, or where selector and opponent do not go together."""
    assert recipe.online is not None
    given, across = recipe.online.opponent, recipe.online.select == "across"
    if given is not None and given != "reference" and share_of("mixture", given) is None:
        raise RecipeError(
            f"recipe.online.opponent: {given!r}. Write reference, or mixture(share) with the share "
            "of the reference from 0 to 1."
        )
    if given is not None and recipe.reference in ("previous_round", "none"):
        raise RecipeError(
            f"recipe.online.opponent: {given} is made with the reference, and reference: "
            f"{recipe.reference} is the policy itself or nothing. Set `reference: initial`."
        )
    if across and given is None:
        raise RecipeError(
            "recipe.online.select: across sets the policy against an opponent. Set "
            "`online.opponent: mixture(0.25)` or `reference`."
        )


def check_reference(recipe: Recipe) -> None:
    """Raise where the recipe's reference cannot be moved as it says."""
    moving = recipe.reference.startswith("ema")
    if moving and ema_rate(recipe.reference) is None:
        raise RecipeError(
            f"recipe.reference: {recipe.reference!r}. Write ema(rate) with a rate from 0 to 1: the "
            "weight of the reference before in the mean with the round's policy."
        )
    if moving and recipe.model.lora is not None:
        raise RecipeError(
            "recipe.reference: ema averages whole weights, and `model.lora` trains adapters. Take "
            "previous_round or initial, or train all weights."
        )


@dataclass(frozen=True)
class Models:
    """Policies and references of a run.

    Attributes:
        folder: of the run.
        dtype: of the weights, by name; all rounds load the same.
    """

    recipe: Recipe
    folder: Path
    dtype: str

    def round(self, number: int) -> Path:
        """The folder of a round."""
        return self.folder / "rounds" / f"{number:03d}"

    def path(self, number: int) -> str:
        """Where the policy after round `number` lies; 0: the one the run begins with."""
        if number == 0:
            return self.recipe.model.path
        return str(self.round(number) / "train" / "model")

    def load(self, number: int) -> CausalPolicy:
        """The policy after round `number`, for sampling and scoring."""
        return load_frozen(self.recipe, self.path(number), self.dtype)

    def reference(self, number: int) -> tuple[str, str]:
        """What the training of round `number` calls its reference, and which policy that is.

        A moving average is written where it is not there yet.
        """
        kind = self.recipe.reference
        if kind == "previous_round":
            return "initial", f"policy of round {number - 1}"
        if kind == "initial":
            if number == 1:
                return "initial", "policy of round 0"
            fresh = self.recipe.model.lora is not None
            return ("base" if fresh else self.recipe.model.path), "policy of round 0"
        rate = ema_rate(kind)
        if rate is None:
            return kind, kind
        if number == 1:
            return "initial", "policy of round 0"
        return str(self._average(number, rate)), f"{kind} up to round {number - 1}"

    def opponent(self, number: int, policy: CausalPolicy) -> CausalPolicy:
        """Whom the policy of the beginning of round `number` meets."""
        assert self.recipe.online is not None
        kind = str(self.recipe.online.opponent)
        named, _ = self.reference(number)
        path = self.recipe.model.path if named in ("initial", "base") else named
        if named == "base":
            reference = None if policy.has_adapter else self.load(0)
        else:
            reference = load_frozen(self.recipe, path, self.dtype)
        share = share_of("mixture", kind)
        return toward_reference(policy, 1.0 if share is None else share, reference)

    def history(self, number: int) -> str | None:
        """What the training of round `number` calls the earlier iterate; None where none is
        looked at."""
        kind = self.recipe.history
        if kind == "previous_round" or (kind == "initial" and number == 1):
            return "initial"
        return self.recipe.model.path if kind == "initial" else kind

    def _average(self, number: int, rate: float) -> Path:
        """rate · (the reference before) + (1 − rate) · (the policy of the round before)."""
        target = self.round(number) / "reference"
        if (target / "config.json").exists():
            return target
        before = self.round(number - 1) / "reference"
        old = str(before) if number > 2 else self.recipe.model.path
        mean = load_frozen(self.recipe, old, self.dtype)
        new = self.load(number - 1)
        with torch.no_grad():
            theirs = dict(new.module.named_parameters())
            for name, parameter in mean.module.named_parameters():
                parameter.mul_(rate).add_(theirs[name], alpha=1 - rate)
        save_model(mean, target)
        return target


def load_frozen(recipe: Recipe, path: str, dtype: str) -> CausalPolicy:
    """A policy that nothing is trained of."""
    policy = load_policy(
        path,
        dtype=dtype,
        trust_remote_code=recipe.model.trust_remote_code,
        layout=recipe.model.layout,
        device=local_device(),
    )
    if recipe.train.bf16:
        policy.autocast = torch.bfloat16
    policy.module.requires_grad_(False)
    return policy


def dtype_of(recipe: Recipe) -> str:
    """The dtype in which every round holds the weights: as `luce train` would."""
    if recipe.model.dtype == "auto" and recipe.model.lora is None:
        return "float32"
    return recipe.model.dtype


def annotator_facts(name: str) -> dict[str, Any]:
    """Name and content hash of an annotator: of its weights, or of the file of its function."""
    if is_own(name):
        own_annotator(name)  # imports it
        module = sys.modules[name.partition(":")[0]]
        file = getattr(module, "__file__", None)
        return {"name": name, "sha256": sha256_file(Path(file)) if file else None}
    folder = Path(inside(name))
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return {"name": name, "sha256": {f.name: sha256_file(f) for f in files} or None}
