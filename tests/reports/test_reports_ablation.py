"""Ablations and attention weights of real records with planted scores."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from reports_records import (
    HOSTILE,
    RESIDUALS,
    MakeRun,
    explained,
    planted_ablation,
    planted_attention,
    realistic_trials,
    record,
)

from reports import RunView
from reports.ablation import AblationPlan, LatencyPrices, ablation_rows, ablation_story, ablations_of
from reports.attention import attention_rows, pictures_of
from reports.page import render
from reports.sections.operators import ablations
from reports.significance import paired_differences, t_quantile
from trials.attention.histograms import BINS, TrialAttention, WeightHistogram
from trials.errors import StoreDamaged
from trials.record.file import FILE_NAME
from trials.record.store import Store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return explained(record(tmp_path_factory.mktemp("ablated") / "run", realistic_trials()))


def test_a_difference_has_the_interval_of_the_pooled_noise() -> None:
    scores = np.array([[0.9, 0.8, 0.7], [0.9, 0.7, 0.5], [0.6, 0.6, 0.6]])
    difference, back = paired_differences(scores, [(0, 1), (1, 0)])
    # By hand: residuals of the two-way table have a sum of squares of .04 at 4 degrees of freedom, t is 2.776.
    assert difference.mean == pytest.approx(0.1)
    assert difference.high - difference.mean == pytest.approx(2.776445 * (2 * 0.04 / 4 / 3) ** 0.5)
    assert (back.low, back.high) == pytest.approx((-difference.high, -difference.low))
    assert not difference.distinguishable
    assert paired_differences(scores - [[0.3], [0], [0]], [(0, 1)])[0].mean == pytest.approx(-0.2)
    for table in (scores[:1], scores[:, :1]):
        with pytest.raises(ValueError, match="takes two"):
            paired_differences(table, [(0, 0)])


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    true, inside = np.array([0.0, 0.01, 0.02, 0.02]), []
    for _ in range(400):
        scores = true[:, None] + rng.normal(0, 0.03, 3) + rng.normal(0, 0.004, (4, 3))
        inside += [d.low <= 0 <= d.high for d in paired_differences(scores, [(2, 3)])]
    assert 0.92 < np.mean(inside) < 0.98


def test_each_fusion_is_worth_what_was_planted(whole: RunView) -> None:
    (found,) = ablations_of(whole)
    by_point = {c.name: c for c in found.of_role("without")}
    assert [c.score.mean for c in by_point.values()] == pytest.approx([0.01, 0.0, 0.02])
    assert [c.verdict for c in by_point.values()] == ["better", "not distinguishable", "better"]
    residuals = np.array(RESIDUALS) - np.mean(RESIDUALS, axis=0)
    half = t_quantile(0.975, 12) * (2 * float((residuals**2).sum()) / 12 / 3) ** 0.5
    assert by_point["layer2.0"].score.high == pytest.approx(half)
    assert by_point["layer3.0"].by_seed == pytest.approx(
        [0.02 + a - b for a, b in zip(RESIDUALS[0], RESIDUALS[4], strict=True)]
    )
    assert by_point["layer3.0"].macs == 20_000
    (early,), (late,), (against,) = (found.of_role(r) for r in ("early", "late", "early against late"))
    assert (early.score.mean, late.score.mean) == pytest.approx((0.01, 0.02))
    assert against.score.mean == pytest.approx(-0.01)
    assert against.verdict == "worse"
    (single,) = found.of_role("single")
    assert single.verdict == "not distinguishable"
    assert (single.latency_ms.mean, single.latency_ms.high) == pytest.approx((-0.7, -0.7 + 0.03 * 2**0.5))
    assert (found.wanted, found.missing) == (21, 0)
    text = " ".join(ablation_story(found))
    assert "differs from all-add by +3.00" in text
    assert "each point alone: layer1." in text
    assert "not distinguishably better than aff/4 everywhere" in text
    assert json.loads(json.dumps(found.to_json()))["contributions"][3]["verdict"] == "better"


def test_what_is_not_trained_yet_is_said(make_run: MakeRun) -> None:
    plan, repeats = planted_ablation()
    lost = next(v for v in plan.variants if v.name == "layer3.0").architecture.key
    view = make_run(realistic_trials(), ablations={"1": plan.to_json()})
    assert all(c.verdict == "not trained" for c in ablations_of(view)[0].contributions)
    assert not charts(view)
    with Store.open_for_writing(view.path / FILE_NAME) as store:
        for repeat in repeats:
            if (repeat.architecture.key, repeat.seed) != (lost, 2):
                store.append_training(repeat)
    (found,) = ablations_of(RunView.load(view.path))
    assert found.missing == 1
    assert [c.name for c in found.contributions if c.verdict == "not trained"] == ["layer3.0"]
    assert "Of 21 trainings, 1 are missing or failed." in ablation_story(found)
    (chart,) = charts(RunView.load(view.path))
    assert len(chart["intervals"]) == 2


def charts(view: RunView) -> list[dict[str, Any]]:
    return [block for block in ablations(view)["blocks"] if block["kind"] == "chart"]


def test_the_picture_is_of_what_was_planted(whole: RunView) -> None:
    (chart,) = charts(whole)
    rows = chart["intervals"]
    assert [row["mean"] for row in rows] == pytest.approx([1.0, 0.0, 2.0])
    assert [row["filled"] for row in rows] == [True, False, True]
    assert [row["bar"] for row in rows] == [10_000, 0, 20_000]
    assert all(row["low"] < row["mean"] < row["high"] for row in rows)
    assert "3 paired seeds" in chart["note"]


def test_the_page_shows_both_and_nothing_hostile_runs(whole: RunView) -> None:
    page = render(whole)
    assert HOSTILE not in page
    assert "What each fusion contributes" in page
    assert page.count('<svg viewBox="0 0 160 48"') == 2
    assert "1,024 of 2,000 validation images" in page


def test_a_page_without_them_says_how_to_get_them(run: RunView) -> None:
    page = render(run)
    assert "<code>nas ablate</code>" in page
    assert "<code>nas attention</code>" in page


def test_what_was_predicted_or_skipped_is_said(make_run: MakeRun) -> None:
    plan, _ = planted_ablation()
    figures = {key: (p50, None) for key, (p50, _) in plan.latency.figures.items()}
    for number, prices in enumerate(
        (LatencyPrices("predicted by device.json", figures), LatencyPrices(skipped="no GPU"))
    ):
        changed = {**plan.to_json(), "latency": prices.to_json()}
        (found,) = ablations_of(make_run(folder=str(number), ablations={"1": changed}))
        assert ablation_rows(found)[0][-1] == ("−0.100 ms" if number == 0 else "n/a")
        said = ("Latencies are predicted by device.json.", "Latencies are left out: no GPU.")[number]
        assert ablation_story(found)[-1] == said


@pytest.mark.parametrize(
    "spoil",
    [
        {"variants": []}, {"variants": [{"role": "x"}]}, {"seeds": [1]}, {"epochs": "no"}, {"latency": None},
        {"latency": {"target": "t", "figures": {"k": [float("inf"), None]}, "skipped": None}}, {"trial": None},
    ],
)  # fmt: skip
def test_a_damaged_plan_is_refused(make_run: MakeRun, spoil: dict[str, object]) -> None:
    plan = planted_ablation()[0].to_json()
    assert AblationPlan.from_json(plan) == planted_ablation()[0]
    view = make_run(ablations={"1": {**plan, **spoil}})
    with pytest.raises(StoreDamaged, match="an ablation in its record is damaged"):
        ablations_of(view)


def test_histograms_count_their_ends_and_are_drawn() -> None:
    gate, positions = planted_attention().histograms
    assert gate.low == pytest.approx(80 / sum(gate.counts))
    assert gate.high == pytest.approx(2 / sum(gate.counts))
    assert TrialAttention.from_json(json.loads(json.dumps(planted_attention().to_json()))) == planted_attention()
    row = attention_rows(planted_attention())[0]
    assert row[3:5] == ["0.120", "0.200"]
    assert row[-1][0] == "█"
    assert len(row[-1]) == BINS // 2
    assert positions.upper == 4


def test_pictures_stay_in_their_box(whole: RunView) -> None:
    (one,) = pictures_of(whole)
    assert (one.number, one.best) == (1, True)
    gate, positions = one.pictures
    assert gate.path.startswith("M0 48V0H4V32")
    assert gate.path.endswith("V48H160V48Z")
    assert positions.mean_x == 160, "a mean above the scale is drawn at its end"


@pytest.mark.parametrize(
    "change",
    [{"counts": [1] * (BINS - 1)}, {"counts": [0] * BINS}, {"mean": float("nan")}, {"std": -1.0}, {"upper": 0}],
)
def test_a_damaged_histogram_is_refused(make_run: MakeRun, change: dict[str, object]) -> None:
    data = planted_attention().to_json()
    data["histograms"][0] |= change
    with pytest.raises(ValueError, match="histogram"):
        TrialAttention.from_json(data)
    if change.get("std") == -1.0:
        with pytest.raises(StoreDamaged, match="its attention histograms are damaged"):
            make_run(attention={"1": data})
    with pytest.raises(ValueError, match="counts that are not all 0"):
        WeightHistogram("p", "se/4", "gate", 1.0, (-1, *[1] * (BINS - 1)), 0.5, 0.1)
