"""Who is given which task, and votes that are whole, single and kept."""

import sqlite3
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luce.annotate.server import (
    Conflict,
    NotThere,
    Settings,
    Store,
    StoreError,
    Task,
    Verdict,
    order_shown,
    records,
)
from luce.errors import LuceError

A_BETTER = Verdict("ranked", (1, 2))
B_BETTER = Verdict("ranked", (2, 1))


def tasks(n: int) -> list[Task]:
    return [Task(f"q{i}", ("one", "two"), ("m1", "m2"), f"t{i}") for i in range(n)]


def judge_all(store: Store, name: str, verdict: Verdict = A_BETTER) -> list[int]:
    """The tasks that somebody is given, all judged alike."""
    found = []
    while (shown := store.next(name)) is not None:
        store.vote(name, shown.task, f"{name}-{shown.task}-{len(found):016d}", verdict)
        found.append(shown.task)
    return found


def test_each_task_goes_to_as_many_people_as_asked_for_and_never_twice_to_one(store):
    store.add(tasks(7))
    counts = Counter()
    for name in ("anna", "ben", "cleo"):
        given = judge_all(store, name)
        assert len(set(given)) == len(given)
        counts.update(given)
    assert counts == dict.fromkeys(range(1, 8), 2)
    assert store.progress("cleo").left == 0


def test_a_task_that_is_open_comes_again_until_it_is_judged(store):
    store.add(tasks(3))
    first = store.next("anna")
    assert store.next("anna") == first
    store.vote("anna", first.task, "k" * 16, A_BETTER)
    assert store.next("anna").task != first.task


def test_a_task_that_others_hold_is_given_to_no_more_people_unless_they_left(tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings(overlap=1))
    store.add(tasks(1))
    assert store.next("anna") is not None
    assert store.next("ben") is None
    later = Store(tmp_path / "v.sqlite", lease_s=0.0)
    assert later.next("ben") is not None


def test_a_skip_leaves_the_task_to_somebody_else(tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings(overlap=1))
    store.add(tasks(1))
    shown = store.next("anna")
    store.vote("anna", shown.task, "k" * 16, Verdict("skip"))
    assert store.next("anna") is None
    assert store.next("ben").task == shown.task


def test_the_same_key_counts_once_and_another_key_is_refused(store):
    store.add(tasks(2))
    shown = store.next("anna")
    once = store.vote("anna", shown.task, "k" * 16, A_BETTER)
    again = store.vote("anna", shown.task, "k" * 16, B_BETTER)
    assert (once.repeated, again.repeated, again.vote) == (False, True, once.vote)
    with pytest.raises(Conflict, match="already"):
        store.vote("anna", shown.task, "l" * 16, B_BETTER)
    other = store.next("ben")
    with pytest.raises(Conflict, match="another vote"):
        store.vote("ben", other.task, "k" * 16, A_BETTER)
    assert len(records(store)) == 1


def test_a_vote_on_what_was_not_given_is_refused(store):
    store.add(tasks(1))
    with pytest.raises(NotThere):
        store.vote("anna", 1, "k" * 16, A_BETTER)


def test_undo_gives_the_tasks_back_in_order_with_what_was_said(store):
    store.add(tasks(4))
    given = []
    for number in range(3):
        shown = store.next("anna")
        verdict = Verdict("ranked", (2, 1), 3, {}, f"comment {number}")
        given.append((shown, store.vote("anna", shown.task, f"{number:016d}", verdict).vote))
    store.undo("anna", given[2][1])
    store.undo("anna", given[1][1])
    store.undo("anna", given[1][1])  # twice is once
    back = store.next("anna")
    assert (back.task, back.order) == (given[1][0].task, given[1][0].order)
    assert back.before == Verdict("ranked", (2, 1), 3, {}, "comment 1")
    assert [r.vote for r in records(store)] == [given[0][1]]
    assert store.last("anna") == given[0][1]
    with pytest.raises(NotThere):
        store.undo("ben", given[0][1])


def test_an_undone_vote_no_longer_counts_towards_the_overlap(tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings(overlap=1), lease_s=0.0)
    store.add(tasks(1))
    shown = store.next("anna")
    vote = store.vote("anna", shown.task, "k" * 16, A_BETTER).vote
    assert store.next("ben") is None
    store.undo("anna", vote)
    assert store.next("ben") is not None


def test_votes_are_kept_in_the_order_of_the_source_whatever_was_shown(store):
    store.add(tasks(40))
    orders = set()
    for name in ("anna", "ben"):
        while (shown := store.next(name)) is not None:
            orders.add(shown.order)
            right = shown.responses.index("two")
            ranks = (1, 2) if right == 0 else (2, 1)
            store.vote(name, shown.task, f"{name}{shown.task:016d}", Verdict("ranked", ranks))
    assert orders == {(0, 1), (1, 0)}
    assert {record.verdict.ranks for record in records(store)} == {(2, 1)}


def test_the_order_is_seeded_differs_between_people_and_is_balanced():
    orders = [order_shown(3, f"t{i}", "anna", 2) for i in range(2000)]
    assert orders == [order_shown(3, f"t{i}", "anna", 2) for i in range(2000)]
    assert abs(orders.count((0, 1)) - 1000) < 4 * 22.4  # four standard deviations
    others = [order_shown(3, f"t{i}", "ben", 2) for i in range(2000)]
    assert abs(sum(a == b for a, b in zip(orders, others, strict=True)) - 1000) < 4 * 22.4


@given(st.permutations(range(5)), st.permutations([1, 2, 2, 4, 5]))
def test_to_the_order_shown_and_back_is_the_same(order, ranks):
    verdict = Verdict("ranked", tuple(ranks), 2, {"d": (1, 2, 3, 4, None)}, "c")
    assert verdict.placed(order).placed(order, back=True) == verdict


def test_checks_come_at_their_turns_to_everybody_and_count_for_nothing(tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings(overlap=1, check_every=2))
    store.add([*tasks(4), *(Task(f"c{i}", ("good", "bad"), None, f"c{i}", 0) for i in range(3))])
    for name, ordinary in (("anna", 4), ("ben", 0)):
        given = judge_all(store, name)
        kinds = [r.task.best is None for r in records(store) if r.annotator == name]
        assert kinds.count(True) == ordinary
        if ordinary:
            assert kinds == [True, True, False, True, True, False]
            assert len(given) == 6


def test_those_who_adjudicate_get_what_others_disagree_on_once(store):
    store.add(tasks(4))
    judge_all(store, "anna")
    for number in range(4):
        shown = store.next("ben")
        store.vote("ben", shown.task, f"ben{number:016d}", A_BETTER)
    said = {}
    for record in records(store):
        said.setdefault(record.task.id, []).append(record.verdict.ranks)
    disputed = {id for id, ranks in said.items() if ranks[0] != ranks[1]}
    given = []
    while (shown := store.next("cleo", adjudicates=True)) is not None:
        assert shown.adjudicates and len(shown.others) == 2
        assert shown.others[0].ranks != shown.others[1].ranks
        given.append(shown.task)
        store.vote("cleo", shown.task, f"cleo{shown.task:016d}", A_BETTER)
        assert store.next("dora", adjudicates=True) is None or len(given) < len(disputed)
    settled = {r.task.id for r in records(store) if r.adjudicates}
    assert disputed and settled <= disputed and len(given) == len(settled)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("ranked", (1, 1)),
        Verdict("ranked", (1, 3)),
        Verdict("ranked", (1, 2, 3)),
        Verdict("ranked", ()),
        Verdict("ranked", (0, 1)),
        Verdict("ranked", (1, 2), 4),
        Verdict("tie", (1, 2)),
        Verdict("tie", (1, 1), 2),
        Verdict("bad", ()),
        Verdict("skip", (1, 2)),
        Verdict("ranked", (1, 2), None, {"unknown": (1, 2)}),
    ],
)
def test_what_is_no_verdict_is_refused_and_nothing_is_kept(store, verdict):
    store.add(tasks(1))
    shown = store.next("anna")
    with pytest.raises(LuceError):
        store.vote("anna", shown.task, "k" * 16, verdict)
    assert records(store) == [] and store.next("anna") == shown


def test_settings_stay_but_the_overlap_may_grow(tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings(seed=3, overlap=1))
    store.add(tasks(2))
    judge_all(store, "anna")
    assert store.next("ben") is None
    with pytest.raises(LuceError, match="seed 3, now it is 4"):
        Store(tmp_path / "v.sqlite", Settings(seed=4))
    more = Store(tmp_path / "v.sqlite", Settings(seed=3, overlap=2))
    assert len(judge_all(more, "ben")) == 2


def test_the_same_tasks_again_change_nothing_and_others_of_one_id_are_refused(store):
    assert store.add(tasks(3)) == 3
    assert store.add(tasks(4)) == 1
    with pytest.raises(LuceError, match="'t0'"):
        store.add([Task("another question", ("one", "two"), None, "t0")])


def test_a_full_disk_is_an_error_and_the_vote_is_absent(store):
    store.add(tasks(1))
    shown = store.next("anna")
    pages = store.database.do(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    store.database.do(lambda c: c.execute(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(StoreError, match="free some space"):
        store.vote("anna", shown.task, "k" * 16, Verdict("ranked", (1, 2), None, {}, "x" * 50000))
    assert records(store) == []
    store.database.do(lambda c: c.execute("PRAGMA max_page_count = 100000"))
    assert not store.vote("anna", shown.task, "k" * 16, A_BETTER).repeated


def test_a_file_that_is_another_programs_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "theirs.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path, Settings())
    assert path.read_bytes() == before
    (tmp_path / "text").write_text("no database at all, " * 99)
    with pytest.raises(StoreError, match="damaged"):
        Store(tmp_path / "text", Settings())
