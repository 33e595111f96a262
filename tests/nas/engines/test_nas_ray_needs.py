"""How many trials have room in a cluster, and what one that is to be alone takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from nas.engines.interruption import Interruption
from nas.engines.ray_tune import RayEngine, actors
from nas.engines.ray_tune.cluster import Needs
from nas.engines.ray_tune.searcher import DriverSearcher
from nas.engines.retrying import Attempt, Place, Retrying
from nas.settings.errors import ConfigError
from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig
from trials.errors import DeviceLost, MachineFailing
from trials.judge import TrialOutcome, TrialPlan
from trials.trial import EpochPoint, Failure, LatencyProtocol, Recipe, TrialJob, TrialResult, TrialState

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
JOB = TrialJob(0, "baseline", SPACE.baseline, 1, 1, 1, 1)


def nodes(**resources: dict[str, float]) -> list[dict[str, Any]]:
    return [{"NodeID": name, "Alive": True, "Resources": there} for name, there in resources.items()]


@pytest.mark.parametrize(
    ("cpus", "gpus", "room", "slots"),
    [
        (1.0, 0.0, {"head": (4,), "big": (16,)}, 20),
        (3.0, 0.0, {"head": (1,), "big": (5,)}, 6),
        (1.0, 1.0, {"big": (1, 1)}, 2),
        (1.0, 0.25, {"big": (4, 4)}, 8),
        (3.0, 0.25, {"big": (4, 1)}, 5),
        (1.0, 0.1, {"big": (10, 6)}, 16),
        (1.0, 2.0, {"big": (1,)}, 1),
        (1.0, 4.0, {}, 0),
    ],
)
def test_how_many_have_room(
    monkeypatch: pytest.MonkeyPatch, cpus: float, gpus: float, room: dict[str, tuple[int, ...]], slots: int
) -> None:
    there = nodes(head={"CPU": 4.0, "memory": 1e9}, big={"CPU": 16.0, "GPU": 2.0}, none={"memory": 1e9})
    monkeypatch.setattr("nas.engines.ray_tune.cluster._nodes", lambda: there)
    needs = Needs(cpus, gpus)
    assert needs.room() == room
    assert needs.slots == slots


def test_one_that_is_to_be_alone_takes_a_whole_gpu_or_all_cores_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    there = nodes(a={"CPU": 4.0}, b={"CPU": 16.0, "GPU": 2.0})
    monkeypatch.setattr("nas.engines.ray_tune.cluster._nodes", lambda: there)
    assert Needs(1.0, 0.25).bundle(Attempt(JOB)) == {"CPU": 1.0, "GPU": 0.25}
    assert Needs(1.0, 0.25).bundle(Attempt(JOB, alone=True, where="b")) == {"CPU": 1.0, "GPU": 1.0}
    assert Needs(1.0, 2.0).bundle(Attempt(JOB, alone=True, where="b")) == {"CPU": 1.0, "GPU": 2.0}
    assert Needs(1.0, 0.0).bundle(Attempt(JOB)) == {"CPU": 1.0}
    assert Needs(1.0, 0.0).bundle(Attempt(JOB, alone=True, where="a")) == {"CPU": 4.0}
    assert Needs(1.0, 0.0).bundle(Attempt(JOB, alone=True, where="gone")) == {"CPU": 16.0}
    assert Needs(1.0, 0.0).bundle(Attempt(JOB, alone=True)) == {"CPU": 16.0}


def test_what_fits_where_and_which_node_is_at_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    there = nodes(a={"CPU": 4.0}, b={"CPU": 16.0, "GPU": 2.0})
    for node, address in zip(there, ("10.0.0.1", "10.0.0.2"), strict=True):
        node["NodeManagerAddress"] = address
    monkeypatch.setattr("nas.engines.ray_tune.cluster._nodes", lambda: there)
    assert Needs(8.0, 0.0).fits(Attempt(JOB))
    assert not Needs(8.0, 0.0).fits(Attempt(JOB, avoided=("b",)))
    assert not Needs(32.0, 0.0).fits(Attempt(JOB))
    assert Needs(1.0, 0.0).place_at("10.0.0.2") == Place("b", "10.0.0.2", "unknown")
    assert Needs(1.0, 0.0).place_at("10.0.0.3") is None
    there[0]["NodeManagerAddress"] = "10.0.0.2"
    assert Needs(1.0, 0.0).place_at("10.0.0.2") is None


def test_what_is_to_be_avoided_is_a_condition_on_the_node() -> None:
    free = actors.resources_of({"bundle": {"CPU": 1.0}, "avoided": []})
    assert free == actors.resources_of({"bundle": {"CPU": 1.0}, "avoided": []})
    elsewhere = actors.resources_of({"bundle": {"CPU": 1.0}, "avoided": ["a", "b"]})
    assert elsewhere != free
    assert elsewhere._bound.kwargs["bundle_label_selector"] == [{"ray.io/node-id": "!in(a,b)"}]


def test_where_rays_processes_do_not_start_in_time_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(**options: Any) -> None:
        raise Exception("The current node timed out during startup. This could happen because")  # Ray's own

    monkeypatch.setattr("ray.init", late)
    with pytest.raises(MachineFailing, match="this machine may be too busy; give the same command again, or --engine"):
        RayEngine(Interruption(), workers=1, device="cpu")


class Told:
    """A source of one job, and what is told of its worker."""

    def __init__(self) -> None:
        self.waiting, self.failures = [JOB], list[Failure]()

    @property
    def finished(self) -> bool:
        return not self.waiting

    def next_job(self) -> TrialJob | None:
        return self.waiting.pop() if self.waiting else None

    def advance(self, number: int, point: EpochPoint) -> None: ...

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        assert result.failure is not None
        self.failures.append(result.failure)

    def fail(self, number: int, failure: Failure, error: str) -> None:
        self.failures.append(failure)


@pytest.mark.parametrize(("node", "failures"), [("here", [Failure.OUT_OF_MEMORY]), ("elsewhere", [])])
def test_what_this_machines_kernel_killed_for_memory_is_no_worker_of_another_node(
    monkeypatch: pytest.MonkeyPatch, node: str, failures: list[Failure]
) -> None:
    there = nodes(here={"CPU": 1.0}, elsewhere={"CPU": 1.0})
    monkeypatch.setattr("nas.engines.ray_tune.cluster._nodes", lambda: there)
    monkeypatch.setattr("nas.engines.ray_tune.cluster.Needs.is_here", lambda self, place: place.node == "here")
    kills = iter([3, 4])
    monkeypatch.setattr("nas.engines.ray_tune.searcher.kernel_kills", lambda: next(kills))
    told = Told()
    searcher = DriverSearcher(Retrying(told, print), Needs(1.0, 0.0), 10)
    assert searcher.suggest("t")["job"] is JOB
    searcher.told("t", {"begun": actors.Begun(Place(node, node, "cpu"), None)})
    searcher.lost("t", "The actor died unexpectedly: SIGKILL", None)
    assert searcher.failure is None
    assert told.failures == failures


def test_a_worker_is_no_other_processes_victim_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was killed for memory before a trial began, or was another worker, is not why this one is lost."""
    monkeypatch.setattr("nas.engines.ray_tune.cluster._nodes", lambda: nodes(here={"CPU": 1.0}))
    monkeypatch.setattr("nas.engines.ray_tune.cluster.Needs.is_here", lambda self, place: True)
    counted = [3]
    monkeypatch.setattr("nas.engines.ray_tune.searcher.kernel_kills", lambda: counted[0])
    searcher = DriverSearcher(Retrying(Told(), print), Needs(1.0, 0.0), 10)
    counted[0] = 4  # of somebody's browser
    here = Place("here", "here", "cpu")
    found = []
    for trial in ("a", "b"):
        searcher._begun[trial] = 0.0, actors.Begun(here, None), counted[0]
    found.append(searcher._killed_for_memory(here, 4))
    counted[0] = 5
    found += [searcher._killed_for_memory(here, 4), searcher._killed_for_memory(here, 4)]
    assert found == [False, True, False]


def test_a_worker_whose_device_computes_no_more_ends_and_blames_no_architecture() -> None:
    failed = TrialResult.of(JOB, TrialState.FAILED, failure=Failure.ERROR, error="RuntimeError: CUDA error: illegal")
    actor = object.__new__(actors.TrialActor)

    def asked(answers: bool) -> dict[str, Any]:
        actor._bench = cast("Any", SimpleNamespace(answers=lambda: answers))
        actor._events = iter([TrialOutcome(failed, None)])
        return actor.step()

    assert asked(answers=True)["result"] is failed
    with pytest.raises(DeviceLost, match="does not compute any more, since RuntimeError: CUDA error: illegal"):
        asked(answers=False)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> tuple[Told, DriverSearcher, list[float]]:
    """A job that Tune has taken as trial `t`, by a clock that the test sets."""
    clock = [0.0]
    monkeypatch.setattr("nas.engines.ray_tune.cluster._nodes", lambda: nodes(a={"CPU": 2.0}))
    monkeypatch.setattr("nas.engines.ray_tune.cluster.Needs.is_here", lambda self, place: False)
    monkeypatch.setattr("nas.engines.ray_tune.searcher.time.monotonic", lambda: clock[0])
    told = Told()
    searcher = DriverSearcher(Retrying(told, print), Needs(1.0, 0.0), 10)
    searcher.suggest("t")
    return told, searcher, clock


@pytest.mark.parametrize(("seconds", "failures"), [(19.0, []), (20.0, [Failure.TIMED_OUT])])
def test_what_a_trial_waited_in_the_queue_is_not_of_its_time_limit(
    begun: tuple[Told, DriverSearcher, list[float]], seconds: float, failures: list[Failure]
) -> None:
    told, searcher, clock = begun
    clock[0] = 1000.0
    searcher.told("t", {"begun": actors.Begun(Place("a", "a", "cpu"), 10.0)})
    clock[0] += seconds
    searcher.lost("t", "The actor died unexpectedly: SIGKILL", None)
    assert (searcher.failure, told.failures) == (None, failures)


def test_a_worker_that_does_not_end_itself_long_after_its_time_limit_is_ended_once(
    begun: tuple[Told, DriverSearcher, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, searcher, clock = begun
    ended: list[object] = []
    monkeypatch.setattr("nas.engines.ray_tune.searcher.ray.kill", ended.append)
    searcher.told("t", {"begun": actors.Begun(Place("a", "a", "cpu"), 10.0, "its actor")})
    for seconds, expected in ((79.0, []), (2.0, ["its actor"]), (500.0, ["its actor"])):
        clock[0] += seconds
        searcher.look()
        assert ended == expected
    assert searcher.failure is None


def test_what_a_trial_came_to_is_not_left_in_tunes_hands(
    begun: tuple[Told, DriverSearcher, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune keeps a trial's last step for as long as it runs, and what that refers to stays in the object store."""
    _, searcher, _ = begun
    fetched: list[Any] = []
    monkeypatch.setattr("nas.engines.ray_tune.searcher._fetch", fetched.append)
    steps: list[dict[str, Any]] = [
        {"begun": actors.Begun(Place("a", "a", "cpu"), None), "done": False},
        {"point": EpochPoint(1, 0.5, 100.0), "done": False},
        {
            "result": TrialResult.of(JOB, TrialState.FAILED, failure=Failure.ERROR, error="e"),
            "weights": "w",
            "done": True,
        },
    ]
    for step in steps:
        searcher.told("t", step)
        assert step.keys() == {"done"}
    assert (searcher.failure, fetched) == (None, ["w"])


def engine(monkeypatch: pytest.MonkeyPatch, gpus: float, shared: bool = True) -> tuple[RayEngine, list[str]]:
    """One on a cluster of so many GPUs, that has not joined it."""
    monkeypatch.setattr("nas.engines.ray_tune.engine.cluster_resources", lambda: {"CPU": 4.0, "GPU": gpus})
    made, said = object.__new__(RayEngine), list[str]()
    made._say, made._shared, made._started, made._sockets = said.append, shared, False, None
    return made, said


@pytest.mark.parametrize(
    ("device", "there", "shared", "wanted"),
    [
        ("cuda", 0, True, 1.0),  # its nodes are yet to come: an autoscaler begins with none
        ("auto", 0, True, 0.0),
        ("auto", 2, True, 1.0),
        ("cpu", 2, True, 0.0),
        ("cuda", 0, False, 0.0),
        ("auto", 1, False, 1.0),
    ],
)
def test_gpus_are_waited_for_where_they_are_asked_for_and_cpus_taken_with_a_word(
    monkeypatch: pytest.MonkeyPatch, device: str, there: float, shared: bool, wanted: float
) -> None:
    made, said = engine(monkeypatch, there, shared)
    assert made._gpus(device, None) == wanted
    assert said == ["the cluster has no GPU: trials run on its CPUs (--device cuda waits for GPUs)"] * (
        (device, there) == ("auto", 0)
    )


@pytest.mark.parametrize(("device", "there"), [("cuda", 0), ("cuda:1", 2), ("auto", 1)])
def test_trials_that_would_all_use_the_first_gpu_are_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, there: float
) -> None:
    made, _ = engine(monkeypatch, there)
    with pytest.raises(ConfigError, match=r"all would use the first; give a share of one, such as 0\.25"):
        made._gpus(device, 0.0)
    assert made._gpus("cpu", 0.0) == 0.0


@pytest.mark.parametrize(("gpus", "share"), [(0.25, 0.25), (1.0, 1.0), (2.0, 1.0), (0.0, 1.0)])
def test_workers_on_one_card_share_what_images_may_take_of_its_memory(
    monkeypatch: pytest.MonkeyPatch, gpus: float, share: float
) -> None:
    made, _ = engine(monkeypatch, 1.0)
    made._needs = Needs(1.0, gpus)
    plan = TrialPlan(SPACE, DataConfig(), Recipe(), LatencyProtocol(), "cuda", data_memory=0.5)
    assert made._shared_out(plan).data_memory == 0.5 * share
