"""One record per format, with the row it must give."""

from typing import Any

from luce.types import Demonstration, Feedback, Place, Preference, Ranking, Row

PLACE = Place("rows.jsonl", 1)
HEAD: dict[str, Any] = {"place": PLACE, "id": "rows.jsonl:1"}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def said(who: str, text: str) -> dict[str, str]:
    return {"from": who, "value": text}


PAIR = Preference(**HEAD, prompt="q", chosen="a", rejected="b")
TURNS = Preference(
    **HEAD, prompt=(user("q"),), chosen=(assistant("a"),), rejected=(assistant("b"),)
)
MIXED = Preference(
    **HEAD, prompt=(user("q"),), chosen=(assistant("a"),), rejected=(assistant("b"),)
)
LONG_PROMPT = (system("s"), user("q"), assistant("r"), user("t"))
LONG = Preference(
    **HEAD, prompt=LONG_PROMPT, chosen=(assistant("a"),), rejected=(assistant("a b"),)
)
WITH_SYSTEM = Preference(
    **HEAD, prompt=(system("s"), user("q")), chosen="a", rejected="b", label=0.75, margin=2.0
)
JUDGED = {"label": 0.75, "margin": 2.0}
RANKED = Ranking(**HEAD, prompt="q", responses=("a", "b", "c"), scores=(-2.0, -1.0, -2.0))
SCORED = Ranking(**HEAD, prompt="q", responses=("a", "b"), scores=(0.5, 1.5))
GOOD = Feedback(**HEAD, prompt="q", completion="a", label=True)
GOOD_TURNS = Feedback(**HEAD, prompt=LONG_PROMPT, completion=(assistant("a"),), label=False)
SHOWN = Demonstration(**HEAD, prompt="q", completion="a")
SHOWN_TURNS = Demonstration(
    **HEAD, prompt=(user("q"),), completion=(assistant("a"), user("t"), assistant("b"))
)

EXAMPLES: list[tuple[str, dict[str, Any], Row]] = [
    ("pairs", {"prompt": "q", "chosen": "a", "rejected": "b"}, PAIR),
    (
        "pairs",
        {"prompt": [user("q")], "chosen": [assistant("a")], "rejected": [assistant("b")]},
        TURNS,
    ),
    ("pairs", {"prompt": [user("q")], "chosen": assistant("a"), "rejected": assistant("b")}, TURNS),
    (
        "pairs",
        {"prompt": "q", "system": "s", "chosen": "a", "rejected": "b", **JUDGED},
        WITH_SYSTEM,
    ),
    (
        "pairs",
        {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": "a", "rejected": "b"},
        Preference(**HEAD, prompt=(user("q"),), chosen="a", rejected="b"),
    ),
    (
        "full_chats",
        {
            "prompt": "q",
            "chosen": [user("q"), assistant("a")],
            "rejected": [user("q"), assistant("b")],
        },
        TURNS,
    ),
    (
        "implicit_prompt",
        {
            "chosen": [*LONG_PROMPT, assistant("a")],
            "rejected": [*LONG_PROMPT, assistant("a b")],
        },
        LONG,
    ),
    (
        "hh",
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        TURNS,
    ),
    (
        "alpaca_pairs",
        {"instruction": "q", "input": "", "system": "s", "chosen": "a", "rejected": "b", **JUDGED},
        WITH_SYSTEM,
    ),
    ("alpaca_output_pairs", {"instruction": "q", "input": "", "output": ["a", "b"]}, PAIR),
    (
        "sharegpt_pairs",
        {
            "conversations": [said("human", "q")],
            "chosen": said("gpt", "a"),
            "rejected": said("gpt", "b"),
        },
        TURNS,
    ),
    (
        "messages_pairs",
        {"messages": [user("q")], "chosen": assistant("a"), "rejected": assistant("b")},
        TURNS,
    ),
    (
        "argilla_pairs",
        {
            "system": "s",
            "instruction": "q",
            "chosen_response": "a",
            "rejected_response": "b",
            **JUDGED,
        },
        WITH_SYSTEM,
    ),
    (
        "prompt_response_pairs",
        {"prompt": "q", "chosen_response": "a", "rejected_response": "b"},
        PAIR,
    ),
    (
        "question_pairs",
        {"system": "s", "question": "q", "chosen": "a", "rejected": "b", **JUDGED},
        WITH_SYSTEM,
    ),
    ("input_pairs", {"input": "q", "chosen": "a", "rejected": "b"}, PAIR),
    ("stack_pairs", {"question": "q", "response_j": "a", "response_k": "b"}, PAIR),
    (
        "torchtune_pairs",
        {
            "chosen_conversations": [*LONG_PROMPT, assistant("a")],
            "rejected_conversations": [*LONG_PROMPT, assistant("a b")],
        },
        LONG,
    ),
    (
        "swift_pairs",
        {"messages": [*LONG_PROMPT, assistant("a")], "rejected_response": "a b"},
        LONG,
    ),
    (
        "alpaca_eval_pairs",
        {"instruction": "q", "input": "", "output_1": "b", "output_2": "a", "preference": 1.75},
        Preference(
            **HEAD,
            prompt="q",
            chosen="a",
            rejected="b",
            label=0.75,
            extra={"chosen_is": "output_2"},
        ),
    ),
    (
        "shp",
        {"history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": 1},
        PAIR,
    ),
    ("unpaired", {"prompt": "q", "completion": "a", "label": True}, GOOD),
    (
        "unpaired",
        {"prompt": list(LONG_PROMPT), "completion": [assistant("a")], "label": -1},
        GOOD_TURNS,
    ),
    ("alpaca_kto", {"instruction": "q", "input": "", "output": "a", "kto_tag": True}, GOOD),
    (
        "sharegpt_kto",
        {
            "conversations": [
                said("system", "s"),
                said("human", "q"),
                said("gpt", "r"),
                said("human", "t"),
                said("gpt", "a"),
            ],
            "kto_tag": False,
        },
        GOOD_TURNS,
    ),
    ("messages_kto", {"messages": [*LONG_PROMPT, assistant("a")], "kto_tag": False}, GOOD_TURNS),
    (
        "messages_unpaired",
        {"messages": [*LONG_PROMPT, assistant("a")], "label": "undesirable"},
        GOOD_TURNS,
    ),
    ("question_unpaired", {"question": "q", "completion": "a", "label": 1}, GOOD),
    ("instruction_unpaired", {"instruction": "q", "completion": "a", "label": "True"}, GOOD),
    ("ranking", {"prompt": "q", "responses": ["a", "b"], "scores": [0.5, 1.5]}, SCORED),
    ("ranking_rewards", {"prompt": "q", "responses": ["a", "b"], "rewards": [0.5, 1.5]}, SCORED),
    ("ranking_ranks", {"prompt": "q", "responses": ["a", "b", "c"], "ranks": [2, 1, 2]}, RANKED),
    (
        "candidates_completions",
        {"prompt": "q", "candidates_completions": ["a", "b", "c"], "ranks": [2, 1, 2]},
        RANKED,
    ),
    (
        "nectar",
        {
            "prompt": "q",
            "answers": [
                {"answer": "a", "rank": 2},
                {"answer": "b", "rank": 1},
                {"answer": "c", "rank": 2},
            ],
        },
        RANKED,
    ),
    (
        "ultrafeedback",
        {
            "instruction": "q",
            "completions": [
                {"response": "a", "overall_score": 0.5},
                {"response": "b", "overall_score": 1.5},
            ],
        },
        SCORED,
    ),
    (
        "nemo_rl",
        {
            "context": [user("q")],
            "completions": [
                {"rank": 0, "completion": [assistant("a")]},
                {"rank": 1, "completion": [assistant("b")]},
            ],
        },
        Ranking(
            **HEAD,
            prompt=(user("q"),),
            responses=((assistant("a"),), (assistant("b"),)),
            scores=(0.0, -1.0),
        ),
    ),
    (
        "candidates",
        {
            "instruction": "q",
            "candidates": [{"output": "a", "score": 0.5}, {"output": "b", "score": 1.5}],
        },
        SCORED,
    ),
    (
        "numbered",
        {
            "prompt": "q",
            "response_0": "a",
            "response_0_reward": 0.5,
            "response_1": "b",
            "response_1_reward": 1.5,
        },
        SCORED,
    ),
    ("messages", {"messages": [user("q"), assistant("a"), user("t"), assistant("b")]}, SHOWN_TURNS),
    (
        "sharegpt",
        {
            "conversations": [
                said("human", "q"),
                said("gpt", "a"),
                said("human", "t"),
                said("gpt", "b"),
            ]
        },
        SHOWN_TURNS,
    ),
    ("prompt_completion", {"prompt": "q", "completion": "a"}, SHOWN),
    ("alpaca", {"instruction": "q", "input": "", "output": "a"}, SHOWN),
    ("text", {"text": "a"}, Demonstration(**HEAD, prompt="", completion="a")),
]
