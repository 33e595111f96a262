"""What is given, divided: how long trainings take, what fits, what finals resolve, what a plan could not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas.planning.dividing import Demand, Division, Means, divide
from nas.planning.ledger import Ledger, Limits
from nas.planning.pace import Pace, Work
from nas.planning.resolution import Noise, binomial, noise_before, noise_measured, resolves
from nas.planning.telling import Images, planned, warnings
from nas.planning.workers import ends_after
from nas.settings.loading import load_config
from reports.noise import floors_of
from reports.paired import Plan, gains
from search_spaces.architecture import Architecture, FusionChoice
from trials.record.effort import Effort
from trials.record.training import Training

NOISE = Noise(0.06, 0.1)


def architecture(op: str) -> Architecture:
    return Architecture("s", {"p": FusionChoice(op)})


def means(seconds: float | None, workers: int = 1, held: float | None = None, look_s: float = 10.0) -> Means:
    return Means(seconds, held, workers, 1.0, (look_s, 3 * look_s), 12.0, 5.0)


def demand(looks: int, done: int = 0, finalists: int = 3, rungs: tuple[int, ...] = (3,)) -> Demand:
    return Demand(looks, done, rungs, finalists, 3, 6)


def one_rung(found: Means) -> Means:
    return Means(**{**vars(found), "look_s": found.look_s[:1]})


def three_rungs(seconds: float | None) -> Means:
    return Means(seconds, None, 1, 1.0, (3.0, 9.0, 27.0), 12.0, 5.0)


def test_workers_take_what_is_next_as_soon_as_they_are_free() -> None:
    assert ends_after([[1.0, 1.0, 1.0]], 1) == 3.0
    assert ends_after([[1.0, 1.0, 1.0]], 2) == 2.0
    assert ends_after([[4.0], [1.0, 1.0]], 2) == 5.0, "the second batch waits for the first"
    assert ends_after([[1.0]], 2, running=[3.0, 2.0]) == 3.0
    assert ends_after([], 3, running=[2.0]) == 2.0


def test_what_is_not_limited_is_done_whole() -> None:
    found = divide(demand(20), one_rung(means(None)), NOISE)
    assert (found.looks, found.finalists, found.seeds) == ((20,), 3, 3)
    assert found.seconds == 20 * 10 + 12 * 12 + 5


def test_finalists_come_first_and_looks_have_the_rest() -> None:
    found = divide(demand(100_000), one_rung(means(600.0)), NOISE)
    assert (found.finalists, found.seeds) == (3, 3)
    assert found.looks == ((600 - 144 - 5) // 10,)
    assert found.seconds is not None
    assert 590 < found.seconds <= 600
    side_by_side = divide(demand(100_000), one_rung(means(600.0, workers=4)), NOISE)
    assert side_by_side.looks[0] > 3 * found.looks[0]


def test_where_time_is_short_finalists_are_fewer_and_never_under_one_seed() -> None:
    numbers = [divide(demand(20), one_rung(means(float(s))), NOISE) for s in range(10, 400, 5)]
    assert all(one.seeds >= 2 for one in numbers if one.finalists)
    assert all(one.looks[0] > one.finalists for one in numbers if one.finalists), "one look is all-add's"
    costs = [(1 + one.finalists) * one.seeds for one in numbers]
    assert numbers[0].finalists == 0
    assert 0 < costs[20] < 12
    assert costs[-1] == 12
    assert all(one.seconds <= s for one, s in zip(numbers, range(10, 400, 5), strict=True) if one.looks[0])  # type: ignore[operator]


def test_what_is_done_counts_and_device_hours_bind_alike() -> None:
    assert divide(demand(20, done=12), one_rung(means(165.0)), NOISE).looks[0] > 12
    by_device = divide(demand(100_000), one_rung(means(None, workers=8, held=600.0)), NOISE)
    assert by_device.looks == ((600 - 144) // 10,)


def test_a_third_of_the_looks_goes_on_to_each_longer_rung() -> None:
    found = divide(demand(24, rungs=(3, 9)), means(None), NOISE)
    assert found.looks == (24, 8)
    text = found.text(given=600.0)
    assert text.startswith("24 first looks, 8 second (9 epochs), 3 finalists × 3 seeds; about 10 min 29 s of 10 min; ")
    assert text.endswith(" points")


def test_more_time_is_never_fewer_looks_without_finals_and_what_is_planned_fits() -> None:
    """The first two looks bring longer ones with them: finals are not to take the time of these."""
    for done in (0, 2, 5):
        looks = []
        for seconds in range(60, 3_000, 20):
            there = Means(float(seconds), None, 1, 1.0, (10.0, 30.0, 90.0), 90.0, 5.0)
            found = divide(demand(100_000, done=done, rungs=(3, 9, 27)), there, NOISE)
            assert found.seconds is not None
            assert found.seconds <= seconds or (found.looks[0] == done and not found.finalists)
            assert not found.finalists or found.looks[0] > max(1, found.finalists)
            if not found.finalists:
                looks.append(found.looks[0])
        assert looks == sorted(looks), "while finals do not fit, looks have all of it"
        assert len(looks) < 100, "and sooner or later they do"


def test_longer_looks_that_nobody_took_are_still_to_come() -> None:
    begun = divide(demand(20, done=2, rungs=(3, 9, 27)), three_rungs(None), NOISE)
    whole = divide(demand(20, rungs=(3, 9, 27)), three_rungs(None), NOISE)
    assert begun.looks == whole.looks == (20, 7, 3)
    assert begun.seconds is not None
    assert whole.seconds is not None
    assert whole.seconds - begun.seconds == pytest.approx(2 * 3)


def test_what_was_planned_of_finals_stays_while_it_fits() -> None:
    """Finals of 3 × 3 took less than half of an hour, and take more than half of what is left of it."""
    whole = divide(demand(100_000), one_rung(means(360.0)), NOISE)
    assert (whole.finalists, whole.seeds) == (3, 3)
    left = means(200.0)
    again = divide(demand(100_000, done=15), one_rung(left), NOISE)
    assert (again.finalists, again.seeds) != (3, 3)
    kept = divide(replace(demand(100_000, done=15), kept=(3, 3)), one_rung(left), NOISE)
    assert (kept.finalists, kept.seeds) == (3, 3)


def test_a_plan_in_words() -> None:
    assert Division((1,), (3,), 0, 0).text() == "1 look"
    assert Division((20,), (3,), 1, 2, 90.0, 0.26).text() == (
        "20 looks, 1 finalist × 2 seeds; about 1 min 30 s; resolves 0.3 points"
    )


def test_of_what_takes_nobody_knows_how_long_no_number_is_said() -> None:
    found = divide(demand(50, done=1), one_rung(means(60.0, look_s=0.0)), NOISE)
    assert found.looks == (1,)
    assert found.seconds is None


def test_trainings_are_predicted_by_their_images() -> None:
    pace = Pace(Work(train=900, val=300, test=600))
    assert not pace.known
    assert pace.seconds(3) == 0
    pace.assume(280.0, 3)
    assert pace.seconds(3) == pytest.approx(280.0)
    pace.learn([Training(architecture("add"), 0, 3, score=0.5, seconds=28.0)])
    assert pace.seconds(3, architecture("add")) == pytest.approx(28.0), "what was measured counts, not what was assumed"
    assert pace.seconds(3, architecture("add"), final=True) == pytest.approx(28.0 * 3800 / 2800)
    pace.learn([Training(architecture("aff"), 0, 3, score=0.5, seconds=56.0)])
    assert pace.typical(3) == pytest.approx(42.0)
    assert pace.seconds(3, architecture("se")) > 42.0, "of what was never trained rather too many"
    pace.learn([Training(architecture("se"), 0, 3, error="diverged", seconds=1.0)])
    assert pace.typical(3) == pytest.approx(42.0), "what failed says nothing"


def test_a_ledger_keeps_account_of_all_sessions() -> None:
    now = [0.0]
    ledger = Ledger(Limits(100.0, 50.0), Effort(30.0, 10.0), 2.0, 2, 0.5, lambda: now[0])
    assert ledger.seconds_left == 68.0
    ledger.begun(1, 8.0)
    now[0] = 6.0
    assert ledger.effort == Effort(38.0, 13.0)
    assert ledger.means().running == (2.0,)
    ledger.ended(1, 5.0)
    assert ledger.device_seconds_left == 50 - 10 - 2.5
    now[0] = 68.0
    assert ledger.over
    unlimited = Ledger(Limits(), Effort(1e9, 1e9), 0.0, 1, 0.5)
    unlimited.spent(4.0)
    assert unlimited.effort.device_seconds == 1e9 + 2.0, "half a device for four seconds"
    assert not unlimited.over


@pytest.mark.parametrize("finalists", [1, 3])
def test_finals_find_what_they_are_said_to_resolve(finalists: int) -> None:
    """In simulated finals whose truth is known, with the noise that was given."""
    noise, seeds, images = Noise(0.2, 0.0), 3, None
    gain = resolves(noise, finalists, seeds, 6)
    assert gain is not None
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(400):
        table = rng.normal(0, 0.2, (1 + finalists, seeds)) + rng.normal(0, 1, seeds)
        table[1] += gain
        judged = gains(table, Plan(finalists, seeds, 6), images)[0]
        found += judged is not None and judged.wins
    assert 0.65 < found / 400 < 0.95


def test_more_seeds_and_images_resolve_less() -> None:
    few, many = (resolves(noise_before(False, images), 3, 3, 6) or 0.0 for images in (500, 10_000))
    assert many < few
    assert (resolves(NOISE, 3, 4, 8) or 0) < (resolves(NOISE, 3, 3, 6) or 0) < (resolves(NOISE, 3, 2, 4) or 0)
    assert resolves(NOISE, 0, 3, 6) is None
    assert resolves(NOISE, 1, 1, 6) is None
    assert binomial(0.5, 2500) == pytest.approx(1.0)
    assert noise_before(True, None).image == 0


def test_noise_that_was_measured_is_drawn_to_what_is_usual() -> None:
    scores = {("add", 0): 0.50, ("add", 1): 0.52, ("add", 2): 0.51, ("se", 0): 0.52, ("se", 1): 0.53, ("se", 2): 0.50}
    trainings = [Training(architecture(op), seed, 3, score=s, loss=1.0) for (op, seed), s in scores.items()]
    (floor,) = floors_of(trainings, architecture("add"))
    seen = 100 * (floor.score.paired_sd or 0.0) / 2**0.5
    found = noise_measured(Noise(0.1, 0.3), floor)
    assert 0.1 < found.seed < seen
    assert found.image == 0.3
    assert noise_measured(NOISE, None) == NOISE


def test_a_plan_that_could_not_tell_anything_is_warned_of() -> None:
    config = load_config(None, {"max_hours": "2", "training.epochs": 3})
    good = Images(40_000, 10_000, 40_000)
    assert warnings(config, good, planned(config, good, 60.0, 10.0, 2)) == []
    few = Images(2_000, 100, 500)
    said = warnings(config, few, planned(config, few, 60.0, 10.0, 2))
    assert any("45 steps" in one and "4 epochs" in one for one in said)
    assert any("100 validation images" in one for one in said)
    assert any("500 test images" in one and "finals resolve" in one for one in said)
    hasty = load_config(None, {"max_hours": "2min"})
    assert any("no verdict" in one for one in warnings(hasty, good, planned(hasty, good, 60.0, 10.0, 2)))
    hastier = load_config(None, {"max_hours": "30s"})
    assert any("nothing to compare" in one for one in warnings(hastier, good, planned(hastier, good, 60.0, 10.0, 2)))
