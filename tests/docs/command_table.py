"""How each command of the pages is run, and of those that are not, why.

A command that stands in no table is run by the rule of `usual`, and must end with exit code 0.
"""

from dataclasses import dataclass
from typing import Literal

Way = Literal["run", "slow", "serve", "shell", "elsewhere"]


@dataclass(frozen=True)
class How:
    """How a command is run.

    Attributes:
        way: `run` in this process; `slow` the same, in the slow suite; `serve` in a process of its
            own until its link is printed, then interrupted; `shell` in a process, in the slow
            suite; `elsewhere` not here: `why` says so, and its command line is parsed.
        why: for the table that is printed.
        more: words behind the command, to make it smaller.
        code: the exit code that is right for the stand-in files.
        late: in the slow suite only, whatever the way.
    """

    way: Way = "run"
    why: str = ""
    more: tuple[str, ...] = ()
    code: int = 0
    late: bool = False


FEWER_ONLINE = (
    "online.rounds=1",
    "online.prompts_per_round=8",
    "online.n=2",
    "online.block=4",
    "online.max_new_tokens=4",
    "evaluate.sample_prompts=4",
    "train.batch_size=4",
    "diagnose=[]",
)
FEWER_STEPS = ("train.max_steps=2", "evaluate.sample_prompts=2", "evaluate.max_new_tokens=4")
FREE_PORT = ("--port", "0")
PEER = "the stand-in names keys that luce has no counterpart for: told, exit code 1"
FINDS = "the stand-in pairs are random words: there is something to find, exit code 1"
PLACE = "the stand-in verdicts go by place: a finding, exit code 1"
TAKES = "takes a minute or more"

EVAL_PAGE = "tests/cli/test_eval_docs.py"
COVERED = {"docs/evaluation.md": EVAL_PAGE}
"""Pages all of whose commands are run by a test of their own, found there by the same rule."""

LAB = How("slow", TAKES, ("--quick",))
SMALL = How(more=(*FEWER_STEPS, "diagnose=[]"))
ROUND = How(more=FEWER_ONLINE)
SERVED = How("serve", "serves until it is interrupted", FREE_PORT)


def usual(words: list[str]) -> How:
    """How a command is run that stands in no table: what serves is interrupted, what trains is cut
    to two steps, an experiment of the lab is a quick one of the slow suite; all else runs as it
    stands."""
    verb, rest = words[1] if words[0] == "luce" else "", words[2:]
    if verb == "board" or (verb == "annotate" and rest[0] not in ("agreement", "export")):
        return SERVED if "--port" not in rest else How("serve", SERVED.why, late=True)
    if verb == "train" and "--dry-run" not in rest:
        return SMALL
    if verb == "online":
        return ROUND
    if verb == "lab" and rest[0] != "list":
        return LAB if "--quick" not in rest else How("slow", TAKES)
    if verb == "demo":
        return How("slow", TAKES, ("--quick",) if "--quick" not in rest else ())
    if verb == "sweep":
        return How("run" if "--dry-run" in rest else "slow", TAKES, FEWER_STEPS)
    if verb == "judge" and "--prompts" in rest:
        return How(more=("--max-new-tokens", "4"))
    if verb == "import" and "--out" in rest:
        return How(more=("--overwrite",))
    if verb == "probe":
        steps = () if "--steps" in rest else ("--steps", "2")
        return How("slow", TAKES, (*FEWER_STEPS[1:], *steps))
    return How()


LATE = "one such command of the page is run in the quick suite"
HOW: dict[tuple[str, str], How] = {
    ("docs/online.md", "luce demo"): How(
        "slow", TAKES, ("--quick", "--output-dir", "beside-the-stand-in")
    ),
    ("docs/lab.md", "luce lab all --quick"): How(
        "elsewhere", f"{TAKES}; tests/lab/test_run_all.py"
    ),
    ("docs/lab.md", "luce lab all --out lab --seeds 5"): How(
        "elsewhere", "takes hours; tests/lab/test_run_all.py"
    ),
    ("docs/online.md", "luce online recipes/rloo_tasks.yaml"): How(
        "run", LATE, FEWER_ONLINE, late=True
    ),
    ("docs/online.md", "luce online recipes/ppo_tasks.yaml"): How(
        "run", LATE, FEWER_ONLINE, late=True
    ),
    ("docs/faq.md", "luce train recipe.yaml objective=dpo_nll"): How(
        "run", LATE, SMALL.more, late=True
    ),
    ("docs/guide_reference.md", "luce train recipe.yaml objective.dpo.beta=0.05"): How(
        "run", LATE, SMALL.more, late=True
    ),
    ("README.md", "make demo"): How(
        "elsewhere", "sets up an environment and trains for minutes; tests/recipe/test_demo.py"
    ),
    ("README.md", "luce train recipe.yaml"): How(more=FEWER_STEPS),
    ("README.md", "make test"): How("elsewhere", "it is what runs this test"),
    ("README.md", ". .venv/bin/activate"): How("elsewhere", "enters that environment"),
    ("README.md", "luce data check pairs.jsonl"): How(why=FINDS, code=1),
    (
        "docs/annotate.md",
        "luce annotate new.jsonl old.jsonl --overlap 2 --dimensions helpful honest",
    ): How("serve", SERVED.why, (*FREE_PORT, "--store", "second.sqlite"), late=True),
    (
        "docs/annotate.md",
        "luce annotate tasks.jsonl --checks obvious.jsonl --people anna ben cleo "
        "--adjudicators cleo --overlap 2",
    ): How("serve", SERVED.why, (*FREE_PORT, "--store", "third.sqlite"), late=True),
    ("docs/cluster.md", "pip install 'luce[ray]'"): How("elsewhere", "installs from an index"),
    ("docs/annotate.md", "luce annotate --store annotations.sqlite"): How(
        "serve", SERVED.why, FREE_PORT, late=True
    ),
    ("docs/board.md", "luce board runs --host 0.0.0.0"): How(
        "serve", SERVED.why, FREE_PORT, late=True
    ),
    ("docs/data.md", "luce data check pairs.jsonl"): How(why=FINDS, code=1),
    (
        "docs/data.md",
        "luce data check pairs.jsonl --html audit.html --filter clean.jsonl "
        "--against benchmark.jsonl",
    ): How(why=FINDS, code=1),
    (
        "docs/data.md",
        "luce data check pairs.jsonl --policy path/to/model --json",
    ): How(why=FINDS, code=1),
    (
        "docs/judge.md",
        "luce judge audit --verdicts monday.jsonl tuesday.jsonl --gold people.jsonl "
        "--html audit.html",
    ): How(why=PLACE, code=1),
    ("docs/index.md", "make setup"): How("elsewhere", "sets up an environment of its own"),
    ("docs/index.md", ". .venv/bin/activate"): How("elsewhere", "enters that environment"),
    ("docs/index.md", "luce data check pairs.jsonl"): How(why=FINDS, code=1),
    ("docs/index.md", 'luce sample runs/recipe "Name a prime."'): How(
        more=("--max-new-tokens", "4")
    ),
    ("docs/faq.md", "luce data check pairs.jsonl"): How(why=FINDS, code=1),
    ("docs/faq.md", "luce judge audit --verdicts verdicts.jsonl"): How(why=PLACE, code=1),
    (
        "docs/distributed.md",
        "torchrun --standalone --nproc-per-node 8 -m luce train recipe.yaml",
    ): How("elsewhere", "eight processes; docs/training.md runs two"),
    ("docs/distributed.md", "python tests/train/test_strategies.py"): How(
        "elsewhere", "makes the page's table, for minutes; tests/train/test_strategies.py"
    ),
    ("docs/import.md", "luce import openrlhf train_dpo.sh --out recipe.yaml"): How(
        why=PEER, more=("--overwrite",), code=1
    ),
    ("docs/training.md", "torchrun --nproc-per-node 2 -m luce train recipe.yaml"): How(
        "shell", "starts two processes", ("train.max_steps=2",)
    ),
}

SCRIPTS = {
    "docs/cluster.md": "needs the program vllm and a GPU; the shell reads it (`bash -n`)",
}
"""Page → why its scripts are not run."""
