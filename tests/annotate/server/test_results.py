"""What the votes say of the people, with numbers worked out by hand, and people as an annotator."""

import threading
import time

import pytest

from luce.annotate.server import People, Settings, Store, Task, Verdict, records, results
from luce.errors import LuceError
from luce.types import Annotator, Comparison


def say(store: Store, name: str, said: dict[str, Verdict], adjudicates: bool = False) -> None:
    """Judge every task one is given, by the id of the task, in the order of the source."""
    number = 0
    ids = {n: i for n, i in store.database.do(lambda c: c.execute("SELECT number, id FROM tasks"))}
    while (shown := store.next(name, adjudicates)) is not None:
        verdict = said[ids[shown.task]].placed(shown.order, back=True)
        store.vote(name, shown.task, f"{name}-{number:016d}", verdict)
        number += 1


FIRST, SECOND = Verdict("ranked", (1, 2)), Verdict("ranked", (2, 1))
TIE, BAD, SKIP = Verdict("tie", (1, 1)), Verdict("bad", (1, 1)), Verdict("skip")


def test_the_agreement_table(store):
    store.add([Task(f"q{i}", ("short", "much longer"), None, f"t{i}") for i in range(4)])
    say(store, "anna", {"t0": FIRST, "t1": SECOND, "t2": SECOND, "t3": FIRST})
    say(store, "ben", {"t0": FIRST, "t1": FIRST, "t2": SECOND, "t3": FIRST})
    found = results(store, resamples=50)
    (pair,) = found.agreement.pairs
    assert (found.tasks, found.complete) == (4, 4)
    assert pair.agreement.value == 3 / 4
    # anna: 2 first, 2 second; ben: 3 and 1; by chance (2·3 + 2·1)/16 = 1/2
    assert pair.kappa.value == pytest.approx((3 / 4 - 1 / 2) / (1 - 1 / 2))
    # 8 votes, 5 first and 3 second: expected disagreement 2·5·3/(8·7); observed 1/4
    assert found.agreement.alpha["nominal"].value == pytest.approx(1 - (1 / 4) / (30 / 56))
    anna, ben = found.people
    assert (anna.name, anna.votes, anna.longer.value) == ("anna", 4, 2 / 4)
    assert ben.longer.value == 1 / 4
    assert "prefers the longer one" in "\n".join(found.lines())
    assert found.plain()["people"][0]["longer_preferred"]["value"] == 0.5


def test_who_always_prefers_what_is_shown_first_is_seen(tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings())
    store.add([Task(f"q{i}", ("same", "size"), None, f"t{i}") for i in range(60)])
    number = 0
    while (shown := store.next("anna")) is not None:
        store.vote("anna", shown.task, f"{number:016d}", FIRST)
        number += 1
    (anna,) = results(store, resamples=200).people
    assert anna.position.first_preferred.value == 1.0
    assert anna.position.effect.value == 0.5
    assert anna.longer.why and anna.seconds is not None
    store.close()


def test_ties_skips_checks_and_adjudications_are_counted_as_what_they_are(tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings(overlap=2, check_every=1))
    store.add([Task(f"q{i}", ("one", "three"), None, f"t{i}") for i in range(3)])
    store.add([Task("check", ("good", "bad"), None, "c", best=0)])
    say(store, "anna", {"t0": FIRST, "t1": TIE, "t2": SKIP, "c": FIRST})
    say(store, "ben", {"t0": SECOND, "t1": BAD, "t2": FIRST, "c": SECOND})
    say(store, "cleo", {"t0": FIRST, "t1": TIE}, adjudicates=True)
    found = results(store, resamples=50)
    anna, ben = found.people
    assert [(p.votes, p.skipped, p.checks, p.passed) for p in (anna, ben)] == [
        (2, 1, 1, 1),
        (3, 0, 1, 0),
    ]
    assert found.agreement.categories == {0.0: 1, 0.5: 2, 1.0: 2}
    assert (anna.longer.value, ben.longer.value) == (0.0, 1 / 2)
    assert sum(record.adjudicates for record in records(store)) == 2
    store.close()


def test_rankings_are_counted_pair_by_pair(store):
    store.add([Task("q", ("a", "b", "c"), None, "t")])
    say(store, "anna", {"t": Verdict("ranked", (1, 2, 3))})
    say(store, "ben", {"t": Verdict("ranked", (1, 2, 2))})
    found = results(store, resamples=50).agreement
    assert (found.items, found.prompts) == (3, 1)
    assert found.pairs[0].agreement.value == pytest.approx(2 / 3)


def test_an_empty_store_has_no_agreement_and_says_so(store):
    store.add([Task("q", ("a", "b"))])
    found = results(store, resamples=50)
    assert found.people == () and found.agreement.alpha["nominal"].why
    assert found.lines()


def test_people_are_an_annotator(tmp_path):
    path = tmp_path / "v.sqlite"
    people = People(path, Settings(overlap=2), wait_s=60.0, look_s=0.02)
    assert isinstance(people, Annotator)
    comparisons = [Comparison(f"q{i}", "one", "two") for i in range(3)]

    def judge() -> None:
        own = Store(path)
        ids = {Task(c.prompt, (c.a, c.b)).id: c.prompt for c in comparisons}
        while len(own.database.do(lambda c: c.execute("SELECT id FROM tasks").fetchall())) < 3:
            time.sleep(0.02)
        wanted = {"q0": (FIRST, FIRST), "q1": (FIRST, SECOND), "q2": (TIE, SECOND)}
        for name, which in (("anna", 0), ("ben", 1)):
            say(own, name, {id: wanted[prompt][which] for id, prompt in ids.items()})
        own.close()

    thread = threading.Thread(target=judge)
    thread.start()
    assert people(comparisons) == [1.0, 0.5, 0.25]
    thread.join()
    # nothing is asked again, and a settled disagreement is the settler's vote
    say(
        people.store,
        "cleo",
        {Task("q1", ("one", "two")).id: SECOND} | {Task("q2", ("one", "two")).id: SECOND},
        adjudicates=True,
    )
    assert people([comparisons[1], comparisons[0], comparisons[1]]) == [0.0, 1.0, 0.0]
    people.store.close()


def test_people_who_are_too_slow_are_waited_for_again(tmp_path):
    people = People(tmp_path / "v.sqlite", wait_s=0.05, look_s=0.01)
    with pytest.raises(LuceError, match="1 of 1 comparisons"):
        people([Comparison("q", "one", "two")])
    say(people.store, "anna", {Task("q", ("one", "two")).id: SECOND})
    assert people([Comparison("q", "one", "two")]) == [0.0]
    people.store.close()
