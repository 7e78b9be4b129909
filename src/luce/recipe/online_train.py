"""The training of a round: in this process, or by a command such as torchrun's."""

import shlex
import subprocess
from pathlib import Path

from rich.console import Console

from luce.errors import LuceError
from luce.files import write_atomic
from luce.recipe.load import Resolved, load_recipe
from luce.recipe.online_ledger import status
from luce.recipe.provenance import dump_resolved
from luce.recipe.run import train_run


def train_round(resolved: Resolved, command: str | None, *, resume: bool, console: Console) -> Path:
    """Train on the rows of a round; returns the folder of that run.

    Args:
        resolved: the recipe of the round.
        command: what trains it, as `online.train_command` says; None: this process.
        resume: go on with the run that is there.

    Raises:
        LuceError: whatever the user can mend, or the command failed.
    """
    if command is None:
        return train_run(resolved, resume=resume, console=console)
    folder = Path(resolved.recipe.output_dir)
    path = folder.parent / "train.yaml"
    write_atomic(path, dump_resolved(resolved))
    if load_recipe(path).recipe != resolved.recipe:
        raise LuceError(
            f"{path}: a file cannot say what is to be trained, since parts of it are objects in "
            "Python. Leave `online.train_command` out."
        )
    words = [*shlex.split(command), str(path), *(["--resume"] if resume else [])]
    try:
        code = subprocess.run(words, check=False).returncode
    except OSError as error:
        raise LuceError(f"recipe.online.train_command: {words[0]}: {error.strerror}.") from None
    if code != 0 or status(folder) != "finished":
        raise LuceError(
            f"recipe.online.train_command: `{shlex.join(words)}` ended with {code}, and the run "
            f"in {folder} is not finished. What it said stands above; see to it, and go on with "
            "--resume."
        )
    return folder
