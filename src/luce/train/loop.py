"""What the loops of training and of reinforcement learning share: how a run is taken up, what is
written of a step that would spoil the weights, and what follows a step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from luce.files import write_jsonl
from luce.train.checkpoint import Checkpoint
from luce.train.distributed import World
from luce.train.lines import TERMINATED, RunFolder
from luce.train.nonfinite import NonFiniteStep
from luce.train.settings import TrainSettings

Record = dict[str, Any]


@runtime_checkable
class Watcher(Protocol):
    """Looks at what is trained, between steps; on the first process only."""

    def due(self, step: int, last: bool) -> bool: ...

    def look(self) -> dict[str, Any]:
        """A record with `split` and `step`; it must follow from weights and seed alone."""
        ...


@runtime_checkable
class Loop(Protocol):
    """A trainer as its loop sees it.

    Attributes:
        step, total_steps: done, and of the whole run.
        settings: how often is what.
        world: this process among its peers.
    """

    step: int
    total_steps: int
    settings: TrainSettings
    world: World

    def steps(self) -> Iterator[Record]: ...

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None: ...

    def whole(self) -> AbstractContextManager[None]: ...


def take_up(
    trainer: Loop, checkpoint: Checkpoint | None, damaged: Sequence[str]
) -> Iterator[Record]:
    """Put the trainer where the checkpoint was taken; yields notes on that, and on damaged ones."""
    for line in damaged:
        yield {"split": "note", "note": f"{line} Going back to an older checkpoint."}
    if checkpoint is not None:
        trainer.restore(checkpoint.tensors, checkpoint.values)
        note = f"Resumed at step {trainer.step} from {checkpoint.path}."
        yield {"split": "note", "note": note}


def steps_of(trainer: Loop, folder: RunFolder) -> Iterator[Record]:
    """The records of `trainer.steps()`; the rows of a step that is not finite are written out.

    Raises:
        NonFiniteStep: the trainer's own.
    """
    try:
        yield from trainer.steps()
    except NonFiniteStep as error:
        if trainer.world.first:
            write_jsonl(folder.path / "nonfinite.jsonl", error.rows(trainer.step + 1))
        raise


def end_step(
    trainer: Loop,
    watcher: Watcher | None,
    stop: Mapping[str, bool],
    write: Callable[[Record], Record],
    save: Callable[[], None],
) -> Iterator[Record]:
    """What follows a step and its evaluation: samples if they are due, a checkpoint if it is due or
    the run is to stop, and the stop.

    Args:
        stop: its `now` is True where the run is to stop (`luce.train.lines.sigterm_noted`).
        write: writes a record and returns it.
        save: writes a checkpoint.

    Raises:
        SystemExit: 143 where the run is to stop.
    """
    step, last = trainer.step, trainer.step == trainer.total_steps
    if watcher is not None and watcher.due(step, last):
        with trainer.whole():
            if trainer.world.first:
                yield write(watcher.look())
        trainer.world.barrier()
    if step % trainer.settings.save_steps == 0 or last or stop["now"]:
        save()
    if stop["now"]:
        raise SystemExit(TERMINATED)
