import json

import pytest

from luce.cli.main import run


def answers(capsys, *line: object) -> list[dict]:
    assert run(["sample", *map(str, line), "--max-new-tokens", "5", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_seed_gives_the_same_responses_and_another_seed_others(tiny_model_dir, capsys):
    one, again, other = (
        answers(capsys, tiny_model_dir, "hello", "bye", "--n", 2, "--seed", seed)
        for seed in (1, 1, 2)
    )
    assert [row["prompt"] for row in one] == ["hello", "hello", "bye", "bye"]
    assert one == again != other
    assert all(1 <= row["tokens"] <= 5 for row in one)


def test_prompts_come_from_a_file_as_text_or_turns(tiny_model_dir, tmp_path, capsys):
    rows = [{"prompt": "hi"}, {"prompt": [{"role": "user", "content": "hi"}]}, {"prompt": "no"}]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = (tiny_model_dir, "--prompts", path, "--limit", 2, "--temperature", 0)
    text, turns = answers(capsys, *line)
    assert turns["prompt"] == [{"role": "user", "content": "hi"}]
    assert text["response"] == turns["response"]  # the same prompt, spelled twice


def test_the_folder_of_a_run_stands_for_its_model(tiny_model_dir, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model").symlink_to(tiny_model_dir)
    there = answers(capsys, tmp_path / "run", "hello")
    assert there == answers(capsys, tiny_model_dir, "hello")


@pytest.mark.parametrize(
    ("line", "message"),
    [((), "no prompt. Give one"), (("--prompts", "absent.jsonl"), "absent.jsonl")],
)
def test_without_a_prompt_there_is_an_error(tiny_model_dir, capsys, line, message):
    assert run(["sample", str(tiny_model_dir), *line]) == 2
    assert message in capsys.readouterr().err


def test_a_row_without_a_prompt_is_named(tiny_model_dir, tmp_path, capsys):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a"}\n{"text": "b"}\n')
    assert run(["sample", str(tiny_model_dir), "--prompts", str(path)]) == 2
    assert f"{path}:2: `prompt` is missing" in capsys.readouterr().err
