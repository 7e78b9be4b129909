"""The missing blocks of a stage as a job of Ray Data: actors on any hosts of a cluster, each with
the policy or the annotator loaded once.

An actor writes its block's file itself, whole, on the folder that all hosts see. So a worker that
is killed costs a block, which Ray gives to another; a driver that is killed costs nothing that was
written, and the run that is resumed asks for what is missing.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from luce.errors import LuceError, RecipeError
from luce.online.blocks import Blocks
from luce.recipe.deterministic import deterministic
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
    """Makes blocks in one of Ray's processes; what it needs is opened with the first of them."""

    def __init__(self) -> None:
        self._opened: tuple[tuple[str, int, str], Stage] | None = None
        self._settings = ExitStack()  # of the run: its process does nothing else

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Write the blocks that a batch of tasks names, but for those that are there.

        Args:
            batch: columns `block`, `number` (of the round), `name` (of the stage), `recipe` (the
                run's own file) and `here` (the driver's folder; relative paths are below it).

        Returns the blocks, with what went wrong: "" where nothing did.
        """
        columns = (batch[name] for name in ("block", "number", "name", "recipe", "here"))
        tasks = zip(*columns, strict=True)
        failed = [self._make(int(b), int(n), str(s), str(r), str(h)) for b, n, s, r, h in tasks]
        return {"block": batch["block"], "failed": failed}

    def _make(self, block: int, number: int, name: str, recipe: str, here: str) -> str:
        try:
            stage = self._stage(number, name, recipe, here)
            blocks = stage.blocks(name)
            if block in blocks.missing():
                tries = _tries(blocks, block)
                _count(tries)
                blocks.write(block, MAKES[name](stage, block))
                tries.unlink(missing_ok=True)
        except LuceError as error:
            return str(error)
        except Exception as error:  # of the annotator's own code: said where the run is led
            return f"{type(error).__name__}: {error}"
        return ""

    def _stage(self, number: int, name: str, recipe: str, here: str) -> Stage:
        key = (recipe, number, name)
        if self._opened is None or self._opened[0] != key:
            os.chdir(here)
            resolved = load_recipe(recipe)
            self._settings.enter_context(deterministic(resolved.recipe))
            folder = Path(resolved.recipe.output_dir)
            loop = open_loop(resolved, folder, Console(quiet=True))
            self._opened = key, loop.stage(number)
        return self._opened[1]


def _tries(blocks: Blocks, block: int) -> Path:
    """A file with a byte for each time that a block was begun and not written."""
    return blocks.folder / f"block-{block:06d}.tries"


def _count(tries: Path) -> None:
    tries.parent.mkdir(parents=True, exist_ok=True)
    with open(tries, "ab") as stream:
        stream.write(b".")
        begun = stream.tell()
    if begun > TRIES:
        raise LuceError(
            f"{tries.with_suffix('.jsonl')}: {TRIES} workers died of this block. Give actors more "
            "memory (fewer of them on a host), or lower `online.block`."
        )


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
    for tries in blocks.folder.glob("block-*.tries"):  # of a run that was stopped
        tries.unlink(missing_ok=True)
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
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data.DataContext.get_current().enable_progress_bars = False
    whole = {
        "recipe": str((Path(recipe.output_dir) / "recipe.yaml").absolute()),
        "here": os.getcwd(),
        "number": number,
        "name": name,
    }
    # a partition each: small inputs are otherwise put together, and one actor gets all of them
    tasks = [{"block": block} | whole for block in missing]
    job = data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
        BlockActor,
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(given.concurrency, len(missing))),
        num_cpus=given.num_cpus,
        num_gpus=given.num_gpus,
    )
    place = f"Ray: {name} of round {number}"
    try:
        for batch in job.iter_batches(batch_size=None):
            for failed in map(str, batch["failed"]):
                if failed:
                    raise LuceError(f"{place}: {failed}")
            done()
    except LuceError:
        raise
    except Exception as error:  # Ray's errors have no common type of their own
        said = str(error).strip().partition("\n")[0]
        raise LuceError(f"{place}: {said or type(error).__name__}") from error


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
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
