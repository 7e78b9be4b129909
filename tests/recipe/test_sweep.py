"""A sweep: what is planned, what is told before anything runs, what is kept, killed and folded."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from luce.cli.main import run as luce
from luce.errors import LuceError, RecipeError
from luce.recipe.sweep import Sweep, in_use, train_command
from luce.recipe.sweep_plan import parse_axis, plan_sweep
from luce.report.sweep_fold import SweepRun, fold, frontier
from luce.train.fit import locked


@pytest.fixture
def file(recipe, tmp_path):
    recipe["train"] |= {"max_steps": 3}
    recipe["evaluate"] = {"sample_prompts": 2, "max_new_tokens": 4}
    recipe["diagnose"] = []
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def in_process(monkeypatch):
    """Runs are trained here, one after the other: a process each takes seconds to import torch."""

    class Ended:
        def __init__(self, code: int) -> None:
            self.code = code

        def poll(self) -> int:
            return self.code

    def train(sweep, run, resume):
        words = train_command(sweep.plan.folder / "recipe.yaml", run)[3:]
        log = sweep.log_of(run)
        log.parent.mkdir(exist_ok=True)
        with open(log, "a") as stream, redirect_stderr(stream), redirect_stdout(stream):
            return Ended(luce([*words, *["--resume"] * resume]))

    monkeypatch.setattr(Sweep, "_process", train)


def carry_out(plan, **options):
    with open(os.devnull, "w") as nowhere:
        return Sweep(plan, console=Console(file=nowhere), **options).carry_out()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("train.seed=0,1", ("0", "1")),
        ("model.lora.target_modules=[q,v]", ("[q,v]",)),
        ("model.lora.target_modules=[q,v],all-linear,[k]", ("[q,v]", "all-linear", "[k]")),
        ("data.columns={prompt: a, chosen: b},{}", ("{prompt: a, chosen: b}", "{}")),
        ('data.path="a,b.jsonl",c.jsonl', ('"a,b.jsonl"', "c.jsonl")),
        ("data.path=don't,c", ("don't", "c")),
        ("objective=dpo,ipo", ("dpo", "ipo")),
    ],
)
def test_a_list_in_brackets_is_one_value(text, values):
    assert parse_axis(text).values == values


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["train.seed=0,,1"], "an empty value"),
        (["train.seed=0,0x0"], "0x0 is given twice"),
        (["train.learning_rate=0.1,1e-1"], "given twice"),
        (["train.seed"], "expected `key=value,value,…`"),
        (["model.lora.target_modules=[q,v"], "not closed"),
        (["train.seed=0,1", "train.seed=2"], "train.seed: given twice"),
        (["name=a,b"], "every run of a sweep has one of its own"),
        (["output_dir=a,b"], "--out"),
        ([], "name what to vary"),
        (["train.lerning_rate=0.1,0.2"], "Did you mean 'learning_rate'?"),
        (["train.seed=0,x"], "recipe.train.seed"),
        (["objective.dpo.bta=0.1,0.2"], "Did you mean 'beta'?"),
        (["objective=dpo,dop"], "Did you mean 'dpo'?"),
        (["model.kind=policy,reward"], "Use `objective: bradley_terry`"),
        (["evaluate.best=win_rate,null"], "evaluate.annotator"),
        (["evaluate.annotator=nowhere:at_all"], "recipe.evaluate.annotator"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(file, tmp_path, texts, said):
    with pytest.raises(LuceError) as error:
        plan_sweep(file, texts, tmp_path / "out")
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_plan_is_the_product_with_a_folder_each(file, tmp_path):
    plan = plan_sweep(file, ["objective.dpo.beta=0.1,1", "train.seed=0,1", "train.max_steps=2"])
    assert plan.folder == tmp_path / "run-sweep"
    assert [run.name for run in plan.runs] == [
        "beta=0.1,seed=0", "beta=0.1,seed=1", "beta=1,seed=0", "beta=1,seed=1",
    ]  # fmt: skip
    assert [run.resolved.recipe.train.seed for run in plan.runs] == [0, 1, 0, 1]
    assert all(run.resolved.recipe.train.max_steps == 2 for run in plan.runs)
    assert plan.runs[3].resolved.objective.parameters["beta"] == 1.0
    assert {run.state for run in plan.runs} == {"new"}


def test_a_quoted_path_loses_its_quotes_and_names_stay_apart(file, tmp_path, pairs):
    other = tmp_path / "a,b.jsonl"
    other.write_text(pairs.read_text())
    same = tmp_path / "a b.jsonl"
    same.write_text(pairs.read_text())
    plan = plan_sweep(file, [f'data.path="{other}",{same}'], tmp_path / "out")
    assert plan.runs[0].resolved.recipe.data.path == str(other)
    assert len({run.folder for run in plan.runs}) == 2
    long = plan_sweep(file, [f"data.path={pairs},{tmp_path}/{'x' * 150}.jsonl"], tmp_path / "out")
    assert all(len(run.name) <= 120 and "/" not in run.name for run in long.runs)


def test_runs_are_run_once_and_a_changed_recipe_is_not_mixed_in(
    file, tmp_path, pairs, capsys, in_process
):
    out = tmp_path / "out"
    line = ["sweep", str(file), "objective.dpo.beta=0.1,1", "--out", str(out)]
    assert luce([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [run["status"] for run in told["runs"]] == ["finished"] * 2
    assert told == json.loads((out / "sweep.json").read_text())
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("*/model/*")}
    assert luce([*line[:2], "objective.dpo.beta=0.1,1,2", *line[3:]]) == 0
    assert stamps.items() <= {p: p.stat().st_mtime_ns for p in out.glob("*/model/*")}.items()
    assert len(list(out.glob("*/manifest.json"))) == 3
    text = capsys.readouterr().out
    assert "beta=2" in text and max(map(len, text.splitlines()[:4])) <= 80
    page = (out / "sweep.html").read_text("utf-8")
    assert 'href="beta%3D0.1/report.html"' in page
    # as `luce train` by itself would
    changed = json.loads(file.read_text())
    changed["train"]["max_steps"] = 5
    file.write_text(json.dumps(changed))
    assert luce(line) == 2
    assert "train.max_steps: 3 → 5" in capsys.readouterr().err
    changed["train"]["max_steps"] = 3
    file.write_text(json.dumps(changed | {"train": changed["train"] | {"logging_steps": 7}}))
    pairs.write_text(pairs.read_text() + pairs.read_text().splitlines()[0] + "\n")
    assert luce(line) == 2
    assert f"the content of {pairs}" in capsys.readouterr().err


def test_a_failed_run_is_recorded_and_the_others_go_on(file, tmp_path, capsys, in_process):
    out = tmp_path / "out"
    line = ["sweep", str(file), "train.learning_rate=1e30,0.001", "--out", str(out)]
    assert luce(line) == 1
    found = json.loads((out / "sweep.json").read_text())["runs"]
    assert [run["status"] for run in found] == ["failed", "finished"]
    assert "at step" in found[0]["error"] and "Lower learning_rate" in found[0]["error"]
    assert "failed: learning_rate=1e30" in capsys.readouterr().out
    page = (out / "sweep.html").read_text("utf-8")
    assert "failed" in page and "Lower learning_rate" in page


@pytest.mark.slow
def test_a_run_is_what_luce_train_makes_of_the_same_keys(file, tmp_path):
    plan = plan_sweep(file, ["train.seed=3"], tmp_path / "out")
    (run,) = carry_out(plan)
    alone = tmp_path / "alone"
    assert luce(["train", str(file), "train.seed=3", f"output_dir={alone}"]) == 0
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (run.folder / name).read_bytes() == (alone / name).read_bytes()
    assert (
        run.results["accuracy"]
        == json.loads((alone / "evaluation.json").read_text())["held_out"]["accuracy"]
    )


def kill_in_second_run(file, keys, out, whole):
    """Start a sweep and SIGKILL it in its second run, and with `whole` that run as well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "luce", "sweep", str(file), *keys, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    second = out / "seed=1" / "metrics.jsonl"
    while not (second.exists() and second.read_text().count("\n") > 5):
        assert process.poll() is None, "the sweep was over before it could be killed"
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    for child in children if whole else ():
        os.kill(int(child), signal.SIGKILL)
        while in_use(out / "seed=1"):
            time.sleep(0.01)


@pytest.fixture
def long_file(file):
    recipe = json.loads(file.read_text())
    recipe["train"] |= {"max_steps": 30, "save_steps": 5}
    file.write_text(json.dumps(recipe))
    return file


@pytest.mark.slow
def test_a_killed_sweep_goes_on_to_the_same_end(long_file, tmp_path, in_process):
    keys, out = ["train.seed=0,1"], tmp_path / "out"
    kill_in_second_run(long_file, keys, out, whole=True)
    plan = plan_sweep(long_file, keys, out)
    assert [run.state for run in plan.runs] == ["finished", "resume"]
    again = carry_out(plan)
    calm = carry_out(plan_sweep(long_file, keys, tmp_path / "calm"))
    assert [run.results for run in again] == [run.results for run in calm]
    assert (out / "seed=1/model/model.safetensors").read_bytes() == (
        tmp_path / "calm/seed=1/model/model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_run_that_outlives_its_sweep_is_waited_for(long_file, tmp_path):
    keys, out = ["train.seed=0,1"], tmp_path / "out"
    kill_in_second_run(long_file, keys, out, whole=False)
    assert in_use(out / "seed=1")
    again = carry_out(plan_sweep(long_file, keys, out))
    assert [run.status for run in again] == ["finished"] * 2
    # nobody else has trained it meanwhile
    assert "another process" not in "".join(p.read_text() for p in out.glob("logs/*"))


@pytest.mark.slow
def test_a_sweep_that_is_asked_to_stop_stops_its_runs(file, tmp_path):
    out = tmp_path / "out"
    keys = ["train.max_steps=2000", "train.seed=0,1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "luce", "sweep", str(file), *keys, "--out", str(out), "--workers=2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = [out / f"seed={i}" / "metrics.jsonl" for i in (0, 1)]
    while not all(path.exists() and path.read_text().count("\n") > 2 for path in metrics):
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert not in_use(out / "seed=0") and not in_use(out / "seed=1")
    assert all(list((path.parent / "checkpoints").glob("step-*")) for path in metrics)
    assert [run.state for run in plan_sweep(file, keys, out).runs] == ["resume", "resume"]


def test_two_sweeps_do_not_share_a_folder(file, tmp_path):
    plan = plan_sweep(file, ["train.seed=0,1"], tmp_path / "out")
    with locked(plan.folder), pytest.raises(LuceError, match="another process is using"):
        carry_out(plan)
    with pytest.raises(LuceError, match="--workers: expected 1 or more"):
        carry_out(plan, workers=0)


def test_a_run_is_no_folder_for_a_sweep(file, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(RecipeError, match="holds a run"):
        plan_sweep(file, ["train.seed=0,1"], tmp_path)


def test_a_dry_run_writes_nothing(file, tmp_path, capsys):
    line = ["sweep", str(file), "train.seed=0,1", "--out", str(tmp_path / "out"), "--dry-run"]
    assert luce(line) == 0
    assert "to run: seed=0\n  luce train" in capsys.readouterr().out
    assert luce([*line, "--json"]) == 0
    assert [r["state"] for r in json.loads(capsys.readouterr().out)] == ["new", "new"]
    assert not (tmp_path / "out").exists()


def made(values, tmp_path, **results):
    name = ",".join(f"{k}={v}" for k, v in values.items())
    return SweepRun(name, tmp_path / name, values, "finished", "", results)


def test_seeds_are_folded_by_hand(tmp_path):
    runs = [
        made({"a.beta": "0.1", "train.seed": str(i)}, tmp_path, accuracy=0.7 + 0.1 * i, kl=1.0)
        for i in range(3)
    ]
    failed = replace(runs[0], values={"a.beta": "0.1", "train.seed": "9"}, status="failed")
    other = made({"a.beta": "1", "train.seed": "0"}, tmp_path, accuracy=0.5)
    one, two = fold([*runs, failed, other])
    accuracy = one.means["accuracy"]
    assert accuracy.mean == pytest.approx(0.8) and accuracy.sd == pytest.approx(0.1)
    assert (accuracy.n, one.finished, len(one.runs)) == (3, 3, 4)
    assert dict(two.values) == {"a.beta": "1"} and two.means["accuracy"].plain()["sd"] is None


def test_the_frontier_is_what_nothing_beats_in_both(tmp_path):
    points = {"a": (0.6, 1.0), "b": (0.7, 2.0), "c": (0.65, 2.5), "d": (0.6, 1.5), "e": (0.9, 9.0)}
    settings = fold([
        made({"k": name}, tmp_path, win_rate=r, kl=kl) for name, (r, kl) in points.items()
    ])  # fmt: skip
    assert [s.values["k"] for s in frontier(settings, "win_rate")] == ["a", "b", "e"]
