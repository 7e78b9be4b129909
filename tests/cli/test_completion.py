"""Completion of commands and options in bash, zsh and fish, in a home of the test's own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from luce.cli.main import COMMANDS, build_app, run

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home of its own."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("ZSH_CUSTOM", "ZDOTDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZSH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    app = build_app()
    return {shell: app.generate_completion(shell=shell) for shell in SHELLS}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_every_command_and_options_of_commands(shell, scripts):
    for command in COMMANDS:
        assert command in scripts[shell]
    for option in ("dry-run", "learning-rates", "install-completion"):
        assert option in scripts[shell]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_can_read_its_script(shell, scripts, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "script").write_text(scripts[shell])
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_writes_where_it_is_told(shell, home, tmp_path, capsys, scripts):
    out = tmp_path / "script"
    assert run(["--install-completion", "--shell", shell, "--output", str(out)]) == 0
    assert out.read_text() == scripts[shell]
    assert str(out) in capsys.readouterr().out


def test_bash_offers_the_commands(scripts, tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    (tmp_path / "script").write_text(scripts["bash"])
    code = (
        f"source {tmp_path}/script; COMP_WORDS=(luce pro); COMP_CWORD=1; COMP_LINE='luce pro'; "
        "COMP_POINT=8; f=$(complete -p luce | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $f; "
        'echo "${COMPREPLY[@]}"'
    )
    found = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["probe"]
