"""What a run must not do: look anybody up, or write down a key."""

import os
import socket

from luce.recipe.run import train_run

CANARY = "sk-canary-3f9d1c77b5"
KEYS = ("OPENAI_API_KEY", "HF_TOKEN", "WANDB_API_KEY", "ANTHROPIC_API_KEY")


def test_a_run_asks_the_network_for_nothing(recipe, monkeypatch):
    asked = []

    def refuse(*given, **named):
        asked.append(given)
        raise OSError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    train_run(recipe)
    assert asked == []


def test_no_key_of_the_environment_is_written_anywhere(recipe, monkeypatch, tmp_path, capfd):
    for name in KEYS:
        monkeypatch.setenv(name, CANARY)
    folder = train_run(recipe)
    read = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert folder / "report.html" in read and folder / "manifest.json" in read
    found = [str(path) for path in read if CANARY.encode() in path.read_bytes()]
    assert found == []
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err
    assert os.environ["HF_TOKEN"] == CANARY  # it was there to be found
