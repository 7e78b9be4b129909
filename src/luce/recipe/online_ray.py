"""The missing blocks of a stage as a job of Ray Data: actors on any hosts of a cluster, each with
the policy or the annotator loaded once.

An actor writes its block's file itself, whole, on the folder that all hosts see. So a worker that
is killed costs a block, which Ray gives to another; a driver that is killed costs nothing that was
written, and the run that is resumed asks for what is missing.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from luce.errors import LuceError, RecipeError
from luce.online.blocks import Blocks
from luce.recipe.load import load_recipe
from luce.recipe.online_loop import open_loop
from luce.recipe.online_stages import Stage, judge_block, sample_block
from luce.recipe.schema import RayJob, Recipe

MAKES: Mapping[str, Callable[[Stage, int], list[dict[str, Any]]]] = {
    "samples": sample_block,
    "verdicts": judge_block,
}
"""Stage → the rows of one of its blocks."""

TRIES = 4
"""Of a block whose worker dies; one that kills every worker would else be tried forever."""


class BlockActor:
    """Makes blocks of one stage in one of Ray's processes.

    Args:
        recipe: the run's own file.
        here: the folder in which the driver runs; relative paths of the recipe are below it.
        number: of the round.
        name: of the stage.
    """

    def __init__(self, recipe: str, here: str, number: int, name: str):
        os.chdir(here)
        resolved = load_recipe(recipe)
        folder = Path(resolved.recipe.output_dir)
        self.stage = open_loop(resolved, folder, Console(quiet=True)).stage(number)
        self.blocks, self.make = self.stage.blocks(name), MAKES[name]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Write the blocks whose numbers stand in the batch, but for those that are there."""
        for block in map(int, batch["block"]):
            if block in self.blocks.missing():
                self.blocks.write(block, self.make(self.stage, block))
        return {"block": batch["block"]}


def ray_blocks(
    recipe: Recipe,
    number: int,
    name: str,
    blocks: Blocks,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Have Ray do what is missing of a stage of round `number`.

    Raises:
        LuceError: Ray is not there, the cluster is too small, or an actor failed.
    """
    missing = blocks.missing()
    if not missing:
        return
    ray = _ray()
    assert recipe.online is not None
    given = recipe.online.ray
    mine = not ray.is_initialized()
    if mine:
        _start(ray, given)
    try:
        check_room(given, ray.cluster_resources())
        _job(ray, recipe, number, name, missing, given, lambda: _tell(blocks, progress))
    finally:
        if mine:
            ray.shutdown()


def check_room(given: RayJob, there: Mapping[str, float]) -> None:
    """Raise where the actors would not fit, or would leave no CPU to the reads: either hangs.

    Args:
        there: what the cluster has, by Ray's names.
    """
    cpus, gpus = given.concurrency * given.num_cpus, given.concurrency * given.num_gpus
    if cpus > there.get("CPU", 0.0) - 1:
        raise RecipeError(
            f"recipe.online.ray: {given.concurrency} actors of {given.num_cpus:g} CPUs take "
            f"{cpus:g} of {there.get('CPU', 0.0):g}, and reads need one more. Lower `concurrency` "
            "or `num_cpus`, or add hosts."
        )
    if gpus > there.get("GPU", 0.0):
        raise RecipeError(
            f"recipe.online.ray: {given.concurrency} actors of {given.num_gpus:g} GPUs take "
            f"{gpus:g}, and the cluster has {there.get('GPU', 0.0):g}. Lower `concurrency` or "
            "`num_gpus`, or add hosts."
        )


def _job(
    ray: Any,
    recipe: Recipe,
    number: int,
    name: str,
    missing: Sequence[int],
    given: RayJob,
    done: Callable[[], None],
) -> None:
    data = ray.data
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # a partition each: small inputs are otherwise put together, and one actor gets all of them
    numbers = data.from_items([{"block": b} for b in missing], override_num_blocks=len(missing))
    job = numbers.map_batches(
        BlockActor,
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(given.concurrency, len(missing))),
        num_cpus=given.num_cpus,
        num_gpus=given.num_gpus,
        fn_constructor_kwargs={
            "recipe": str((Path(recipe.output_dir) / "recipe.yaml").absolute()),
            "here": os.getcwd(),
            "number": number,
            "name": name,
        },
        max_restarts=-1,
        max_task_retries=TRIES - 1,
    )
    try:
        for _ in job.iter_batches(batch_size=None):
            done()
    except Exception as error:  # Ray's errors have no common type of their own
        raise LuceError(f"Ray: {name} of round {number}: {_reason(error)}") from error


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise LuceError(
            "recipe.online.scale: Ray is not installed. Install it: pip install 'luce[ray]'; or "
            "leave `scale` out and start helpers with --worker."
        ) from None
    return ray


def _start(ray: Any, given: RayJob) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    local = {"include_dashboard": False} if given.address is None else {}
    address = given.address or "local"
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise LuceError(
            f"recipe.online.ray.address: no Ray at {address!r} ({error}). Start one with `ray "
            "start --head`, or leave the key out."
        ) from None


def _tell(blocks: Blocks, progress: Callable[[int, int], None] | None) -> None:
    if progress is not None:
        progress(blocks.count - len(blocks.missing()), blocks.count)


def _reason(error: BaseException) -> str:
    """The sentence of the error that an actor raised, out of what Ray wraps around it."""
    seen: BaseException | None = error
    while seen is not None:
        inner = getattr(seen, "cause", None) or seen.__cause__
        if not isinstance(inner, BaseException):
            break
        seen = inner
    return str(seen).strip() or type(seen).__name__
