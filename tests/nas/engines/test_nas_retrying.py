"""What becomes of jobs whose workers are lost, and of those that have too little memory beside others."""

from __future__ import annotations

from itertools import cycle

import pytest

from nas.engines.crashes import Crashes, Texts
from nas.engines.retrying import ALONE_WITHIN_S, MOST_LOST_IN_A_ROW, MOST_LOST_ON_A_NODE, Attempt, Place, Retrying, Room
from search_spaces import InputSpec, SearchSpace
from trials.errors import MachineFailing
from trials.trial import EpochPoint, Failure, TrialJob, TrialResult, TrialState

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
ONE: Room = {"a": (1,)}
TWO_NODES: Room = {"a": (2,), "b": (2,)}


class Jobs:
    """So many jobs, and what is told of each."""

    def __init__(self, count: int) -> None:
        self._waiting = [TrialJob(n, "sampler", SPACE.baseline, n, 1, 1, 1) for n in range(count)]
        self._open: set[int] = set()
        self.results: dict[int, TrialResult] = {}
        self.lost: dict[int, str] = {}

    @property
    def finished(self) -> bool:
        return not self._waiting and not self._open

    def next_job(self) -> TrialJob | None:
        if not self._waiting:
            return None
        job = self._waiting.pop(0)
        self._open.add(job.number)
        return job

    def advance(self, number: int, point: EpochPoint) -> None:
        assert number in self._open

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        self._open.remove(result.number)
        self.results[result.number] = result

    def fail(self, number: int, failure: Failure, error: str) -> None:
        assert failure is Failure.WORKER_LOST
        self._open.remove(number)
        self.lost[number] = error


class Played:
    """Begins what is handed out, and ends it as it is told."""

    def __init__(self, count: int, room: Room, most: int | None = None, known: Texts | None = None) -> None:
        self.jobs, self.room, self.said = Jobs(count), room, list[str]()
        self.now_s = 0.0
        self.kept: Texts = {}
        crashes = Crashes(known, self.keep)
        self.retrying = Retrying(self.jobs, self.said.append, most, clock=lambda: self.now_s, crashes=crashes)
        self.attempts: dict[int, Attempt] = {}

    def keep(self, texts: Texts) -> None:
        self.kept = dict(texts)

    def begin(self, node: str = "a", device: str = "cpu") -> int:
        attempt = self.retrying.next_attempt(self.room)
        assert attempt is not None
        self.attempts[attempt.job.number] = attempt
        self.retrying.begun(attempt.job.number, Place(node, node, device))
        return attempt.job.number

    def end(self, number: int, failure: Failure | None = None) -> None:
        state = TrialState.COMPLETE if failure is None else TrialState.FAILED
        score = 0.5 if failure is None else None
        result = TrialResult.of(self.attempts[number].job, state, score=score, failure=failure, error=failure)
        self.retrying.record(result, None)

    def lose(self, number: int, failure: Failure = Failure.WORKER_LOST, node_died: bool = False) -> None:
        self.retrying.lost(number, failure, "gone", node_died)


def test_a_job_whose_worker_is_lost_is_begun_again_and_what_happened_stands_with_its_result() -> None:
    played = Played(2, ONE)
    assert played.begin() == 0
    played.lose(0)
    assert played.begin() == 1  # something else first, which may tell whose fault it was
    played.end(1)
    assert played.begin() == 0
    played.end(0)
    assert played.jobs.finished
    assert played.jobs.results[0].attempts == 2
    assert played.jobs.results[0].environment["earlier_attempts"] == ["gone [node a (a)]"]
    assert played.jobs.results[1].attempts == 1


def test_an_architecture_that_ends_its_worker_twice_while_others_go_on_has_failed() -> None:
    played = Played(3, ONE)
    played.begin()
    played.lose(0)
    played.end(played.begin())
    assert played.begin() == 0
    played.lose(0)
    failed = played.jobs.results[0]
    assert (failed.state, failed.failure, failed.attempts) == (TrialState.FAILED, Failure.CRASHED, 2)
    assert failed.error == "its worker died 2 times: gone [node a (a)]"
    assert played.begin() == 2


def test_crashes_are_kept_for_a_driver_that_dies_until_the_job_ends() -> None:
    first = Played(3, ONE)
    first.begin()
    first.lose(0)
    assert list(first.kept.values()) == [["gone [node a (a)]"]]
    # The driver dies; the next one begins it anew, and it crashes again.
    second = Played(3, ONE, known=first.kept)
    assert second.begin() == 0
    second.lose(0)
    assert second.jobs.results == {}  # nothing has ended yet to hold it against
    assert list(second.kept.values()) == [["gone [node a (a)]"] * 2]
    third = Played(3, ONE, known=second.kept)
    for ended in (second, third):
        assert ended.begin() == 1  # it is not tried a third time
        ended.end(1)
        failed = ended.jobs.results[0]
        assert (failed.failure, failed.attempts) == (Failure.CRASHED, 2)
        assert failed.error == "its worker died 2 times: gone [node a (a)]"
        assert ended.kept == {}


def test_what_crashed_in_earlier_sessions_and_ends_well_is_forgiven() -> None:
    first = Played(1, ONE)
    first.begin()
    first.lose(0)
    second = Played(1, ONE, known=first.kept)
    second.end(second.begin())
    assert second.kept == {}
    assert second.jobs.results[0].attempts == 2
    assert second.jobs.results[0].environment["earlier_attempts"] == ["gone [node a (a)]"]


def test_what_crashed_too_often_and_is_all_that_is_left_has_failed_without_another_try() -> None:
    first = Played(1, ONE)
    for _ in range(2):
        first.begin()
        first.lose(0)
    second = Played(1, ONE, known=first.kept)
    assert second.retrying.next_attempt(ONE) is None
    assert second.jobs.finished
    assert second.jobs.results[0].failure is Failure.CRASHED


def test_crashes_of_a_machine_that_loses_all_are_not_kept() -> None:
    played = Played(40, ONE)
    for _ in range(MOST_LOST_IN_A_ROW - 1):
        played.lose(played.begin())
    assert played.kept
    last = played.begin()
    with pytest.raises(MachineFailing):
        played.lose(last)
    assert played.kept == {}


def test_a_crash_on_a_node_that_turns_out_to_be_dead_is_not_the_architectures() -> None:
    played = Played(3, TWO_NODES)
    played.begin("a")
    played.lose(0)
    played.end(played.begin("b"))
    played.room = {"b": (2,)}
    assert played.begin("b") == 0
    played.lose(0)
    assert played.jobs.results.keys() == {1}
    played.end(played.begin("b"))
    assert played.begin("b") == 0
    played.end(0)
    assert played.jobs.results[0].attempts == 3


def test_the_last_one_is_judged_too_for_workers_that_were_warm_have_died_of_it() -> None:
    played = Played(1, ONE)
    for _ in range(2):
        played.begin()
        played.lose(0)
    assert played.retrying.next_attempt(ONE) is None
    assert played.jobs.results[0].failure is Failure.CRASHED


def test_what_machines_take_is_begun_at_once_elsewhere_and_is_told_back_as_lost_when_they_go_on_taking_it() -> None:
    played = Played(2, TWO_NODES)
    for node in ("a", "b", "a"):
        assert played.begin(node) == 0
        played.lose(0, node_died=True)
    assert played.attempts[0].avoided == ()  # it was lost on both: there is no elsewhere left
    assert played.jobs.lost == {0: "lost with its worker 3 times: gone [node a (a)]; gone [node b (b)]"}
    assert played.jobs.results == {}
    played.end(played.begin())
    assert played.jobs.finished
    again = Played(1, TWO_NODES)
    again.begin("a")
    again.lose(0, node_died=True)
    again.begin("b")
    assert again.attempts[0].avoided == ("a",)


def test_a_node_that_loses_worker_after_worker_is_avoided_and_named_and_no_architecture_blamed() -> None:
    played = Played(40, TWO_NODES)
    while not played.jobs.finished:
        attempt = played.retrying.next_attempt(TWO_NODES)
        assert attempt is not None
        number = attempt.job.number
        played.attempts[number] = attempt
        node = "b" if "a" in attempt.avoided else "a"
        played.retrying.begun(number, Place(node, f"10.0.0.{node}", "cpu"))
        if node == "a":
            played.lose(number)
        else:
            played.end(number)
    assert {r.state for r in played.jobs.results.values()} == {TrialState.COMPLETE}
    assert len(played.jobs.results) == 40
    assert not played.jobs.lost
    (said,) = played.said
    assert said == f"node 10.0.0.a (a) keeps losing workers and is avoided, {MOST_LOST_ON_A_NODE} in a row: gone " + (
        "[node 10.0.0.a (a)]"
    )
    assert sum(r.attempts - 1 for r in played.jobs.results.values()) == MOST_LOST_ON_A_NODE


def test_a_gpu_that_keeps_losing_workers_is_sick_and_neither_its_node_nor_an_architecture_is_blamed() -> None:
    played = Played(9, {"a": (1, 1, 1), "b": (1,)})
    good = played.begin("a", "0")
    for _ in range(MOST_LOST_ON_A_NODE):
        assert played.retrying.sick == set()
        played.lose(played.begin("a", "1"))
    assert played.retrying.sick == {Place("a", "a", "1")}
    assert played.retrying.avoided == set()
    played.end(good)  # on another GPU: that says nothing of this one
    assert played.retrying.sick == {Place("a", "a", "1")}
    assert len(played.kept) == MOST_LOST_ON_A_NODE
    played.retrying.set_aside(Place("a", "a", "1"))
    assert played.kept == {}
    assert played.said == [f"node a (a), GPU 1 keeps losing workers and is set aside, {MOST_LOST_ON_A_NODE} in a row"]
    assert played.retrying.sick == set()


def test_an_architecture_that_is_lost_twice_by_one_gpu_of_several_has_not_crashed_and_is_lost_in_the_end() -> None:
    played = Played(9, {"a": (1, 1)})
    first = played.begin("a", "1")
    for left in (2, 1, 0):
        played.lose(first)
        assert played.jobs.results.keys() == set(range(1, 3 - left))
        if left:
            played.end(played.begin("a", "0"))
            assert played.begin("a", "1") == first
    assert "lost with its worker 3 times" in played.jobs.lost[first]


def test_a_node_that_loses_workers_on_all_its_gpus_is_avoided() -> None:
    played = Played(9, {"a": (1, 1), "b": (1,)})
    for device in ("0", "1", "0"):
        played.lose(played.begin("a", device))
    assert played.retrying.avoided == {"a"}
    assert played.retrying.sick == set()


def test_the_only_node_is_not_avoided_and_where_all_is_lost_the_search_ends() -> None:
    played = Played(40, ONE)
    for _ in range(MOST_LOST_IN_A_ROW - 1):
        played.lose(played.begin())
    last = played.begin()
    with pytest.raises(MachineFailing, match=r"6 workers were lost in a row on node a \(a\), and no trial has ended"):
        played.lose(last)
    assert played.jobs.results == {}  # nobody is blamed for it
    assert played.jobs.lost == {}


def test_a_search_that_the_machine_ends_names_the_nodes_and_their_gpus_that_fail() -> None:
    room: Room = {"a": (1, 1, 1), "b": (1,)}
    played = Played(40, room)
    places = cycle([("a", "2"), ("b", "0"), ("a", "0")])

    def lose_all() -> None:
        while True:
            played.lose(played.begin(*next(places)))

    with pytest.raises(MachineFailing) as failing:
        lose_all()
    assert "workers were lost in a row on node a (a), GPUs 0, 2; node b (b), GPU 0, and no trial" in str(failing.value)
    assert "(the last: gone [node b (b), GPU 0])" in str(failing.value)
    assert "GPU" not in str(Place("a", "10.0.0.1", "cpu"))


def test_a_trial_out_of_memory_beside_another_is_begun_again_alone_while_others_go_on_elsewhere() -> None:
    played = Played(9, TWO_NODES)
    assert [played.begin(node) for node in "aabb"] == [0, 1, 2, 3]
    assert played.retrying.next_attempt(TWO_NODES) is None  # full
    played.end(0, Failure.OUT_OF_MEMORY)
    attempt = played.retrying.next_attempt(TWO_NODES)
    assert attempt is not None
    assert (attempt.job.number, attempt.alone, attempt.where) == (0, True, "a")
    assert played.retrying.next_attempt(TWO_NODES) is None  # b is full, and a is to be emptied
    played.end(2)
    assert played.begin("b") == 4
    assert played.attempts[4].avoided == ("a",)
    played.end(1)
    assert played.retrying.next_attempt(TWO_NODES) is None  # what was freed is not given away
    played.retrying.begun(0, Place("a", "a", "cpu"))
    assert played.retrying.next_attempt(TWO_NODES) is None  # it has all of a
    played.end(3)
    assert played.begin("b") == 5
    assert played.attempts[5].avoided == ()
    played.attempts[0] = attempt
    played.end(0)
    assert played.jobs.results[0].attempts == 2
    assert played.begin("a") == 6


def test_out_of_memory_with_nothing_beside_it_or_alone_it_has_failed() -> None:
    played = Played(3, {"a": (2,)}, most=2)
    played.begin()
    played.end(0, Failure.OUT_OF_MEMORY)
    assert played.jobs.results[0].attempts == 1
    assert [played.begin(), played.begin()] == [1, 2]
    played.lose(2, Failure.OUT_OF_MEMORY)  # the kernel took it
    assert played.retrying.next_attempt(played.room) is not None
    played.end(1)
    played.retrying.begun(2, Place("a", "a", "cpu"))
    played.end(2, Failure.OUT_OF_MEMORY)
    assert (played.jobs.results[2].failure, played.jobs.results[2].attempts) == (Failure.OUT_OF_MEMORY, 2)
    assert played.jobs.finished


@pytest.mark.parametrize("room", [{"a": (2,)}, TWO_NODES])
def test_one_that_waits_in_vain_for_a_device_to_itself_is_begun_beside_others_and_what_comes_of_it_stands(
    room: Room,
) -> None:
    played = Played(3, room)
    assert [played.begin(), played.begin()] == [0, 1]
    played.end(0, Failure.OUT_OF_MEMORY)
    attempt = played.retrying.next_attempt(room)
    assert attempt is not None
    assert attempt.alone
    assert played.retrying.crowded_out() is None
    played.now_s = 10 * ALONE_WITHIN_S
    assert played.retrying.crowded_out() is None  # what it waits for is ours
    played.end(1)
    assert played.retrying.crowded_out() is None
    played.now_s += ALONE_WITHIN_S / 2
    # What is handed out anew meanwhile has not waited less for it.
    played.retrying.take_back()
    attempt = played.retrying.next_attempt(room)
    assert attempt is not None
    assert attempt.alone
    played.now_s += ALONE_WITHIN_S / 2
    assert played.retrying.crowded_out() == 0
    assert played.retrying.crowded_out() is None
    assert played.begin("b" if "b" in room else "a") == 0
    assert not played.attempts[0].alone
    assert played.attempts[0].avoided == (("a",) if "b" in room else ())
    assert played.begin("b" if "b" in room else "a") == 2  # nothing is held back for it
    played.end(0, Failure.OUT_OF_MEMORY)
    found = played.jobs.results[0]
    assert (found.failure, found.attempts) == (Failure.OUT_OF_MEMORY, 2)
    assert found.environment["earlier_attempts"] == [
        "out of memory beside other trials, then alone",
        f"no device was free for it alone within {ALONE_WITHIN_S:g} s, then beside others",
    ]


def test_one_that_runs_alone_does_not_wait() -> None:
    played = Played(2, {"a": (2,)})
    assert [played.begin(), played.begin()] == [0, 1]
    played.end(0, Failure.OUT_OF_MEMORY)
    played.end(1)
    assert played.begin() == 0
    played.now_s = 10 * ALONE_WITHIN_S
    assert played.retrying.crowded_out() is None


def test_trials_on_different_cards_are_not_beside_each_other() -> None:
    played = Played(2, {"a": (4, 4)})
    played.begin(device="0")
    played.begin(device="1")
    played.end(0, Failure.OUT_OF_MEMORY)
    assert played.jobs.results[0].attempts == 1


def test_a_trial_that_hung_is_not_tried_again() -> None:
    played = Played(1, ONE)
    played.begin()
    played.lose(0, Failure.TIMED_OUT)
    assert played.jobs.results[0].failure is Failure.TIMED_OUT


def test_what_waits_for_nodes_that_are_there_no_more_is_handed_out_anew() -> None:
    played = Played(2, TWO_NODES)
    played.begin("a")
    played.lose(0, node_died=True)
    attempt = played.retrying.next_attempt(TWO_NODES)
    assert attempt is not None
    assert attempt.avoided == ("a",)
    alone = {"a": (2,)}

    def fits(waiting: Attempt) -> bool:
        return not set(alone) <= set(waiting.avoided)

    assert played.retrying.stuck(fits)
    played.retrying.take_back()
    assert not played.retrying.stuck(fits)  # nothing waits
    played.room = alone
    assert played.begin("a") == 0
    assert played.attempts[0].avoided == ()
    assert not played.retrying.stuck(fits)  # it runs
    played.end(0)
    assert played.jobs.results[0].attempts == 2


def test_as_many_run_as_there_is_room_for_when_nodes_join_and_leave() -> None:
    played = Played(20, {"a": (1,)})
    played.begin("a")
    assert played.retrying.next_attempt({"a": (1,)}) is None
    played.room = {"a": (1,), "b": (2,)}
    assert [played.begin("b"), played.begin("b")] == [1, 2]
    assert played.retrying.next_attempt(played.room) is None
    for number in (1, 2):
        played.lose(number, node_died=True)
    played.room = {"a": (1,)}
    assert played.retrying.next_attempt(played.room) is None
    played.end(0)
    assert played.begin("a") == 1
    bounded = Played(9, {"a": (8,)}, most=3)
    assert [bounded.begin() for _ in range(3)] == [0, 1, 2]
    assert bounded.retrying.next_attempt(bounded.room) is None
