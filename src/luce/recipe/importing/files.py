"""From a file of another program's to a recipe that luce has read and whose objective it built."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from luce.errors import LuceError, RecipeError, did_you_mean
from luce.recipe.importing import axolotl, llamafactory, openrlhf, trl
from luce.recipe.importing.core import Imported
from luce.recipe.importing.python_script import read_script
from luce.recipe.importing.source import Source, read_source, read_text
from luce.recipe.importing.writing import recipe_text
from luce.recipe.load import load_recipe
from luce.recipe.yaml12 import parse_yaml


@dataclass(frozen=True)
class Reader:
    """How a program's settings are found in a shell script, and how they are translated."""

    command: re.Pattern[str]
    translate: Callable[[Source, str, int, str], Imported]


PEERS = {
    "trl": Reader(trl.COMMAND, trl.translate),
    "llamafactory": Reader(llamafactory.COMMAND, llamafactory.translate),
    "axolotl": Reader(axolotl.COMMAND, axolotl.translate),
    "openrlhf": Reader(openrlhf.COMMAND, openrlhf.translate),
}


def import_file(peer: str, path: Path, *, method: str = "", devices: int | None = None) -> Imported:
    """The recipe that means what another program's configuration means, checked.

    Args:
        peer: a name of `PEERS`.
        path: a YAML or JSON file, a shell script with the command line, or (of TRL) a Python
            script that builds the configuration.
        method: of TRL's commands, where a file of keys does not say which.
        devices: over how many the configuration was meant to train; the recipe's batch size is
            that of a whole step. Unless given, what a launcher in the file says, else 1.

    Raises:
        LuceError: no such program or file, a value of another type, or no model or data in it.
    """
    if peer not in PEERS:
        raise LuceError(f"luce import: no {peer!r}. {did_you_mean(peer, PEERS)}")
    if method and peer != "trl":
        raise LuceError(f"--method: is for trl; a file of {peer} says its method itself.")
    if devices is not None and devices < 1:
        raise LuceError(f"--devices: expected 1 or more, got {devices}.")
    reader = PEERS[peer]
    script = peer == "trl" and path.suffix == ".py"
    source = read_script(path, read_text(path)) if script else read_source(path, reader.command)
    count, said = devices or 1, "--devices" if devices else "--devices, 1 unless given"
    if devices is None and source.devices:
        count, said = source.devices, "the launcher"
    found = reader.translate(source, method, count, said)
    try:
        load_recipe(parse_yaml(recipe_text(found), str(path)).value)
    except RecipeError as error:
        said_of_it = str(error).removesuffix(" (python)")
        raise RecipeError(f"{path}: does not make a recipe: {said_of_it}") from None
    return found
