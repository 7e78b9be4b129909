"""The verdict of a run in plain sentences, and the warnings a reader must not miss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from luce.report.numbers import (
    counted,
    is_number,
    number,
    number_range,
    percent,
    percent_range,
    signed,
)
from luce.report.run import Run, dig
from luce.report.state import look
from luce.report.summary import (
    Change,
    Interval,
    Likelihood,
    accuracy_of,
    ended_of,
    equal_length_of,
    held_out_change,
    kl_of,
    length_of,
    likelihood_of,
    total,
    win_rate_of,
)
from luce.report.unusual import unusual

LENGTH_ALARM = 1.2  # longer by more than a fifth
UNENDED_ALARM = 0.05  # one response in twenty that does not stop
DROPPED_ALARM = 0.05  # one row in twenty that was not trained on


@dataclass(frozen=True)
class Caution:
    """Something the reader should know before using the model: what was seen, and what to do."""

    what: str
    remedy: str


def subject(run: Run) -> str:
    """What the run made, as the subject of a sentence."""
    kinds = {"reward": "reward model", "pairwise": "pairwise model"}
    return kinds.get(str(run.get("model.kind")), "trained policy")


def opponent(run: Run) -> str:
    """Whom the win rate is against."""
    against = dig(run.evaluation, "win_rate.against")
    return "the initial policy" if against in (None, "initial") else str(against)


def verdict(run: Run) -> list[str]:
    """Sentences; the first is the headline, and is there for every run."""
    told = (_win_rate, _accuracy, _nll, _best, _likelihood, _length, _kl)
    sentences = [sentence(run) for sentence in told]
    said = [sentence for sentence in sentences if sentence]
    return said or [
        f"The run has {counted(len(run.train), 'training record')} and no held-out result: "
        "whether the model improved cannot be told from it."
    ]


def _win_rate(run: Run) -> str | None:
    rate = win_rate_of(run)
    if rate is None:
        return None
    if rate.low > 0.5:
        claim = f"The trained policy beats {opponent(run)}"
    elif rate.high < 0.5:
        claim = f"The trained policy loses to {opponent(run)}"
    else:
        claim = f"The trained policy cannot be told apart from {opponent(run)}"
    judge = dig(run.evaluation, "win_rate.annotator")
    judged = f", judged by {judge}" if judge else ""
    said = f"{claim}: it wins {percent(rate.value)} {_of(rate, 'prompt')}{judged}."
    equal = equal_length_of(run)
    if equal is None:
        return said
    interval = percent_range(equal.low, equal.high)
    return f"{said} At equal length it would win {percent(equal.value)} ({interval})."


def _accuracy(run: Run) -> str | None:
    accuracy = accuracy_of(run)
    if accuracy is None:
        return None
    text = (
        f"The {subject(run)} scores the chosen response above the rejected one in "
        f"{percent(accuracy.value)} {_of(accuracy, 'held-out pair')}"
    )
    initial = dig(run.evaluation, "held_out.initial_accuracy")
    if is_number(initial):
        text += f"; before training it was {percent(initial)}"
    return text + "."


def _nll(run: Run) -> str | None:
    if run.get("objective.structure") != "demonstration":
        return None
    change = held_out_change(run, "nll")
    if change is None:
        return None
    verb = "fell" if change.after < change.before else "rose"
    return (
        f"The negative log-likelihood of held-out responses {verb} from {number(change.before)} to "
        f"{number(change.after)} nats per token between steps {change.first} and {change.last} "
        f"(perplexity {_perplexity(change.before)} to {_perplexity(change.after)}{_n(change)})."
    )


def _best(run: Run) -> str | None:
    best = dig(run.evaluation, "best")
    if not best:
        return None
    limit = f" and KL of at most {number(best['max_kl'])} nats" if best["max_kl"] else ""
    by = {"win_rate": "win rate", "reward": "reward"}[best["by"]]
    return (
        f"Its weights are those of step {best['step']}, of the {len(best['steps'])} sampled steps "
        f"that with the best {by}{limit} on {counted(best['n'], 'prompt')} that no other result "
        f"uses: {number(best['value'])} ({number_range(best['low'], best['high'])})."
    )


def _likelihood(run: Run) -> str | None:
    moved = likelihood_of(run)
    if moved is None:
        return None
    where = "On held-out pairs" if moved.held_out else "On training batches"
    n = f", n\u00a0=\u00a0{counted(moved.n, 'pair')}" if moved.n is not None else ""
    between = f"between steps {moved.first} and {moved.last}{n}"
    return f"{where} ({between}), {likelihood_clause(moved)}."


def likelihood_clause(moved: Likelihood) -> str:
    """What the growth of log π(chosen) − log π(rejected) is made of."""
    chosen = f"{number(abs(moved.chosen))} nats"
    rejected = f"{number(abs(moved.rejected))} nats"
    grew = f"the log-probability margin grew by {number(moved.growth)} nats"
    if moved.growth <= 0:
        return (
            f"the log-probability margin did not grow (change {signed(moved.growth)} nats: "
            f"chosen {signed(moved.chosen)}, rejected {signed(moved.rejected)})"
        )
    if moved.chosen < 0:
        return (
            f"{grew}, all of it from lowering rejected: the chosen response lost {chosen} and the "
            f"rejected one {rejected}"
        )
    if moved.rejected > 0:
        return (
            f"{grew}, all of it from raising chosen: the chosen response gained {chosen} and the "
            f"rejected one {rejected}"
        )
    share = moved.share_from_chosen
    return (
        f"{grew}: {_whole(share)} from raising chosen ({signed(moved.chosen)}), "
        f"{_whole(1 - share)} from lowering rejected ({signed(moved.rejected)})"
    )


def _length(run: Run) -> str | None:
    lengths = length_of(run)
    if lengths is None:
        return None
    before, after = lengths
    if before.value > 0 and round(abs(after.value / before.value - 1), 3) >= 0.01:
        ratio = after.value / before.value - 1
        size = f"{_whole(abs(ratio))} {'longer' if ratio > 0 else 'shorter'} than before"
    else:
        size = "as long as before"
    overlap = after.low <= before.high and before.low <= after.high
    doubt = "; the intervals overlap, so that may be chance" if overlap else ""
    return (
        f"Its responses are {size}: {number(after.value)} tokens on average "
        f"(95\u00a0% interval {number_range(after.low, after.high)}) against "
        f"{number(before.value)} ({number_range(before.low, before.high)}){_n(after)}{doubt}."
    )


def _kl(run: Run) -> str | None:
    kl = kl_of(run)
    if kl is None:
        return None
    below = "; the estimate may fall below zero, the divergence cannot" if kl.value < 0 else ""
    return (
        f"Its KL divergence from the initial policy is about {number(kl.value)} nats per response "
        f"(95\u00a0% interval {number_range(kl.low, kl.high)}{_n(kl)}){below}."
    )


def cautions(run: Run) -> list[Caution]:
    """Everything about the run that should give its reader pause, gravest first."""
    found = _unfinished(run)
    found += [Caution(text, "Resume the run to write it whole.") for text in run.damage]
    found += (
        _too_far(run)
        + _non_finite(run)
        + [Caution(what, remedy) for what, remedy in unusual(run)]
        + _alarms(run)
        + _indecisive(run)
        + _displaced(run)
        + _lengths(run)
        + _dropped(run)
    )
    return found


def _unfinished(run: Run) -> list[Caution]:
    if run.get("status") == "finished":
        return []
    seen, go_on = look(run.folder), "Go on with `--resume` of its command"
    why = {
        "running": (f"it is in training{seen.at}", "Write the report again when it is through."),
        "stopped": (f"it was stopped{seen.at}, and no process works on it", f"{go_on}."),
        "failed": (
            f"it failed{seen.at} ({str(run.get('error') or 'no error is recorded').rstrip('.')})",
            f"Mend that. {go_on}, if it has a checkpoint.",
        ),
    }
    what, remedy = why.get(
        seen.state if run.get("status") in ("running", "failed") else "unknown",
        (
            f"its status is {run.get('status') or 'unknown'}",
            "Resume it, and write the report again.",
        ),
    )
    told = f"The run is not finished: {what}. What stands here is what it had written so far."
    return [Caution(told, remedy)]


def _too_far(run: Run) -> list[Caution]:
    best = dig(run.evaluation, "best")
    if not best or best["within"]:
        return []
    return [
        Caution(
            f"No sampled step was within `evaluate.max_kl` = {number(best['max_kl'])} nats of the "
            f"initial policy; the weights are those of the nearest, step {best['step']} with "
            f"{number(best['kl'])} nats.",
            "Lower the learning rate, raise beta, sample more often, or allow more.",
        )
    ]


def _non_finite(run: Run) -> list[Caution]:
    found = []
    for metric in ("loss", "grad_norm"):
        series = run.series(metric)
        bad = [s for s, v in zip(series.steps, series.values, strict=True) if not math.isfinite(v)]
        if bad:
            found.append(
                Caution(
                    f"`{metric}` is not a finite number at {counted(len(bad), 'step')}, first at "
                    f"step {bad[0]}.",
                    "Look at the rows of that batch, and lower the learning rate.",
                )
            )
    return found


def _alarms(run: Run) -> list[Caution]:
    """Those of the diagnostics."""
    found = dig(run.evaluation, "diagnostics")
    entries = found.values() if isinstance(found, Mapping) else ()
    findings = [finding for entry in entries for finding in entry.get("findings", ())]
    return [Caution(f["words"], f["remedy"] or "") for f in findings if f.get("alarm")]


def _indecisive(run: Run) -> list[Caution]:
    found = []
    accuracy, rate = accuracy_of(run), win_rate_of(run)
    for result, name in ((accuracy, "held-out accuracy"), (rate, "win rate")):
        if result is not None and result.includes_half:
            n = f" with n\u00a0=\u00a0{result.n:,}" if result.n is not None else ""
            found.append(
                Caution(
                    f"The 95\u00a0% interval of the {name}, "
                    f"{percent_range(result.low, result.high)}{n}, includes 50\u00a0%: "
                    "it may be no better than a coin.",
                    "Evaluate on more, train longer, or look at the data before using the model.",
                )
            )
    return found


def _displaced(run: Run) -> list[Caution]:
    moved = likelihood_of(run)
    looked = dig(run.evaluation, "diagnostics.displacement") is not None
    if looked or moved is None or not moved.held_out or moved.chosen >= 0:
        return []
    per_token = (
        f", {number(abs(moved.chosen_per_token))} nats per token"
        if is_number(moved.chosen_per_token) and moved.chosen_per_token < 0
        else ""
    )
    return [
        Caution(
            f"The log-probability of chosen responses fell on held-out pairs, by "
            f"{number(abs(moved.chosen))} nats{per_token}: the policy makes even the good answers "
            "of the data less likely.",
            "Where answers get worse, add a likelihood term on the chosen response, lower the "
            "learning rate, or stay closer to the reference.",
        )
    ]


def _lengths(run: Run) -> list[Caution]:
    found = []
    lengths = length_of(run)
    if lengths is not None and lengths[0].value > 0:
        ratio = lengths[1].value / lengths[0].value
        if ratio > LENGTH_ALARM:
            found.append(
                Caution(
                    f"Responses became {_whole(ratio - 1)} longer.",
                    "See whether the annotators favor length; a length-normalized or "
                    "length-regularized objective counters it.",
                )
            )
    ended = ended_of(run)
    if ended is not None and 1 - ended[1].value > UNENDED_ALARM:
        before, after = ended
        found.append(
            Caution(
                f"{percent(1 - after.value)} of the sampled responses do not end by themselves but "
                f"at the token limit (95\u00a0% interval "
                f"{percent_range(1 - after.high, 1 - after.low)}{_n(after)}); before training it "
                f"was {percent(1 - before.value)}.",
                "Raise `evaluate.max_new_tokens` if good answers are that long; otherwise see that "
                "the data's responses carry their end-of-turn token.",
            )
        )
    return found


def _dropped(run: Run) -> list[Caution]:
    rows, dropped = run.get("data.train.rows_read"), total(run.get("data.train.dropped"))
    if not is_number(rows) or rows <= 0 or not dropped or dropped / rows <= DROPPED_ALARM:
        return []
    return [
        Caution(
            f"{dropped:,} of {int(rows):,} training rows ({percent(dropped / rows)}) were dropped.",
            "The data section lists the reasons; `luce check` shows the rows.",
        )
    ]


def _of(interval: Interval, unit: str) -> str:
    n = f"of {counted(interval.n, unit)}" if interval.n is not None else f"of {unit}s"
    return f"{n} (95\u00a0% interval {percent_range(interval.low, interval.high)})"


def _n(interval: Interval | Change) -> str:
    return "" if interval.n is None else f", n\u00a0=\u00a0{interval.n:,}"


def _whole(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"


def _perplexity(nll: float) -> str:
    return number(math.exp(nll)) if nll < 700 else "infinite"
