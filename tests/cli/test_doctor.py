"""`luce doctor`: every fault of a machine is seen, told with its remedy, and counted."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

import luce.models.attention.hook as hook
from luce.cli.main import run
from luce.models.self_test import self_test
from luce.recipe import doctor, doctor_machine, doctor_packages
from luce.recipe.doctor import Check, examine, report_lines


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.fixture
def needs(monkeypatch):
    """Puts these requirements in place of luce's own."""

    def put(*texts: str) -> None:
        monkeypatch.setattr(metadata, "requires", lambda name: list(texts))

    return put


def test_this_machine_is_told_in_80_columns_and_in_json(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown and shown.isascii()
    assert "luce works here" in shown
    assert run(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and told["luce"] == metadata.version("luce")
    versions = {c["name"]: c["value"] for c in told["checks"] if c["group"] == "versions"}
    assert versions["torch"] == metadata.version("torch")
    ways = [c["value"] for c in told["checks"] if c["group"] == "layouts"]
    assert {w["layout"] for w in ways} == {"padded", "packed", "shared"}
    assert all(w["right"] for w in ways if w["device"] == "cpu")


def test_a_package_that_is_absent_too_old_or_broken_fails_with_its_command(needs, tmp_path):
    needs("torch>=99", "no-such-package>=1", "numpy>=1")
    found = by_name(doctor_packages.versions())
    assert (found["torch"].state, found["numpy"].state) == ("failed", "ok")
    assert found["torch"].found.endswith("luce needs >=99")
    assert found["no-such-package"].found == "not installed; luce needs >=1"
    assert found["no-such-package"].remedy == "pip install 'no-such-package>=1'"
    assert doctor.importable("no_such_module") == "No module named 'no_such_module'"


def test_an_extra_counts_as_missing_with_the_command_that_installs_it(needs, monkeypatch):
    needs("numpy", 'absent-thing>=2; extra == "ui"', 'numpy; extra == "ray"')

    class About:
        def get_all(self, key):
            return ["ui", "ray"]

    monkeypatch.setattr(metadata, "metadata", lambda name: About())
    found = by_name(doctor_packages.extras())
    assert found["ui"].state == "missing" and found["ui"].found == "without absent-thing"
    assert found["ui"].remedy == "pip install 'luce[ui]'"
    assert found["ray"].state == "ok"


def test_every_extra_of_the_project_is_looked_at(root_of_project):
    import tomllib

    project = tomllib.loads((root_of_project / "pyproject.toml").read_text())["project"]
    if set(metadata.metadata("luce").get_all("Provides-Extra")) != set(
        project["optional-dependencies"]
    ):
        pytest.skip("luce was installed before its extras changed; install it again")
    assert set(by_name(doctor_packages.extras())) == set(project["optional-dependencies"])


@pytest.fixture
def root_of_project() -> Path:
    return Path(__file__).resolve().parents[2]


def test_a_wrong_attention_is_seen_and_named(monkeypatch):
    right = hook.branch
    monkeypatch.setattr(hook, "branch", lambda *a: right(*a) * 1.01)
    tests = {t.kernel or t.layout: t for t in self_test(torch.device("cpu")) if "32" in t.dtype}
    assert not tests["branch"].right and "off by" in tests["branch"].reason
    assert all(tests[name].right for name in ("padded", "packed", "exact", "dense"))
    checks = doctor.layouts()
    assert [c.name for c in checks if c.state == "warning"][0] == "cpu float32 shared/branch"
    assert not doctor.failed(checks)  # luce takes a layout that is right


def test_a_gradient_that_is_cut_is_seen_though_the_numbers_are_right(monkeypatch):
    right = hook.branch
    monkeypatch.setattr(hook, "branch", lambda *a: right(*a).detach())
    (branch,) = [
        t for t in self_test(torch.device("cpu")) if t.kernel == "branch" and "32" in t.dtype
    ]
    assert branch.nats is not None and branch.nats < 1e-4
    assert branch.gradient is not None and branch.gradient > 0.1 and not branch.right


def test_a_part_that_breaks_is_a_failed_check_and_exit_code_1(monkeypatch, capsys):
    def broken():
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(doctor, "layouts", broken)
    assert run(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "libcudart.so.13" in shown and shown.endswith("Failed: layouts.\n")


def test_a_folder_that_is_full_or_not_writable(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_machine, "ROOM", 2**80)
    assert {c.state for c in doctor_machine.disk(tmp_path)} == {"warning"}

    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor_machine.tempfile, "TemporaryFile", refuse)
    first, _ = doctor_machine.disk(tmp_path)
    assert first.state == "failed" and "not writable: Permission denied" in first.found


def test_more_threads_than_cores_are_warned_of(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    *_, last = doctor_machine.threads()
    assert last.state == "warning" and "OMP_NUM_THREADS=" in last.remedy


def test_long_values_are_wrapped(tmp_path):
    checks = [
        Check("g", "n" * 30, "word " * 60, "failed", "remedy " * 30),
        Check("disk", "working folder", "/very" * 60, "ok"),
    ]
    assert max(map(len, report_lines(checks))) <= 80


@pytest.mark.parametrize(
    "arguments", [["doctor"], ["doctor", "--json"], ["--help"], ["show", "dpo"]]
)
def test_a_locale_without_greek_letters_ends_no_command(arguments, tmp_path):
    plain = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    found = subprocess.run(
        [sys.executable, "-m", "luce", *arguments],
        env={**os.environ, **plain, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
    )
    assert found.returncode == 0, found.stderr.decode()
    assert found.stdout.isascii()
    if arguments == ["doctor"]:
        assert b"warning  encoding" in found.stdout and b"PYTHONUTF8=1" in found.stdout
    if arguments[-1] == "--json":
        assert json.loads(found.stdout)["ok"]


def test_the_parts_come_in_the_order_of_the_page(tmp_path):
    groups = list(dict.fromkeys(check.group for check in examine(tmp_path)))
    assert groups == ["versions", "devices", "layouts", "disk", "environment", "extras"]
