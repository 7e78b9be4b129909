"""Every command that README and the pages show is run, or stands in a table with the reason."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_table import COVERED, HOW, SCRIPTS, How, usual
from cyclopts import MissingArgumentError
from shown_commands import ROOT, Shown, every_command, inline_commands, shown_in

from luce.cli.main import build_app, run

SHOWN = every_command()
LIMIT_S = 1800


def how(command: Shown) -> How:
    """The command's entry, or what is usual for it."""
    if command.script:
        return How("elsewhere", SCRIPTS[command.page])
    found = HOW.get((command.page, command.text))
    return usual(words_of(command)[1]) if found is None else found


def takes_long(entry: How) -> bool:
    """It is run in the slow suite only."""
    return entry.late or entry.way in ("slow", "shell")


@contextmanager
def in_time(command: Shown) -> Iterator[None]:
    """An error where the command takes longer than `LIMIT_S`: it waits for something."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"{command.page}: {command.text}: not done in {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def words_of(command: Shown) -> tuple[dict[str, str], list[str]]:
    """Variables set in front of a command, and its words, with variables in them filled in."""
    words = shlex.split(command.text)
    variables = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    return variables, [os.path.expandvars(word) for word in words]


def carry_out(command: Shown, slow: bool, monkeypatch, capfd) -> None:
    """Run one command of a page in the current folder, as its table says."""
    entry = how(command)
    if entry.way == "elsewhere" or (takes_long(entry) and not slow):
        return
    variables, words = words_of(command)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    words += entry.more
    if entry.way == "serve":
        return serve(words)
    if entry.way == "shell":
        python = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
        subprocess.run(python, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        return None
    assert words[0] == "luce", f"{command.page}: {command.text}: in no table, and not luce's"
    with in_time(command):
        code = run(words[1:])
    said = capfd.readouterr()
    told = f"{command.page}: $ {' '.join(words)}\n{said.out[-2000:]}{said.err[-2000:]}"
    assert code == entry.code, f"exit code {code}, not {entry.code}\n{told}"


def serve(words: list[str]) -> None:
    """Start, wait for the link, interrupt; the command must end by itself and in order."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    said, began = "", time.monotonic()
    try:
        while "http" not in said:
            line = process.stdout.readline()
            said += line
            assert line and time.monotonic() - began < 60, said
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130), said
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def walk(page, slow, sandbox, monkeypatch, capfd) -> None:
    sandbox(page)
    for command in dict.fromkeys(SHOWN[page]):  # what is shown twice runs once
        if command.script:
            assert page in SCRIPTS, f"{page}: a script in no table"
            subprocess.run(["bash", "-n", "-c", command.text], check=True)
        else:
            carry_out(command, slow, monkeypatch, capfd)


def has_slow(page: str) -> bool:
    return any(takes_long(how(command)) for command in SHOWN[page])


@pytest.mark.parametrize("page", [page for page in SHOWN if page not in COVERED])
def test_the_commands_of_a_page_run(page, sandbox, judge_url, monkeypatch, capfd):
    walk(page, False, sandbox, monkeypatch, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in SHOWN if has_slow(page)])
def test_the_commands_of_a_page_that_take_long_run(page, sandbox, judge_url, monkeypatch, capfd):
    walk(page, True, sandbox, monkeypatch, capfd)


def test_what_is_not_run_is_listed_with_its_reason():
    """`pytest -s` prints the list."""
    for page, commands in SHOWN.items():
        for command in commands:
            entry = how(command)
            if entry.way != "run" or entry.more or entry.code:
                print(f"{entry.way:<10}{page}: {command.text.splitlines()[0]}: {entry.why}")
            assert entry.why or (entry.way == "run" and not entry.code), command


def test_every_entry_of_the_tables_is_still_shown():
    shown = {(command.page, command.text) for page in SHOWN.values() for command in page}
    assert set(HOW) <= shown, set(HOW) - shown
    assert set(COVERED) <= set(SHOWN)
    assert set(SCRIPTS) == {c.page for page in SHOWN.values() for c in page if c.script}


@pytest.mark.parametrize("page", COVERED)
def test_a_page_with_a_test_of_its_own_has_every_command_there(page):
    code = (ROOT / COVERED[page]).read_text()
    rule = re.search(r'findall\(r"(.*?)", PAGE', code)
    assert rule is not None
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rule[1], text, flags=re.M)
    assert [re.sub(r"\s+#\s.*$", "", line) for line in found] == [c.text for c in SHOWN[page]]


def test_what_is_run_elsewhere_is_there():
    """Targets of make, extras of pip, tests that a reason names."""
    project = (ROOT / "pyproject.toml").read_text()
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.M)
    for (page, text), entry in HOW.items():
        words = shlex.split(text)
        if words[0] == "make":
            assert words[1] in targets, (page, text)
        for extra in re.findall(r"luce\[(\w+)\]", text):
            assert f"\n{extra} = [" in project, (page, text)
        for test in re.findall(r"tests/[\w/]+\.py", entry.why):
            assert (ROOT / test).is_file(), test


@pytest.mark.parametrize("command", inline_commands(), ids=lambda c: f"{c.page}:{c.text}"[:90])
def test_a_command_within_the_text_is_one_that_luce_takes(command):
    words = shlex.split(command.text)[1:]
    if "COMMAND" in words:
        words = [word for word in words if word not in ("COMMAND", "--help")]
    try:
        build_app().parse_args(words, exit_on_error=False, print_error=False)
    except MissingArgumentError:
        pass  # the command is named without what it works on


def test_a_block_whose_commands_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="begins with"):
        shown_in("p", "```console\nluce list\n```\n")
    with pytest.raises(ValueError, match="not marked"):
        shown_in("p", "```\n$ luce list\n```\n")
    (one, two) = shown_in("p", "```console\n$ luce list  # all\nout\n```\n```bash\na\nb\n```\n")
    assert (one.text, one.script, two.text, two.script) == ("luce list", False, "a\nb", True)


def test_a_command_in_no_table_that_is_not_luces_fails(monkeypatch, capfd):
    with pytest.raises(AssertionError, match="in no table"):
        carry_out(Shown("p", "rm -r x"), False, monkeypatch, capfd)


def test_the_sandbox_is_not_the_checkout(sandbox):
    sandbox("docs/report.md")
    assert Path.cwd() != ROOT and Path("runs/hh-dpo/manifest.json").is_file()
