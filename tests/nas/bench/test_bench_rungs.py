"""Rungs in the arena: whole searches answered from a table, by any number of workers, some of which are lost."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_tables import invented

from nas.bench.arena.house import House, TableEngine, _prepared, _TableStart
from nas.bench.arena.judging import judge
from nas.bench.arena.playing import Brief, Ledger, brief_of
from nas.bench.arena.worlds import World, table_world
from nas.bench.table import Table
from nas.engines.engine import JobSource
from nas.engines.interruption import Interruption
from nas.planning.planner import Planner
from nas.session.admission import open_store
from nas.session.trials import Trials
from nas.settings.loading import load_config
from nas.settings.rungs import planned_looks
from nas.stages.stage import Search
from nas.telling import Silence
from reports import RunView
from reports.estimates import rungs_story
from reports.finalists import chosen
from trials.judge import TrialPlan
from trials.record.training import Training
from trials.trial import Failure, TrialJob, TrialResult, TrialState

RUNGS = (1, 3, 9)


@pytest.fixture(scope="module")
def world() -> World:
    return table_world(Table(invented(leave_out=14)))


class Faulty(TableEngine):
    """Some trainings of nine epochs diverge, or lose their worker; after so many ends all is over, as if killed."""

    diverges: Callable[[TrialJob], bool] = staticmethod(lambda job: False)
    loses: Callable[[TrialJob], bool] = staticmethod(lambda job: False)
    killed_after: int | None = None

    def run(self, plan: TrialPlan, source: JobSource) -> None:
        engine, ends = self, 0

        class Between:
            """Hands on, but for what goes wrong."""

            finished = False

            def next_job(self) -> TrialJob | None:
                return source.next_job()

            def record(self, result: TrialResult, weights: bytes | None) -> None:
                nonlocal ends
                if ends == engine.killed_after:
                    raise KeyboardInterrupt
                ends += 1
                job = TrialJob(
                    result.number, result.origin, result.architecture, result.seed, result.epochs, result.macs,
                    result.params, start=result.start,
                )  # fmt: skip
                if engine.loses(job):
                    source.fail(job.number, Failure.WORKER_LOST, "gone")
                elif engine.diverges(job):
                    failed = TrialResult.of(job, TrialState.FAILED, failure=Failure.DIVERGED, error="loss nan")
                    source.record(failed, None)
                else:
                    source.record(result, weights)

        super().run(plan, Between())  # type: ignore[arg-type]  # of a source, what this engine asks


class Said(Silence):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def searched(
    world: World,
    out: Path,
    trials: int = 27,
    workers: int = 1,
    engine: type[TableEngine] = TableEngine,
    sampler: str = "ehvi",
    seed: int = 0,
    say: Silence | None = None,
) -> RunView:
    """A search with rungs, its trials answered from the world; it goes on where `out` holds one."""
    settings = {
        "space": "resnet8", "operators": list(world.space.operators), "reductions": list(world.space.reductions),
        "data": "fashion-mnist-mini", "engine": "local", "sampler": sampler, "trials": trials, "seed": seed,
        "out": str(out), "finalists": "none", "training.regime": "inherit", "rungs": list(RUNGS), "noise_seeds": 2,
        "max_flops": "1.1x", "early_stop": "never",
    }  # fmt: skip
    prepared = _prepared(load_config(None, settings), world)
    plan = replace(prepared.plan(), start=_TableStart("inherit:table"), screening=False)
    before = prepared.config.to_json() if out.exists() else None
    with open_store(out, prepared, prepared.baseline, before, lambda line: None) as store:
        told, made = say or Silence(), engine(Ledger(world, seed), Ledger(world, seed), workers, "inherit")
        planner = Planner(prepared, store, lambda: RunView.of(out, store), told.say, workers)
        Trials().run(Search(out, store, prepared, plan, made, told, Interruption(), planner))
        return RunView.of(out, store).estimated()


def looks_at(view: RunView, epochs: int) -> list[Training]:
    return [training for training in view.beside if training.epochs == epochs]


def keys(trainings: Collection[Training]) -> set[str]:
    return {training.architecture.key for training in trainings}


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("sampler", ["ehvi", "tpe"])
def test_rungs_take_their_shares_all_add_first(world: World, tmp_path: Path, workers: int, sampler: str) -> None:
    view = searched(world, tmp_path / "run", workers=workers, sampler=sampler)
    identities = [training.identity for training in view.trainings]
    assert len(set(identities)) == len(identities), "nothing is trained twice"
    planned = planned_looks(RUNGS, 27)
    assert planned == (27, 9, 3)
    base = view.baseline_architecture.key
    below = keys([Training.of(trial.result) for trial in view.feasible])
    for epochs, count in zip(RUNGS[1:], planned[1:], strict=True):
        looks = looks_at(view, epochs)
        assert len(looks) == count
        assert looks[0].architecture.key == base or workers > 1
        assert base in keys(looks) <= below
        assert all(training.seed == 0 for training in looks)
        below = keys(looks)
    assert view.model is not None
    assert view.model.fitted.looks.fidelities[0] == ("inherit:table", 9), "estimates are of the longest rung"
    (story,) = rungs_story(view)
    assert story.startswith("Looked at: 27 for 1 epoch, of these 9 for 3 epochs, 3 for 9 epochs; estimates are of 9")


def test_the_same_search_does_the_same(world: World, tmp_path: Path) -> None:
    one, other = (searched(world, tmp_path / name) for name in ("one", "other"))
    assert one.trainings == other.trainings


@pytest.mark.parametrize("killed_after", [3, 6, 30])
def test_killed_anywhere_it_goes_on_as_if_nothing_had_been(world: World, tmp_path: Path, killed_after: int) -> None:
    class Killed(Faulty):
        pass

    Killed.killed_after = killed_after
    with pytest.raises(KeyboardInterrupt):
        searched(world, tmp_path / "killed", engine=Killed)
    whole = searched(world, tmp_path / "whole")
    assert searched(world, tmp_path / "killed").trainings == whole.trainings


def test_what_fails_for_longer_is_not_promoted_again_and_told(world: World, tmp_path: Path) -> None:
    class Diverging(Faulty):
        diverges = staticmethod(lambda job: job.epochs == 3 and job.architecture != world.space.baseline)

    told = Said()
    view = searched(world, tmp_path / "run", engine=Diverging, say=told)
    failed = [training for training in view.beside if training.error]
    assert len(failed) == len(keys(failed)) == 8
    assert not looks_at(view, 9), "nobody came that far"
    assert sum(line.endswith(" again, 3 epochs: loss nan") for line in told.lines) == 8
    # Going on, it is known that they fail.
    assert searched(world, tmp_path / "run").beside == view.beside
    assert view.model is not None
    assert view.model.fitted.looks.fidelities[0][1] == 1, "no two architectures were looked at for longer"
    assert "estimates are of 1 epoch." in rungs_story(view)[0]
    # What is known to fail is neither on the front nor a finalist.
    fail = {trial.result.number for trial in view.trials if trial.fails_longer is not None}
    assert len(fail) == 8
    assert not fail & {trial.result.number for trial in (*view.front, *chosen(view, 27), *view.to_measure)}
    assert f"for a longer look failed: trials {min(fail)}, " in rungs_story(view)[0]


def test_what_a_lost_worker_took_along_is_tried_again_in_the_next_session(world: World, tmp_path: Path) -> None:
    class Losing(Faulty):
        loses = staticmethod(lambda job: job.epochs == 9)

    told = Said()
    view = searched(world, tmp_path / "run", engine=Losing, workers=2, say=told)
    assert not looks_at(view, 9)
    assert sum(line.endswith(" again, 9 epochs: gone") for line in told.lines) == 3, "each once, all-add among them"
    again = searched(world, tmp_path / "run")
    assert again.results == view.results
    assert len(looks_at(again, 9)) == 3


def test_a_trial_that_failed_is_not_looked_at_again(world: World, tmp_path: Path) -> None:
    class Diverging(Faulty):
        diverges = staticmethod(lambda job: job.number in (2, 3, 5, 7))

    view = searched(world, tmp_path / "run", engine=Diverging)
    failed = {r.architecture.key for r in view.results if r.state is TrialState.FAILED}
    assert len(failed) == 4
    assert not failed & keys(view.beside)


def brief(world: World, seed: int, looks: int = 24) -> Brief:
    return brief_of(world, 1.1, "inherit-3", looks * world.images("inherit-3"), 1, seed)


@pytest.mark.slow
def test_the_planted_winner_is_found_and_none_where_there_is_none() -> None:
    """By what shows at nine epochs, in equal images; looks are as noisy as fine-tuning is assumed to be."""
    truth = table_world(Table(invented(noise=0.06, leave_out=14))).judged_by("inherit-9")
    house = House("ehvi", rungs=(1, 3, 9))
    known, null = truth.known({("layer3.0", "se"): 0.5, ("layer2.0", "cbam"): 0.3}), truth.null()
    played = [house(brief(known, n), known, n) for n in range(4)]
    assert np.mean([judge(one, brief(known, n), known).gain for n, one in enumerate(played)]) > 0.35
    assert all(0.8 * brief(known, 0).images < one.events[-1].images <= brief(known, 0).images for one in played)
    assert sum(house(brief(null, n), null, n).names_winner for n in range(8)) <= 1
