"""Where records go besides the run folder: the console, and any tracker that is installed."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from luce.errors import RecipeError, did_you_mean


@runtime_checkable
class Sink(Protocol):
    """Takes records as they come."""

    def write(self, record: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class ConsoleSink:
    """A progress bar with time left on a terminal; a line now and then where output is piped."""

    SHOWN = ("loss", "rewards/accuracies", "rewards/margins", "reward", "kl", "nll", "grad_norm")

    def __init__(self, total_steps: int, every: int = 1, console: Console | None = None):
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.every, self.total = every, total_steps
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task("training", total=total_steps, shown="")
        self.progress.start()

    def write(self, record: Mapping[str, Any]) -> None:
        match record["split"]:
            case "note":
                self.console.print(record["note"])
            case "eval":
                self.console.print(f"step {record['step']}: held out {_eval_text(record)}")
            case "samples":
                self.console.print(f"step {record['step']}: samples {_samples_text(record)}")
            case _:
                if (said := anomaly_text(record)) is not None:
                    self.console.print(f"warning: {said}", markup=False)
                shown = _train_text(record, self.SHOWN)
                self.progress.update(self.task, completed=record["step"], shown=shown)
                tenth = max(1, self.total // 10, self.every)
                if not self.console.is_terminal and record["step"] % tenth == 0:
                    self.console.print(f"step {record['step']}/{self.total}: {shown}")

    def close(self) -> None:
        self.progress.stop()


def anomaly_text(record: Mapping[str, Any]) -> str | None:
    """What is unusual about the gradient of a step, or None."""
    typical = record.get("grad_norm/typical")
    if typical is None:
        return None
    return (
        f"step {record['step']}: the gradient's norm is {record['grad_norm']:.3g}, where "
        f"{typical:.3g} was typical of the steps before."
    )


def _train_text(record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return "  ".join(f"{n.split('/')[-1]} {record[n]:.4g}" for n in names if n in record)


def _eval_text(record: Mapping[str, Any]) -> str:
    parts = [f"loss {record['eval_loss']:.4f}"]
    accuracy = record.get("eval_rewards/accuracies")
    if accuracy is not None:
        low, high = (record[f"eval_rewards/accuracies_{end}"] for end in ("low", "high"))
        parts.append(f"accuracy {accuracy:.3f} [{low:.3f}, {high:.3f}]")
    return ", ".join(parts) + f" (n = {record['n']})"


def _samples_text(record: Mapping[str, Any]) -> str:
    parts = []
    for name, digits in (("win_rate", 3), ("reward", 3), ("kl", 3), ("length", 1), ("ended", 3)):
        value, low, high = (record.get(f"samples/{name}{end}") for end in ("", "_low", "_high"))
        if value is not None and low is not None and high is not None:
            ends = f"[{low:.{digits}f}, {high:.{digits}f}]"
            parts.append(f"{name.replace('_', ' ')} {value:.{digits}f} {ends}")
    return ", ".join(parts) + f" (n = {record['n']})"


class TrackerSink:
    """Hands the numbers of a record to a tracker's `log`, with its step."""

    def __init__(
        self, log: Callable[[dict[str, float], int], None], close: Callable[[], None], every: int
    ):
        self.log, self.finish, self.every = log, close, every

    def write(self, record: Mapping[str, Any]) -> None:
        if record["split"] == "train" and record["step"] % self.every:
            return
        numbers = {k: float(v) for k, v in record.items() if isinstance(v, int | float)}
        step = int(numbers.pop("step", -1))
        if numbers and step >= 0:
            self.log(numbers, step)

    def close(self) -> None:
        self.finish()


def _wandb(module: Any, name: str, folder: Path) -> tuple[Any, Any]:
    run = module.init(project="luce", name=name, dir=str(folder))
    return (lambda values, step: run.log(values, step=step)), run.finish


def _trackio(module: Any, name: str, folder: Path) -> tuple[Any, Any]:
    module.init(project="luce", name=name)
    return (lambda values, step: module.log(values, step=step)), module.finish


def _tensorboard(module: Any, name: str, folder: Path) -> tuple[Any, Any]:
    writer = module.SummaryWriter(str(folder / "tensorboard"))

    def log(values: dict[str, float], step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)

    return log, writer.close


def _mlflow(module: Any, name: str, folder: Path) -> tuple[Any, Any]:
    module.start_run(run_name=name)
    return (lambda values, step: module.log_metrics(values, step=step)), module.end_run


TRACKERS = {
    "wandb": ("wandb", _wandb),
    "trackio": ("trackio", _trackio),
    "tensorboard": ("torch.utils.tensorboard", _tensorboard),
    "mlflow": ("mlflow", _mlflow),
}


def tracker(report_to: str, name: str, folder: Path, every: int) -> TrackerSink | None:
    """The tracker of this name, or None for "none".

    Raises:
        RecipeError: no such tracker, or it is not installed.
    """
    if report_to == "none":
        return None
    if report_to not in TRACKERS:
        raise RecipeError(
            f"train.report_to: no {report_to!r}. {did_you_mean(report_to, ['none', *TRACKERS])}"
        )
    module_name, start = TRACKERS[report_to]
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise RecipeError(
            f"train.report_to: {report_to} is not installed ({error}). Run `pip install "
            f"{report_to}`, or set `report_to: none`."
        ) from error
    log, close = start(module, name, folder)
    return TrackerSink(log, close, every)
