import sys

import pytest

from luce import __version__
from luce.cli.main import COMMANDS, build_app, run
from luce.errors import LuceError


@pytest.fixture
def command(monkeypatch):
    """Replaces the body of `luce list` with a function of no arguments."""

    def replace(body):
        def list_names(*words: str) -> int | None:
            return body()

        monkeypatch.setattr("luce.cli.catalog.list_names", list_names)

    return replace


def test_every_command_loads_and_has_a_help_page(capsys):
    for name in COMMANDS:
        assert run([name, "--help"]) == 0
        assert "Usage: luce " + name in capsys.readouterr().out


def test_the_help_lists_every_command(capsys):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def test_the_version_is_printed(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "r.yaml"], 'Did you mean "train"?'),
        (["train", "r.yaml", "--resum"], "Did you mean --resume?"),
        (["train", "r.yaml", "--train.seed", "1"], "is written `train.seed=VALUE`"),
        (["train", "r.yaml", "--train.seed=1"], "is written `train.seed=VALUE`"),
        (["train"], "RECIPE"),
        (["cost", "x.jsonl"], "--objective"),
        (["cost", "x.jsonl", "--objective", "dpo", "--dtype", "float16"], "float64"),
        (["list", "lossess"], "losses"),
        (["data", "convrt"], 'Did you mean "convert"?'),
    ],
)
def test_a_mistyped_command_line_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err and said.out == ""
    assert said.err.startswith("luce: ") and said.err.count("\n") == 1


def test_an_error_that_can_be_mended_has_no_traceback_and_exit_code_2(capsys, command):
    def body():
        raise LuceError("pairs.jsonl:17: no `rejected`.")

    command(body)
    assert run(["list"]) == 2
    assert capsys.readouterr().err == "luce: pairs.jsonl:17: no `rejected`.\n"


def test_debug_shows_the_traceback_wherever_it_stands(capsys, command):
    def body():
        raise LuceError("pairs.jsonl:17: no `rejected`.")

    command(body)
    for arguments in (["--debug", "list"], ["list", "--debug"]):
        assert run(arguments) == 2
        err = capsys.readouterr().err
        assert "Traceback" in err and err.endswith("luce: pairs.jsonl:17: no `rejected`.\n")


def test_a_fault_of_luce_is_called_one(capsys, command):
    def body():
        raise ZeroDivisionError("division by zero\nsecond line")

    command(body)
    assert run(["list"]) == 1
    assert capsys.readouterr().err == (
        "luce: internal error: ZeroDivisionError: division by zero; run again with --debug to see "
        "where.\n"
    )


def test_an_interruption_ends_with_130(capsys, command):
    def body():
        raise KeyboardInterrupt

    command(body)
    assert run(["list"]) == 130
    assert capsys.readouterr().err == "luce: interrupted.\n"


def test_the_exit_code_of_a_command_is_its_result(command):
    command(lambda: 1)
    assert run(["list"]) == 1
    command(lambda: None)
    assert run(["list"]) == 0


def test_building_the_command_line_loads_no_command():
    before = {name for name in sys.modules if name.startswith("luce.cli.")}
    build_app()
    assert {name for name in sys.modules if name.startswith("luce.cli.")} == before


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device", "/x"), ValueError("I/O: Disk quota exceeded")]
)
def test_a_full_disk_is_something_the_user_can_mend(monkeypatch, capsys, error):
    def fail(*given, **named):
        raise error

    monkeypatch.setattr("luce.recipe.check.check_command", fail)
    assert run(["check", "recipe.yaml"]) == 2
    said = capsys.readouterr().err
    assert str(error) in said and "Make room" in said and "internal" not in said


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_memory_that_ran_out_is_something_the_user_can_mend(monkeypatch, capsys, error):
    def fail(*given, **named):
        raise error

    monkeypatch.setattr("luce.recipe.check.check_command", fail)
    assert run(["check", "recipe.yaml"]) == 2
    said = capsys.readouterr().err
    assert f"memory ran out ({error})" in said and "Lower train.max_tokens_per_batch" in said
