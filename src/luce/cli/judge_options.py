"""The options of every command that asks a judge."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from luce.errors import LuceError

if TYPE_CHECKING:
    from luce.recipe.judge_members import Member, Prompted

Positive = Parameter(validator=validators.Number(gt=0))
Price = Parameter(validator=validators.Number(gte=0))


@Parameter(name="*")
@dataclass(frozen=True)
class JudgeOptions:
    """Who judges besides a model at a server, how, and for how much.

    Attributes
    ----------
    local
        A chat model that is asked in this process: a folder in HF format, a hub name, or the folder
        of a run.
    annotator
        A function of yours, as `package.module:name`: comparisons to P(a is better).
    jury
        A YAML file that lists judges, each with `model` (and `base_url`, `key_variable`,
        `price_in`, `price_out`), `local`, `reward` or `annotator`, and where wanted `name` and
        `template`: the mean of their verdicts.
    base_url
        Of the judge's server, up to /v1. OpenAI's unless given.
    key_variable
        The environment variable that holds its key.
    template
        What is asked: the name of a built-in template, or a file of yours.
    store
        A file where every call is kept: nothing is asked twice.
    price_in
        USD per million tokens sent.
    price_out
        USD per million tokens received.
    max_cost
        USD that this run may cost; it stops before it would exceed them.
    concurrency
        Calls at the same time.
    requests_per_minute
        At most.
    timeout_s
        Seconds until a call without an answer is tried again.
    dry_run
        Say how many calls there are to make and what they would cost, and ask nothing.
    """

    local: str | None = None
    annotator: str | None = None
    jury: Path | None = None
    base_url: str | None = None
    key_variable: str | None = None
    template: str | None = None
    store: str = "judge.sqlite"
    price_in: Annotated[float | None, Price] = None
    price_out: Annotated[float | None, Price] = None
    max_cost: Annotated[float | None, Price] = None
    concurrency: Annotated[int, Positive] = 8
    requests_per_minute: Annotated[float | None, Positive] = None
    timeout_s: Annotated[float, Positive] = 120.0
    dry_run: bool = False

    def named(self, model: str | None, option: str, *others: str | None) -> bool:
        """Whether somebody is named who judges.

        Args:
            model: the name of a model at a server, given with `option`.
            others: who else was named with options of the command itself.

        Raises:
            LuceError: several are named; or nobody, and an option says how to ask.
        """
        who = (*others, model, self.local, self.annotator, self.jury)
        count = sum(one is not None for one in who)
        if count > 1:
            raise LuceError(f"Give one judge. --jury names several; the others are one: {option}.")
        if count == 0 and (given := self._given()):
            raise LuceError(f"{given[0]}: it says how a judge is asked. Name one with {option}.")
        return count == 1

    def prompted(self, model: str | None, template: str, parser: str | None = None) -> "Prompted":
        """The model that is asked; of a jury what its members share.

        Args:
            model: its name at a server.
            template, parser: what is used unless another template is named.

        Raises:
            LuceError: options do not go together.
        """
        from luce.annotate.judge import Limits
        from luce.recipe.judge_members import Prompted

        if (self.price_in is None) != (self.price_out is None):
            raise LuceError("--price-in and --price-out: give both, or neither.")
        prices = None
        if self.price_in is not None and self.price_out is not None:
            prices = (self.price_in, self.price_out)
        of_servers = [
            name for name in self._given() if name in ("--base-url", "--key-variable", "--price-in")
        ]
        if model is None and of_servers:
            where = "the file of the jury says it of each judge" if self.jury else "not of a server"
            raise LuceError(f"{of_servers[0]}: {where}. Leave it out.")
        limits = Limits(
            concurrency=self.concurrency,
            requests_per_minute=self.requests_per_minute,
            timeout_s=self.timeout_s,
            max_cost=self.max_cost,
        )
        return Prompted(
            str(model or self.local),
            self.base_url,
            self.key_variable,
            self.template or template,
            parser if self.template in (None, template) else None,
            self.store,
            prices,
            limits,
            here=self.local is not None,
        )

    def members(
        self, model: str | None, template: str = "pairwise", parser: str | None = None
    ) -> "tuple[Member, ...]":
        """Those who judge, of whom one is named; the arguments are those of `prompted`.

        Raises:
            LuceError: they cannot be loaded, or options do not go together.
        """
        from luce.recipe.judge_jury import read_jury
        from luce.recipe.judge_members import Member, own_annotator, prompted

        asked = self.prompted(model, template, parser)
        if self.jury is not None:
            return read_jury(self.jury, asked)
        if self.annotator is not None:
            return (Member(self.annotator, own_annotator(self.annotator)),)
        return (Member(asked.model, prompted(asked)),)

    def _given(self) -> list[str]:
        """The options on how to ask that were given, as on the command line."""
        names = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        how = [name for name in names if name not in ("local", "annotator", "jury")]
        return [f"--{name.replace('_', '-')}" for name in how]


DEFAULTS = JudgeOptions()
"""Nobody named."""
