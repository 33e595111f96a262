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
from search_spaces import InputSpec, SearchSpace
from trials.errors import DeviceLost, MachineFailing
from trials.judge import TrialOutcome
from trials.trial import EpochPoint, Failure, TrialJob, TrialResult, TrialState

JOB = TrialJob(0, "baseline", SearchSpace.named("resnet8", InputSpec(1, 28, 10)).baseline, 1, 1, 1, 1)


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
