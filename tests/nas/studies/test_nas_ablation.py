"""`nas ablate` and `nas attention`: which networks, real trainings recorded one by one, and what is seen of them."""

from __future__ import annotations

import io
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from programs import nas_program
from rich.console import Console

import nas
from nas.cli.main import commands
from nas.engines.interruption import Interrupted, Interruption
from nas.settings.errors import ConfigError
from nas.stages.attention import collect_attention
from nas.studies.ablation import AblationWish, ablate, asked_for, fusions_of, halves, singles, with_add
from nas.terminal.trainings import TrainingsShown
from nas.trainings.run_record import RunRecord
from reports import RunView, SelectionError
from reports.ablation import ablations_of
from search_spaces import InputSpec, SearchSpace
from search_spaces.errors import UserError
from trials.record.weights import weights_path

SPACE = SearchSpace.named("resnet14", InputSpec(1, 28, 10))
POINTS = [point.name for point in SPACE.points]


def architecture(*labels: str, space: SearchSpace = SPACE) -> Any:
    return space.architecture(dict(zip(POINTS, labels, strict=True)))


MIXED = architecture("add", "aff/4", "se/8", "aff/8", "add", "aff/8")


def test_the_halves_part_the_stages() -> None:
    fused = fusions_of(SPACE, MIXED)
    assert list(fused) == [POINTS[1], POINTS[2], POINTS[3], POINTS[5]]
    (early, kept, first), (late, _, second) = halves(SPACE, MIXED, fused)
    # Six points in stages of two: of the borders after 2 and after 4 the earlier.
    assert (early, kept, late) == ("early", POINTS[1], "late")
    assert list(first.labels().values()) == ["add", "aff/4", "add", "add", "add", "add"]
    assert list(second.labels().values()) == ["add", "add", "se/8", "aff/8", "add", "aff/8"]
    only_late = architecture("add", "add", "se/8", "add", "add", "add")
    assert halves(SPACE, only_late, fusions_of(SPACE, only_late)) == []
    two = SearchSpace.named("resnet14", InputSpec(1, 28, 10), vary=["layer1"])
    whole = two.architecture({**two.baseline.labels(), POINTS[0]: "se/4", POINTS[1]: "se/4"})
    assert halves(two, whole, fusions_of(two, whole)) == []


def test_singles_take_the_ratio_that_is_most_frequent() -> None:
    found = dict(singles(SPACE, MIXED))
    assert list(found) == ["aff/8", "se/8"]
    # At layer1 aff/8 is aff/4: both have a bottleneck of 4 there.
    assert set(found["se/8"].labels().values()) <= {"se/4", "se/8"}
    assert all(choice.op == "aff" for choice in found["aff/8"].choices.values())


def test_tied_points_are_reverted_together() -> None:
    tied = SearchSpace.named("resnet14", InputSpec(1, 28, 10), tie="stage")
    mixed = architecture("se/4", "se/4", "add", "add", "aff/4", "aff/4", space=tied)
    fused = fusions_of(tied, mixed)
    assert fused == {"layer1": tuple(POINTS[:2]), "layer3": tuple(POINTS[4:])}
    for name in ("layer3", POINTS[5]):
        (points,) = asked_for(fused, [name]).values()
        reverted = with_add(mixed, points)
        assert tied.architecture(reverted.choices) == architecture(*["se/4"] * 2, *["add"] * 4, space=tied)


def test_points_are_named_by_themselves_or_their_stage() -> None:
    fused = fusions_of(SPACE, MIXED)
    assert list(asked_for(fused, ["layer2", POINTS[5]])) == [POINTS[2], POINTS[3], POINTS[5]]
    assert asked_for(fused, ()) == fused
    with pytest.raises(ConfigError, match="--points: unknown fusion point that is not add in this trial"):
        asked_for(fused, [POINTS[0]])


@pytest.mark.parametrize(("wish", "complaint"), [({"seeds": 1}, "--seeds: given 1"), ({"epochs": 0}, "--epochs")])
def test_a_wish_that_cannot_be(wish: dict[str, int], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        AblationWish(**wish)


@pytest.mark.parametrize("command", ["ablate", "attention"])
def test_commands_answer_a_mistake(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="holds no run") as raised:
        commands([command, "none", "best"], standalone_mode=False)
    assert raised.value.exit_code == 2
    assert not list(tmp_path.iterdir())


class Stopping(Console):
    """A user who presses Ctrl-C when so many trainings were told."""

    def __init__(self, interruption: Interruption, after: int) -> None:
        super().__init__(file=io.StringIO())
        self._left, self._interruption = after, interruption

    def print(self, *objects: Any, **options: Any) -> None:
        self._left -= any(re.match(r" *\d+ of \d+:", str(text)) is not None for text in objects)
        if self._left == 0:
            self._interruption._handle(signal.SIGINT, None)


@pytest.mark.slow
def test_an_ablation_goes_on_where_it_stopped(tiny: dict[str, Any]) -> None:
    run = nas.search(**tiny | {"trials": 6, "operators": ["add", "se", "aff"], "train_images": 128})
    folder = run.path
    mixture = max(t.result.number for t in run.trials if t.result.origin not in ("baseline", "uniform"))
    wish, told = AblationWish(seeds=2, epochs=1), Console(file=io.StringIO(), width=200, record=True)
    interruption = Interruption()
    with pytest.raises(Interrupted):
        ablate(folder, str(mixture), wish, {}, TrainingsShown(Stopping(interruption, after=3)), interruption)
    before = RunView.load(folder).beside
    assert len(before) == 3
    view, number = ablate(folder, str(mixture), wish, {}, TrainingsShown(told), Interruption())
    assert number == mixture
    assert view.beside[:3] == before
    assert "3 of them known; the others take about" in told.export_text(clear=False)
    (found,) = ablations_of(view)
    assert found.missing == 0
    assert {r.seed for r in view.beside} == {1, 2}, "the trials' own seed chose the trial: it is left out"
    networks = {v.architecture.key for v in found.plan.variants}
    assert len(view.beside) == 2 * len(networks)
    assert found.plan.latency.figures.keys() == networks
    assert all(c.score is not None and c.latency_ms is not None for c in found.contributions)
    whole = found.of_role("whole")[0]
    scores = {(r.architecture.key, r.seed): r.score for r in view.beside}
    chosen = run.select(mixture).result.architecture
    base = found.plan.variants[1].architecture
    assert whole.by_seed == pytest.approx([scores[chosen.key, s] - scores[base.key, s] for s in (1, 2)])

    again = nas_program("ablate", folder, mixture, "--seeds", 2, "--epochs", 1, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == json.loads(json.dumps(found.to_json()))
    assert "all of these trainings are known" in again.stderr
    assert "measuring" not in again.stderr
    assert len(RunView.load(folder).beside) == len(view.beside)
    with pytest.raises(ConfigError, match="trial 0 is add at every point"):
        ablate(folder, "0", wish, {}, TrainingsShown(told), Interruption())
    nas.open_run(folder).report()
    assert f"ablation-{mixture}" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_attention_of_a_run_is_looked_at_once(tiny: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    folder, small = Path(tiny["out"]), ["--train-images", 128, "--epochs", 1, "--batch-size", 64, "--trials", 3]
    small += ["--engine", "local", "--regime", "scratch"]
    given = ["--operators", "add,se,cbam", "--finalists", "none", "--export", "none", "--out", folder]
    done = nas_program("search", *small, *given)
    assert done.returncode == 0, done.stderr
    view = RunView.load(folder)
    assert view.attention.keys() == {t.result.number for t in view.front}, "of the front, when the search has ended"
    assert "looking at the attention weights of trial" in done.stderr
    said: list[str] = []
    after = collect_attention(folder, ("0", "1", "2"), said.append)
    assert after.attention.keys() == {0, 1, 2}
    assert after.attention[0].histograms == ()
    assert {h.part for n in (1, 2) for h in after.attention[n].histograms} == {"gate", "channel gate", "spatial gate"}
    assert {n: after.attention[n] for n in view.attention} == dict(view.attention)
    said.clear()
    assert collect_attention(folder, ("1",), said.append).attention == after.attention
    assert said == []
    commands(["attention", str(folder), "1", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["attention"] == [after.attention[1].to_json()]
    commands(["attention", str(folder)], standalone_mode=False)
    assert "trial " in capsys.readouterr().out

    number = next(t.result.number for t in view.front)
    weights_path(folder, number).unlink()
    with RunRecord.open(folder) as record:
        record.put({"attention": {}})
    assert collect_attention(folder, (), said.append).attention.keys() == view.attention.keys() - {number}
    with pytest.raises(SelectionError, match=f"the weights of trial {number} are not kept: choose one of trials"):
        collect_attention(folder, (str(number),), said.append)
