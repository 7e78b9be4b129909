"""The `luce` command: which commands there are, and how a failure ends.

Exit codes: 0 done, 1 a check that failed or a fault in luce, 2 something the user can mend, 130
interrupted.
"""

import io
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from luce import __version__
from luce.errors import LuceError

COMMANDS = {
    "demo": ("luce.cli.demo:demo", "The main job on a built-in world: no network, minutes."),
    "check": ("luce.cli.check:check", "Read a recipe and its data; show what would be trained."),
    "train": ("luce.cli.train:train", "Train what a recipe says."),
    "online": ("luce.cli.online:online", "Rounds of sampling, judging and training."),
    "probe": ("luce.cli.probe:probe", "Which learning rate and β: short runs at several."),
    "sweep": ("luce.cli.sweep:sweep", "A recipe with several values of some keys, side by side."),
    "cost": ("luce.cli.cost:cost", "Costs and margins of given token log-probabilities."),
    "report": ("luce.cli.report:report", "Write the report of a run, or compare several."),
    "compare": ("luce.cli.compare:compare", "Runs side by side, with paired differences."),
    "board": ("luce.cli.board:board", "A page of all runs in a folder; it changes nothing."),
    "new-model": ("luce.cli.new_model:new_model", "A new tokenizer and a small, untrained model."),
    "sample": ("luce.cli.sample:sample", "Responses of a model, prompted as in training."),
    "logps": ("luce.cli.logps:logps", "Compute the reference log-probabilities beforehand."),
    "import": ("luce.cli.import_:import_", "A recipe from another program's configuration."),
    "data": ("luce.cli.data:data", "Look into preference data, or convert it."),
    "eval": ("luce.cli.eval:evaluate", "Win rates and benchmarks from files, with intervals."),
    "annotators": (
        "luce.cli.annotators:annotators",
        "How many annotators are behind some labels, by held-out pairs.",
    ),
    "judge": ("luce.cli.judge:judge", "Whose responses are better, by an annotator you trust."),
    "annotate": ("luce.cli.annotate:annotate", "A page on which people give preferences."),
    "lab": ("luce.cli.lab:lab", "Experiments of the papers, with figures and expected numbers."),
    "list": ("luce.cli.catalog:list_names", "Names that a recipe can use."),
    "show": ("luce.cli.show:show", "An objective: formula, parameters, facts, pitfalls, source."),
    "beta": ("luce.cli.beta:beta", "β in the units of another objective."),
    "doctor": ("luce.cli.doctor:doctor", "What this machine has, and whether luce works on it."),
}
"""Command → where it lives, and its line in `luce --help`."""

FULL = ("No space left on device", "Disk quota exceeded")
"""What is said, through whatever library, where a disk or a person's share of it is full."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
LESS_MEMORY = (
    "Lower train.max_tokens_per_batch or data.max_length, or set train.gradient_checkpointing; "
    "`luce train --dry-run` tells what a run takes."
)

EPILOGUE = "`luce COMMAND --help` says more. `--debug` anywhere shows the traceback of an error."


def build_app() -> App:
    """The command line, with every command still unloaded."""
    app = App(
        name="luce",
        help="Preference learning for language models.",
        version=__version__,
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,
    )
    for name, (place, line) in COMMANDS.items():
        app.command(place, name=name, help=line)
    app.register_install_completion_command(help="Complete luce's commands in your shell.")
    return app


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and give its exit code; errors are told on stderr."""
    debug = "--debug" in arguments
    tokens = [token for token in arguments if token != "--debug"]
    try:
        result = build_app()(
            tokens, exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CycloptsError as error:
        return _fail(_usage(error, tokens), 2, debug)
    except LuceError as error:
        return _fail(str(error), 2, debug)
    except KeyboardInterrupt:
        return _fail("interrupted.", 130, debug)
    except BrokenPipeError:  # the reader of a pipe has gone: `luce … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        what = str(error).partition("\n")[0]
        if any(full in what for full in FULL):
            return _fail(f"{what}. Make room, then go on.", 2, debug)
        if isinstance(error, MemoryError) or any(out in what for out in OUT_OF_MEMORY):
            return _fail(f"memory ran out ({what}). {LESS_MEMORY}", 2, debug)
        what = f"internal error: {type(error).__name__}: {what}"
        return _fail(f"{what}; run again with --debug to see where.", 1, debug)


def _usage(error: CycloptsError, tokens: Sequence[str]) -> str:
    """One line about a mistyped command line."""
    error.verbose = False
    message = " ".join(str(error).split())
    dotted = next((t for t in tokens if t.startswith("--") and "." in t.split("=")[0]), None)
    if dotted and dotted.split("=")[0] in message:
        key = dotted.removeprefix("--").split("=")[0]
        return f"Unknown option: --{key}. A recipe key is written `{key}=VALUE`, without dashes."
    return message


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"luce: {message}", file=sys.stderr)
    return code


def main() -> None:
    """Entry point of the `luce` script."""
    # Threads that wait for each other by spinning cost a busy machine fifty times the work itself;
    # read by OpenMP when torch is loaded, so it is set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without β ends no command
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
