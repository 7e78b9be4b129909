"""What samples in an online run: this process, or a server that is given each round's weights; and
what becomes of samples that other weights drew."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from luce.errors import RecipeError
from luce.models.engine_http import Http
from luce.models.engine_server import ServerEngine
from luce.models.engines import Engine, Weights
from luce.models.policy import CausalPolicy
from luce.recipe.folders import inside
from luce.recipe.sampling import token_log_probs
from luce.recipe.schema import Engine as EngineSection
from luce.recipe.schema import Online, RayJob, Recipe, Section
from luce.types import Branch, Group, Place

HOW = ("online.engine", "online.scale", "online.ray", "online.train_command")
"""Keys that say how the work is done, and not what it is: a resumed run may change them."""

LEAST_WEIGHT = 1e-30
"""Of a sample that the policy would hardly draw: rows count more than 0."""


def check_engine(recipe: Recipe) -> None:
    """Raise where keys of the engine and of Ray do not go together."""
    online = recipe.online
    assert online is not None
    engine, place = online.engine, "recipe.online.engine"
    if engine.kind == "transformers":
        _unused(engine, EngineSection(), place, "samples are drawn in this process", "kind")
    elif engine.base_url is None:
        raise RecipeError(
            f"{place}.base_url: missing. Give the address of the {engine.kind} server, without /v1."
        )
    if engine.stale == "refuse" and engine.max_weight != EngineSection().max_weight:
        raise RecipeError(
            f"{place}.max_weight: no weights, since stale samples are refused. Leave it out, or "
            "set `stale: weight`."
        )
    temperature = online.temperature
    if engine.stale == "weight" and (temperature not in (1.0, (1.0,)) or online.top_p != 1):
        raise RecipeError(
            f"{place}.stale: importance weights are of samples at temperature 1 and top_p 1. Set "
            "these, or `stale: refuse`."
        )
    if online.scale == "none":
        _unused(online.ray, RayJob(), "recipe.online.ray", "nothing is shared by Ray", None)


def check_named(recipe: Recipe, unnamed: str) -> None:
    """Raise where Ray is to ask an annotator that only this process has.

    Args:
        unnamed: what a recipe calls an annotator that was given as an object.
    """
    online = recipe.online
    if online is not None and online.scale == "ray" and online.annotator == unnamed:
        raise RecipeError(
            "recipe.online.scale: Ray's processes cannot be given an annotator that is an object "
            "in Python. Name it as module:function or by its folder, or leave `scale` out."
        )


def _unused(given: Section, default: Section, place: str, why: str, switch: str | None) -> None:
    for key in type(given).model_fields:
        if getattr(given, key) != getattr(default, key):
            remedy = "`online.scale: ray`" if switch is None else f"`{switch}: vllm` or `sglang`"
            raise RecipeError(f"{place}.{key}: {why}. Leave it out, or set {remedy}.")


def weights_of(path: str, version: str) -> Weights:
    """The policy at a path, as a server is to load it."""
    place = inside(path)
    return Weights(place, version, (Path(place) / "adapter_config.json").exists())


def open_server(online: Online, weights: Weights, tell: Callable[[str], None]) -> Engine:
    """The engine behind the recipe's address.

    Raises:
        ModelError: it is no address, or the key is missing.
    """
    given = online.engine
    http = Http(
        str(given.base_url),
        api_key_env=given.api_key_env,
        timeout_s=given.timeout_s,
        retries=given.retries,
    )
    return ServerEngine(
        given.kind,
        http,
        weights,
        concurrency=given.concurrency,
        wait_s=given.wait_s,
        stale=given.stale == "weight",
        tell=tell,
    )


def sample_groups(samples: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Group]:
    """(prompt, response) as token ids → groups whose every response token is scored."""
    groups = []
    for i, (prompt, ids) in enumerate(samples):
        branch = Branch(np.asarray(ids, dtype=np.int32), np.ones(len(ids), dtype=bool))
        place = Place("samples", i + 1)
        groups.append(Group(np.asarray(prompt, dtype=np.int32), (branch,), f"sample-{i}", place))
    return groups


def importance_weights(
    policy: CausalPolicy,
    samples: Sequence[tuple[Sequence[int], Sequence[int], Sequence[float]]],
    budget: int,
    longest: float,
) -> list[float]:
    """min(longest, π(y|x) / μ(y|x)) of each sample: what it counts when it was drawn from μ.

        log π(y|x) − log μ(y|x) = Σ_t (log π(y_t|x, y_<t) − log μ(y_t|x, y_<t))

    Cutting the ratio off bounds its variance and biases the mean towards μ (Ionides, 2008).

    Args:
        samples: (prompt, response, log μ of each of its tokens in nats).
        budget: tokens of a forward pass.
    """
    if not samples:
        return []
    found = token_log_probs(policy, sample_groups([(p, y) for p, y, _ in samples]), budget)
    ratios = [
        math.fsum(ours) - math.fsum(said) for ours, (_, _, said) in zip(found, samples, strict=True)
    ]
    return [max(LEAST_WEIGHT, math.exp(min(ratio, math.log(longest)))) for ratio in ratios]


def row_weight(samples: Sequence[Mapping[str, Any]], longest: float) -> float:
    """What a row of these samples counts: the product of their importance weights, cut off; 1 where
    none of them is stale. The samples of a row are drawn independently, so that the ratio of the
    row is the product."""
    stale = [float(sample["weight"]) for sample in samples if "weight" in sample]
    return max(LEAST_WEIGHT, min(longest, math.prod(stale))) if stale else 1.0
