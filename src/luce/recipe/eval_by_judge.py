"""A benchmark's table that was judged for: the table, its files, and what the asking came to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.annotate.judge import Judge
from luce.annotate.judge.template import shown_text
from luce.evaluate.alpaca_eval import AlpacaEval
from luce.evaluate.arena_result import ArenaHard
from luce.recipe.eval_benchmarks import MTBenchTables
from luce.recipe.judge_account import Account
from luce.types import Text


@dataclass(frozen=True)
class ByJudge:
    """A result that was judged for, and computed from the files that were written.

    Attributes:
        result: as from files of others.
        files: that hold the verdicts.
        notes: what was left out.
        account: of the asking.
    """

    result: AlpacaEval | ArenaHard | MTBenchTables
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    account: Account

    @property
    def complete(self) -> bool:
        """Whether everything has its answer."""
        return self.account.complete

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        told = {"files": [str(path) for path in self.files], "left_out": list(self.notes)}
        return self.result.plain() | {"judging": self.account.plain() | told}

    def lines(self) -> list[str]:
        """For people."""
        written = f"verdicts: {', '.join(str(path) for path in self.files)}"
        return [*self.result.lines(), *self.notes, *self.account.lines(), written]


def file_name(name: str) -> str:
    """A name of a model as that of a file.

    >>> file_name("lab/model-7b")
    'lab_model-7b'
    """
    return name.replace("/", "_").replace("\\", "_")


def user_prompt(
    judge: Judge, prompt: Text, shown: tuple[str, ...], reference: str | None = None
) -> str:
    """What the judge was shown in the last turn, as the benchmarks keep it beside its reply."""
    _, messages = judge.setup.question(shown_text(prompt, "prompt"), shown, reference)
    return messages[-1][1]
