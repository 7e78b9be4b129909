import math
import os
import time

import pytest

from luce.report import load_run
from luce.report.summary import Likelihood, likelihood_of
from luce.report.words import cautions, likelihood_clause, verdict
from luce.train.fit import locked


def moved(chosen, rejected):
    return Likelihood(chosen, rejected, math.nan, 0, 100, True, 200)


def eval_rows(chosen, rejected):
    return [
        {
            "split": "eval",
            "step": 100 * i,
            "n": 50,
            "eval_logps/chosen": c,
            "eval_logps/rejected": r,
        }
        for i, (c, r) in enumerate(zip(chosen, rejected, strict=True))
    ]


def said(run):
    return " ".join(caution.what for caution in cautions(run)).replace("\xa0", " ")


def test_the_margin_is_taken_apart_into_chosen_and_rejected():
    clause = likelihood_clause(moved(0.4, -1.6)).replace("\xa0", " ")
    assert "grew by 2.00 nats: 20 % from raising chosen" in clause
    assert "80 % from lowering rejected" in clause


def test_a_chosen_response_that_fell_is_never_credited():
    clause = likelihood_clause(moved(-1.0, -3.0))
    assert "all of it from lowering rejected" in clause
    assert "lost 1.00 nats and the rejected one 3.00 nats" in clause
    assert moved(-1.0, -3.0).share_from_chosen == 0.0


def test_a_rejected_response_that_rose_is_never_credited():
    assert "all of it from raising chosen" in likelihood_clause(moved(3.0, 1.0))
    assert moved(3.0, 1.0).share_from_chosen == 1.0


def test_a_margin_that_shrank_has_no_shares():
    assert "did not grow (change −1.00 nats" in likelihood_clause(moved(-2.0, -1.0))
    assert math.isnan(moved(-2.0, -1.0).share_from_chosen)


def test_first_and_last_held_out_evaluations_are_compared(write_run):
    run = load_run(write_run(metrics=eval_rows([-50, -70, -49], [-50, -80, -53])))
    change = likelihood_of(run)
    assert change is not None
    assert (change.chosen, change.rejected, change.growth) == (1.0, -3.0, 4.0)
    assert (change.first, change.last, change.n, change.held_out) == (0, 200, 50, True)


def test_training_batches_serve_where_nothing_was_held_out(write_run):
    rows = [
        {"split": "train", "step": i + 1, "logps/chosen": -50.0 + i, "logps/rejected": -50.0}
        for i in range(20)
    ]
    change = likelihood_of(load_run(write_run(metrics=rows)))
    assert change is not None and not change.held_out
    assert change.chosen == pytest.approx(18.0)  # mean of the last two minus mean of the first two


def test_unpaired_feedback_has_no_margin_of_likelihoods(write_run, with_manifest):
    manifest = with_manifest({"objective.structure": "unpaired"})
    assert likelihood_of(load_run(write_run(manifest=manifest))) is None


def test_the_headline_carries_rate_interval_and_n(run_folder):
    headline = verdict(load_run(run_folder))[0].replace("\xa0", " ")
    assert headline == (
        "The trained policy beats the initial policy: it wins 71.5 % of 256 prompts "
        "(95 % interval 66.0–76.8 %), judged by gold reward."
    )


@pytest.mark.parametrize(
    ("low", "high", "claim"),
    [(0.51, 0.6, "beats"), (0.4, 0.49, "loses to"), (0.45, 0.56, "cannot be told apart from")],
)
def test_the_claim_is_no_stronger_than_the_interval(write_run, evaluation, low, high, claim):
    evaluation["win_rate"] |= {"value": (low + high) / 2, "low": low, "high": high}
    run = load_run(write_run(evaluation=evaluation))
    assert claim in verdict(run)[0]
    assert ("may be no better than a coin" in said(run)) == (claim == "cannot be told apart from")


def test_accuracy_falls_back_on_the_last_evaluation_in_training(write_run):
    run = load_run(write_run(evaluation=None))
    assert "of 200 held-out pairs (95\xa0% interval" in verdict(run)[0]


def test_a_good_run_has_no_cautions_but_its_dropped_rows(run_folder):
    assert said(load_run(run_folder)) == "210 of 4,000 training rows (5.2 %) were dropped."


def test_a_chosen_response_that_falls_on_held_out_rows_is_told(write_run):
    run = load_run(write_run(metrics=eval_rows([-50, -52], [-50, -60])))
    assert "chosen responses fell on held-out pairs, by 2.00 nats" in said(run)


def test_growing_by_a_fifth_is_told_and_by_less_is_not(write_run, evaluation):
    evaluation["length"]["after"]["mean"] = 43.0 * 1.19
    assert "longer" not in said(load_run(write_run("less", evaluation=evaluation)))
    evaluation["length"]["after"]["mean"] = 43.0 * 1.25
    assert "became 25 % longer" in said(load_run(write_run("more", evaluation=evaluation)))


def test_a_change_of_length_within_the_intervals_may_be_chance(write_run, evaluation):
    assert "chance" not in " ".join(verdict(load_run(write_run("sure", evaluation=evaluation))))
    evaluation["length"]["after"] |= {"low": 44.0}
    assert "that may be chance" in " ".join(
        verdict(load_run(write_run("wide", evaluation=evaluation)))
    )


def test_a_kl_estimate_below_zero_is_explained(write_run, evaluation):
    evaluation["kl"] |= {"value": -0.1, "low": -0.2, "high": 0.1}
    text = " ".join(verdict(load_run(write_run(evaluation=evaluation)))).replace("\xa0", " ")
    assert "about −0.100 nats per response (95 % interval −0.200 to 0.100, n = 256)" in text
    assert "the divergence cannot" in text


def test_responses_that_do_not_end_are_counted_with_an_interval(write_run):
    rows = [{"before_ended": True, "after_ended": i >= 3} for i in range(12)]
    text = said(load_run(write_run(sampled=rows)))
    assert "25.0 % of the sampled responses do not end by themselves" in text
    assert "(95 % interval 8.9–53.2 %, n = 12); before training it was 0.0 %" in text


def test_a_loss_that_is_not_a_number_is_told_with_its_step(write_run):
    rows = [{"split": "train", "step": s, "loss": math.nan if s > 3 else 0.5} for s in range(1, 6)]
    assert "`loss` is not a finite number at 2 steps, first at step 4" in said(
        load_run(write_run(metrics=rows))
    )


def unfinished(write_run, with_manifest, name, status="running", age_s=0.0, **more):
    values = {"status": status, "total_steps": 1000, **more}
    folder, then = write_run(name, manifest=with_manifest(values)), time.time() - age_s
    for path in folder.iterdir():
        os.utime(path, (then, then))
    first = cautions(load_run(folder))[0]
    return first.what, first.remedy


def test_an_unfinished_run_says_first_what_became_of_it(write_run, with_manifest):
    running, _ = unfinished(write_run, with_manifest, "running")
    assert running == (
        "The run is not finished: it is in training at step 400 of 1,000. What stands here is what "
        "it had written so far."
    )
    stopped, remedy = unfinished(write_run, with_manifest, "stopped", age_s=100)
    assert "it was stopped at step 400 of 1,000, and no process works on it" in stopped
    assert remedy == "Go on with `--resume` of its command."
    error = "pairs.jsonl:3: this row costs nan."
    failed, remedy = unfinished(write_run, with_manifest, "failed", "failed", error=error)
    assert f"it failed at step 400 of 1,000 ({error.rstrip('.')}). What stands" in failed
    assert remedy.startswith("Mend that. Go on with `--resume`")
    unknown, _ = unfinished(write_run, with_manifest, "unknown", "lost")
    assert "its status is lost" in unknown


def test_a_run_whose_process_holds_its_lock_is_in_training(write_run, with_manifest):
    values = {"status": "running", "total_steps": None}
    folder, then = write_run(manifest=with_manifest(values)), time.time() - 100
    for path in folder.iterdir():
        os.utime(path, (then, then))
    with locked(folder):
        assert "in training at step 400. What" in cautions(load_run(folder))[0].what
    assert "stopped at step 400, and" in cautions(load_run(folder))[0].what


def test_demonstrations_are_judged_by_likelihood(write_run, with_manifest):
    manifest = with_manifest({"objective.structure": "demonstration", "objective.name": "sft"})
    rows = [{"split": "eval", "step": s, "n": 10, "eval_nll": v} for s, v in [(0, 2.0), (9, 1.5)]]
    run = load_run(write_run(manifest=manifest, metrics=rows, evaluation=None))
    assert verdict(run) == [
        "The negative log-likelihood of held-out responses fell from 2.00 to 1.50 nats per token "
        "between steps 0 and 9 (perplexity 7.39 to 4.48, n\xa0=\xa010)."
    ]


def test_a_reward_model_is_called_one(write_run, with_manifest, evaluation):
    evaluation["win_rate"] = evaluation["kl"] = evaluation["length"] = None
    manifest = with_manifest({"model.kind": "reward", "objective.name": "bradley_terry"})
    run = load_run(write_run(manifest=manifest, evaluation=evaluation))
    assert verdict(run)[0].startswith("The reward model scores the chosen response above")


def test_a_run_without_results_claims_none(write_run):
    run = load_run(write_run(metrics=[], evaluation=None, sampled=[]))
    assert "whether the model improved cannot be told" in verdict(run)[0]
