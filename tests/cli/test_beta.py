import json

import pytest

from luce.cli.main import run


def test_beta_is_converted(capsys):
    assert run(["beta", "convert", "--from", "dpo:beta=0.1", "--to", "gpo_square"]) == 0
    said = capsys.readouterr().out
    assert "dpo with beta = 0.1 regularizes as gpo_square with beta = 0.05." in said
    assert "lowest at a margin of 20 nats" in said


def test_defaults_stand_where_nothing_is_given(capsys):
    assert run(["beta", "convert", "--from", "ipo", "--to", "dpo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["source_key"], found["source_beta"]) == ("tau", 0.1)
    assert (found["target_key"], found["target_beta"]) == ("beta", 0.4)
    assert (found["lowest"], found["unit"], found["tokens"]) == (5.0, "nats", None)


def test_lengths_and_further_parameters(capsys):
    line = ["beta", "convert", "--from", "cpo:beta=0.1,alpha=0", "--to", "simpo:gamma=0"]
    assert run([*line, "--tokens", "20"]) == 0
    said = capsys.readouterr().out
    assert "simpo with beta = 2, at 20 tokens a response." in said
    assert "nats per token" in said


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("dpo", "gpo_hinge", "not curved at 0"),
        ("dpo", "ln_dpo", "--tokens N"),
        ("dop", "ipo", "Did you mean 'dpo'?"),
        ("dpo:bta=1", "ipo", "Did you mean 'beta'?"),
        ("dpo:beta=0.1", "ipo:tau=1", "`tau` is what is looked for"),
        ("dpo:beta=a", "ipo", "objective.dpo.beta"),
    ],
)
def test_what_cannot_be_converted_is_one_line(capsys, source, target, said):
    assert run(["beta", "convert", "--from", source, "--to", target]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("luce: ") and error.count("\n") == 1
