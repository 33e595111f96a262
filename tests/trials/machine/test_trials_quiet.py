"""While one process measures, no other trains; and nobody waits for ever."""

from __future__ import annotations

import subprocess
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from trials_results import end, line, process

from trials.machine.quiet import occupied, quiet

# Monotonic time is the same in every process of a machine.
TRAIN = """
import time
from trials.machine.quiet import occupied
with occupied() as machine:
    print("in", flush=True)
    while True:
        machine.give_way()
        began = time.monotonic()
        time.sleep(0.004)
        print(began, time.monotonic(), flush=True)
"""
MEASURE = """
import time
from trials.machine.quiet import quiet
for _ in range(5):
    with quiet():
        began = time.monotonic()
        time.sleep(0.04)
        print(began, time.monotonic(), flush=True)
    time.sleep(0.1)
"""
HOLD = """
from trials.machine.quiet import occupied, quiet
with {hold}():
    print("in", flush=True)
    sys.stdin.read()
"""


def intervals(text: str) -> list[tuple[float, float]]:
    pairs = [whole.split() for whole in text.splitlines() if len(whole.split()) == 2]
    return [(float(began), float(ended)) for began, ended in pairs]


def overlapping(
    some: list[tuple[float, float]], others: list[tuple[float, float]]
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    return [(one, other) for one in some for other in others if one[0] < other[1] and other[0] < one[1]]


def test_a_measurement_is_alone_and_gets_its_turn() -> None:
    """Two trainers whose steps overlap for ever leave no moment of which a measurement could be sure by luck."""
    trainers = [process(TRAIN) for _ in range(2)]
    try:
        assert [line(trainer) for trainer in trainers] == ["in", "in"]
        measurer = process(MEASURE)
        measured, _ = measurer.communicate(timeout=30)
        time.sleep(0.05)
    finally:
        steps = []
        for trainer in trainers:
            trainer.kill()
            steps.append(intervals(trainer.communicate()[0]))
    measurements = intervals(measured)
    assert len(measurements) == 5
    assert overlapping(steps[0], steps[1]), "the trainers share the machine"
    for trained in steps:
        assert overlapping(trained, measurements) == []
        assert any(began > measurements[-1][1] for began, _ in trained), "training goes on"
        for earlier, later in pairwise(measurements):
            assert any(earlier[1] <= began and ended <= later[0] for began, ended in trained), "also in between"


def test_two_measurements_are_not_taken_at_once() -> None:
    measurers = [process(MEASURE) for _ in range(2)]
    first, second = (intervals(measurer.communicate(timeout=30)[0]) for measurer in measurers)
    assert len(first) == len(second) == 5
    assert overlapping(first, second) == []


def enters(hold: str, within: float) -> bool:
    """Whether another process gets in within so many seconds."""
    other = process(HOLD.format(hold=hold))
    reader = threading.Thread(target=line, args=(other,), daemon=True)
    reader.start()
    reader.join(within)
    entered = not reader.is_alive()
    end(other)
    return entered


@pytest.mark.parametrize(
    ("held", "wanted", "shared"),
    [
        ("quiet", "quiet", False),
        ("quiet", "occupied", False),
        ("occupied", "quiet", False),
        ("occupied", "occupied", True),
    ],
)
def test_who_waits_for_whom_and_a_kill_lets_go(held: str, wanted: str, shared: bool) -> None:
    holder = process(HOLD.format(hold=held))
    assert line(holder) == "in"
    assert enters(wanted, within=5.0 if shared else 0.7) is shared
    end(holder)
    assert enters(wanted, within=5.0)


def test_each_device_has_a_lock_of_its_own() -> None:
    on_one, on_other = (f"(lambda: quiet(device='cuda-{index}'))" for index in range(2))
    training = "(lambda: occupied(device='cuda-1'))"
    with quiet("cuda-0"):
        assert not enters(on_one, within=0.7)
        for independent in (on_other, training, "quiet", "occupied"):
            assert enters(independent, within=5.0)
    with occupied(device="cuda-1"):
        assert not enters(on_other, within=0.7)
        assert enters(on_one, within=5.0)


def test_the_locks_lie_where_they_are_told(locks: Path) -> None:
    with occupied() as machine:
        machine.give_way()
    (own,) = locks.iterdir()
    assert own.stat().st_mode & 0o077 == 0  # of this user alone
    assert sorted(file.name for file in own.iterdir()) == ["cpu-room.0.lock", "cpu-turnstile.0.lock"]


def test_work_on_the_device_ends_before_the_machine_is_let_go() -> None:
    settled = []
    with occupied(lambda: settled.append(time.monotonic())) as machine:
        machine.give_way()
        assert settled == []
        measurer = process(MEASURE)
        deadline = time.monotonic() + 30
        while measurer.poll() is None:
            assert time.monotonic() < deadline
            machine.give_way()
            time.sleep(0.002)
    measurements = intervals(measurer.communicate()[0])
    assert len(measurements) == 5
    for began, _ in measurements:
        assert any(moment < began for moment in settled)
    assert len(settled) >= 6  # once for each measurement, once at the end


def test_a_device_that_fails_to_settle_does_not_keep_the_machine() -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access")

    with pytest.raises(RuntimeError, match="illegal memory access") as error, occupied(fail):
        pass
    assert error.value is not None  # it holds the frames, and must not hold the locks with them
    assert enters("quiet", within=5.0)


def test_giving_way_is_cheap_when_nobody_measures() -> None:
    with occupied() as machine:
        began = time.perf_counter()
        for _ in range(1000):
            machine.give_way()
        assert (time.perf_counter() - began) / 1000 < 1e-3


def test_a_quiet_block_that_raises_lets_go() -> None:
    with pytest.raises(subprocess.SubprocessError), quiet():
        raise subprocess.SubprocessError
    assert enters("quiet", within=5.0)
