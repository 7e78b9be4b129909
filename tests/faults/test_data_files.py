"""Files of judged data that are not what they should be: bytes, lengths, repetitions."""

import json
import resource

import pytest
from fault_bench import ANSWERED, COUNTED, SAME, Bench, case, pair, pairs, turn

WORDS = " ".join(["dog"] * 400)


def raw(rows=None) -> list[bytes]:
    return [json.dumps(row).encode() + b"\n" for row in rows or pairs()]


def read(found) -> tuple[int, int]:
    return found["counts"]["rows_used"], found["counts"]["rows_dropped"]


@case(13, what="a byte that is not UTF-8", answer=ANSWERED)
def test_a_byte_that_is_not_utf8(bench: Bench, says) -> None:
    rows = raw()
    rows[5] = rows[5].replace(b"question", b"q\xffestion")
    bench.put(b"".join(rows))
    byte = rows[5].index(b"\xff") + 1
    says(bench.train().refused(f"{bench.data}:6: ", f"byte {byte}", "0xff"))
    assert read(bench.check("data.bad_rows=drop")) == (7, 1)


@case(28, what="a last line half-written", answer=ANSWERED)
def test_a_line_half_written(bench: Bench, says) -> None:
    bench.put(b"".join(raw())[:-120])
    says(bench.train().refused(f"{bench.data}:8: ", "half-written"))
    assert read(bench.check("data.bad_rows=drop")) == (7, 1)


@case(30, what="half of a surrogate pair", answer=ANSWERED)
def test_half_of_a_pair(bench: Bench, says) -> None:
    rows = raw()
    rows[5] = rows[5].replace(b"good", b"\\ud800")
    bench.put(b"".join(rows))
    says(bench.train().refused(f"{bench.data}:6: chosen[0].content", "surrogate", "(id r5)"))


ODD = {
    29: ("blank lines", lambda lines: b"\n  \n".join(lines) + b"\n\n"),
    32: ("a byte order mark", lambda lines: b"\xef\xbb\xbf" + b"".join(lines)),
}


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(spoil, marks=case(n, what=what, answer=SAME), id=what)
        for n, (what, spoil) in ODD.items()
    ],
)
def test_what_is_odd_and_harmless(bench: Bench, says, spoil) -> None:
    clean = bench.check()
    bench.put(spoil(raw()))
    found = bench.check()
    texts = [[row["text"] for row in each["rows"]] for each in (clean, found)]
    assert texts[0] == texts[1] and found["counts"] == clean["counts"]
    says("all 8 rows used, the same tokens")


@case(31, what="a NUL character", answer=SAME)
def test_a_nul(bench: Bench, says) -> None:
    rows = pairs()
    rows[0]["chosen"][0]["content"] = "a\x00b"
    bench.put(rows)
    (scored, _) = bench.check()["rows"][0]["text"][1:]
    assert scored == "⟦a\x00b<|im_end|>⟧"
    says("the text is whole, with the NUL in it")


@case(22, what="a file without rows", answer=ANSWERED)
def test_no_rows(bench: Bench, says) -> None:
    for content in (b"", b"\n\n"):
        bench.put(content)
        said = bench.train().refused(f"{bench.data}: 0 rows")
    says(said)


@case(9, what="a prompt longer than max_length", answer=COUNTED)
def test_a_prompt_too_long(bench: Bench, says) -> None:
    rows = pairs()
    rows[2]["prompt"] = [turn("user", WORDS)]
    bench.put(rows)
    bench.train().done()
    (entry,) = bench.rows
    assert (entry["line"], entry["id"], entry["reason"]) == (3, "r2", "too_long")
    assert (entry["action"], entry["file"]) == ("dropped", str(bench.data))
    says(f"rows.jsonl: line 3, dropped, {entry['reason']}: {entry['detail']}")


@case(10, what="every prompt longer than max_length", answer=ANSWERED)
def test_all_prompts_too_long(bench: Bench, says) -> None:
    bench.put([{**row, "prompt": [turn("user", WORDS)]} for row in pairs()])
    says(bench.train().refused("0 of 8 rows left (8 dropped/too_long)"))


@case(11, what="responses that are the same once they are cut", answer=COUNTED)
def test_the_same_once_cut(bench: Bench, says) -> None:
    rows = pairs()
    for name in ("chosen", "rejected"):
        rows[4][name] = [turn("assistant", f"{WORDS} {name}")]
    bench.put(rows)
    bench.set(data={"truncation": "right_keep_eos"})
    bench.train().done()
    (entry,) = bench.rows
    assert (entry["line"], entry["reason"]) == (5, "identical_after_truncation")
    says(f"rows.jsonl: line 5, dropped: {entry['detail']}")


@case(12, what="a long prompt cut before responses of unequal length", answer=COUNTED)
def test_both_responses_keep_one_prompt(bench: Bench, says) -> None:
    row = {**pair(0), "prompt": [turn("user", WORDS)], "chosen": [turn("assistant", "dog " * 20)]}
    bench.put([row])
    bench.set(data={"truncation": "left_prompt"})
    found = bench.check()
    (shown,) = found["rows"]
    longest = max(len(response) for response in shown["responses"])
    assert len(shown["prompt"]) + longest == 128 and shown["text"][0].endswith("assistant\n")
    assert found["ledger_counts"] == {"changed/prompt_cut": 1}
    says(f"one prompt for both; {found['ledger'][0]['detail']}")


@case(19, what="the same row ten times", answer=COUNTED)
def test_copies(bench: Bench, says) -> None:
    bench.put(pairs() + [{**pair(3), "id": f"copy{i}"} for i in range(9)])
    found = bench.check()
    assert found["ledger_counts"] == {"noted/duplicate": 9} and read(found) == (17, 0)
    says(f"9 × noted/duplicate: {found['ledger'][0]['detail']}")


@case(23, what="a row of 2 MB", answer=COUNTED)
def test_a_giant_row(bench: Bench, says) -> None:
    rows = pairs()
    rows[1]["chosen"] = [turn("assistant", "dog " * 500_000)]
    bench.put(rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = bench.check()
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 1000
    (entry,) = found["ledger"]
    assert (entry["line"], entry["action"], entry["reason"]) == (2, "dropped", "too_long")
    says(entry["detail"])


@pytest.mark.slow
@case(40, what="4200 rows of one prompt, one of them with more tokens than fit", answer=COUNTED)
def test_many_rows_of_one_prompt(bench: Bench, says) -> None:
    """Memory grows by the tokens that are kept: a few kilobytes a row."""
    prompt, n = [turn("user", "one prompt")], 4200
    with open(bench.data, "w") as stream:
        for i in range(n):
            response = "dog " * 2000 if i == 7 else f"good {i}"
            row = {**pair(i), "prompt": prompt, "chosen": [turn("assistant", response)]}
            stream.write(json.dumps(row) + "\n")
    bench.check("data.limit=4")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = bench.check()
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert read(found) == (n - 1, 1) and grown_kb < 10 * n
    (entry,) = found["ledger"]
    assert (entry["line"], entry["reason"]) == (8, "too_long")
    says(f"{n - 1} rows used; line 8: {entry['detail']}")


@case(42, what="rows that are trained on and held out", answer=COUNTED)
def test_rows_in_both_files(bench: Bench, says) -> None:
    held_out = bench.folder / "eval.jsonl"
    held_out.write_text("".join(json.dumps(pair(i)) + "\n" for i in (1, 3, 30)))
    bench.set(data={"eval": str(held_out)})
    bench.train().done()
    (entry,) = bench.rows
    assert (entry["action"], entry["reason"]) == ("noted", "in_training")
    says(f"rows.jsonl: {entry['detail']}")
    assert entry["detail"].startswith("2 of the held-out rows")
