"""Searches of detectors and segmenters, from configuration to report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from programs import nas_program
from scenes_folder import cells

import nas
from nas.cli.main import commands
from nas.cli.options import given_settings
from nas.session.session import run_search
from nas.settings.changes import differences
from nas.settings.errors import ConfigError
from nas.settings.kinds import SceneSearchConfig
from nas.settings.loading import load_config, read_config
from nas.settings.search import SearchConfig
from nas.stages.pictures import look
from nas.telling import Silence
from nas.tools.reprice import reprice
from reports import RunView
from reports.noise import noise_floors
from reports.regime import regime_story
from reports.scores import category_table, figure_table
from reports.summary import data_facts
from reports.trust import trust_story
from trials.data import DataRefused
from trials.record.store import Store
from trials.tasks.metrics import FIGURES
from trials.trial import TrialState


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two trials of two epochs of few small images, in this process."""
    folder = cells(tmp_path_factory.mktemp("cells") / "data")
    return {
        "data": f"coco:{folder}", "image_size": 64, "trials": 2, "engine": "local", "operators": ["add", "se"],
        "reductions": [4], "export": "none", "finalists": "none", "training.epochs": 2, "training.batch_size": 8,
        "latency.screen": False,
        "latency.passes": 30, "latency.warmup": 3, "latency.attempts": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def found(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> RunView:
    out = tmp_path_factory.mktemp("runs") / "cells"
    config = load_config(None, settings | {"out": str(out), "objectives": ["ap", "ap_small", "macs"]})
    return run_search(config, Silence()).view


@pytest.mark.parametrize(
    ("given", "task", "space", "objectives"),
    [
        ({"data": "scenes-mini"}, "detection", "resnet8-fpn-fcos", ["ap", "macs"]),
        ({"data": "coco:x", "space": "resnet8-pan"}, "detection", "resnet8-pan-fcos", ["ap", "macs"]),
        ({"space": "resnet8-fpn-retinanet"}, "detection", "resnet8-fpn-retinanet", ["ap", "macs"]),
        ({"data": "masks:x"}, "segmentation", "resnet8-fpn-semantic", ["miou", "macs"]),
        ({"task": "segmentation", "space": "resnet8-fpn"}, "segmentation", "resnet8-fpn-semantic", ["miou", "macs"]),
        ({"space": "resnet8-fpn"}, "classification", "resnet8-fpn", ["accuracy", "macs"]),
    ],
)
def test_the_task_follows_from_space_or_data(given: dict, task: str, space: str, objectives: list[str]) -> None:
    config = load_config(None, given)
    assert (config.task, config.space, config.objectives) == (task, space, objectives)
    assert isinstance(config, SceneSearchConfig) is (task != "classification")
    assert read_config(config.to_json()) == config
    assert differences(config.to_json(), config.to_json()) == {}


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"task": "detect"}, ["task", "'classification', 'detection' or 'segmentation'", "did you mean 'detection'"]),
        ({"task": "detection", "space": "resnet8-fpn-semantic"}, ["resnet8-fpn-semantic is for segmentation"]),
        ({"task": "detection", "space": "torchvision:resnet18"}, ["detection takes a named pyramid", "resnet8-fpn"]),
        ({"task": "detection", "data": "cifar10"}, ["unknown data 'cifar10'", "scenes-mini"]),
        ({"data": "scenes-mini", "objectives": ["ap", "miou"]}, ["'miou' is none of ap, ap50"]),
        ({"data": "scenes-mini", "objectives": ["ap_smal", "ap"]}, ["did you mean 'ap_small'"]),
        ({"data": "scenes-mini", "objectives": ["ap_small"]}, ["must hold 'ap'"]),
        ({"data": "scenes-mini", "minimum": {"accuracy": 0.5}}, ["--min: ", "'accuracy' is none of ap"]),
        ({"data": "scenes-mini", "minimum": {"ap": 1.5}}, ["--min ap: ", "less than or equal to 1"]),
        ({"data": "scenes-mini", "training.crop_padding": 4}, ["training.crop_padding: unknown key", "ema_decay"]),
        ({"data": "scenes-mini", "training.frozen_trunk": True}, ["frozen_trunk", "inherit"]),
        ({"data": "coco:x", "data_dir": "y"}, ["data-dir: given 'y'", "named with their folder"]),
        ({"minimum": {"ap": 0.5}}, ["'ap' is none of accuracy"]),
    ],
)
def test_what_does_not_go_together_is_one_line(given: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, given)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_minimum_options_are_read() -> None:
    def parsed(*options: str) -> SearchConfig:
        typed = ["--data", "scenes-mini", "--min", ",".join(options)]
        given = commands.commands["check"].make_context("check", typed).params
        known = {name: value for name, value in given.items() if name in ("data", "minimum")}
        return load_config(None, given_settings(known)[0])

    assert parsed("ap=0.2", "ap_small=0.1").minimum == {"ap": 0.2, "ap_small": 0.1}
    with pytest.raises(ConfigError, match="--min: given 'ap'"):
        parsed("ap")


def test_a_search_of_detectors_records_every_figure(found: RunView, settings: dict[str, Any]) -> None:
    assert found.task == "detection"
    assert found.objectives == ("ap", "ap_small", "macs")
    assert [r.state for r in found.results] == [TrialState.COMPLETE] * 2
    for result in found.results:
        assert set(FIGURES["detection"]) < set(result.figures)
        assert result.score == result.figures["ap"] == result.figure("ap")
        assert set(result.figures["ap_by_category"]) == {"square", "disc"}
        assert result.figures["ap_large"] is None
        assert result.correct is None
        assert result.images == 8
    assert found.to_json()["trials"][0]["ap"] == found.results[0].score
    assert found.description["data"]["objects_by_size"]["small"] > 0
    with Store.open(found.path / "study.db") as store:
        assert store.results() == found.results


def test_a_search_of_detectors_is_repeated_to_the_bit(
    found: RunView, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path))
    config = load_config(None, settings | {"out": str(tmp_path / "again"), "trials": 1})
    again = run_search(config, Silence()).view
    first = found.results[0]
    assert (again.results[0].figures, again.results[0].loss) == (first.figures, first.loss)


def test_a_minimum_decides_what_is_feasible(found: RunView) -> None:
    small = [r.figures["ap_small"] for r in found.results]
    between = 0.5 * sum(small) if small[0] != small[1] else small[0] * 1.5 + 0.01
    view = reprice(found.path, {"minimum": {"ap_small": min(1.0, between)}}).view
    assert [t.feasible for t in view.trials] == [value >= between for value in small]
    assert view.budget_text() == f"ap_small >= {min(1.0, between):g}"


def test_the_report_shows_figures_by_size_and_category(found: RunView, tmp_path: Path) -> None:
    table, categories = figure_table(found), category_table(found)
    assert table is not None
    assert categories is not None
    assert table.columns[:4] == ("AP", "AP50", "AP75", "AP small")
    assert "AP large" not in table.columns
    assert table.heads[0] == "0 (all-add)"
    assert categories.heads == ("square", "disc")
    assert all(not cell.gain for cell in table.lines[0])
    page = nas.open_run(found.path).report(tmp_path / "report.html").read_text()
    for text in (
        "in brackets, points to all-add",
        "AP small",
        "Estimated AP and cost",
        "disc",
        "objects (small: under 32",
    ):
        assert text in page
    shown = CliRunner().invoke(commands, ["show", str(found.path), "1"])
    assert shown.exit_code == 0, shown.output


def test_what_the_best_sees_is_drawn_and_its_decoding_timed_once(found: RunView, tmp_path: Path) -> None:
    heard: list[str] = []
    look(found.path, heard.append)
    best = found.front[0].result.number
    assert heard[-1] == f"looking at what trial {best} sees"
    view = RunView.load(found.path)
    assert view.seen is not None
    assert view.seen["decoding"]["p50_ms"] > 0
    assert len(view.seen["files"]) == 4
    with Image.open(found.path / "scenes.png") as picture:
        # Beside all-add where the best is another: annotated, all-add, the best. Else annotated and the best, twice.
        beside = best != 0
        assert view.seen["baseline"] == (0 if beside else None)
        if beside:  # those on which the two differ most come first, gains before losses
            told = view.seen["compared"]
            assert 0 < told["better"] + told["worse"] <= told["images"]
            assert told["shown_better"] == min(2, told["better"])
            assert told["shown_worse"] == min(2, told["worse"])
        columns, rows = (3, 4) if beside else (4, 2)
        assert columns * 384 < picture.width < (columns + 1) * 384
        assert rows * 384 < picture.height < (rows + 1) * 384
    page = nas.open_run(found.path).report(tmp_path / "report.html").read_text()
    assert ("as all-add and as trial" in page) == beside
    assert ("agrees more than all-add with what is annotated on" in page) == beside
    assert '<img class="scenes" src="data:image/png;base64,' in page
    assert "Decoding and non-maximum suppression are not in a detector" in page
    again = len(heard)
    look(found.path, heard.append)
    assert len(heard) == again


def test_objects_that_are_not_there_cannot_be_an_objective(settings: dict[str, Any], tmp_path: Path) -> None:
    config = load_config(None, settings | {"out": str(tmp_path / "run"), "objectives": ["ap", "ap_large"]})
    with pytest.raises(ConfigError, match=r"ap_large is of large objects, and the validation images of .* show none"):
        run_search(config, Silence())
    assert not (tmp_path / "run").exists()


def test_validation_images_without_objects_fail_before_training(settings: dict[str, Any], tmp_path: Path) -> None:
    path = cells(tmp_path / "empty", 8) / "annotations" / "val.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"annotations": []}))
    given = settings | {
        "data": f"coco:{tmp_path / 'empty'}",
        "out": str(tmp_path / "run"),
        "objectives": ["ap", "macs"],
    }
    with pytest.raises(ConfigError, match="show no object: AP cannot be told"):
        run_search(load_config(None, given), Silence())
    assert not (tmp_path / "run").exists()


def test_validation_maps_of_one_class_fail_before_training(settings: dict[str, Any], tmp_path: Path) -> None:
    for split, values in (("train", (0, 1)), ("val", (0, 255))):
        for kind in ("images", "masks"):
            (tmp_path / f"maps/{split}/{kind}").mkdir(parents=True)
        for number in range(16):
            Image.new("RGB", (32, 32), (number, 9, 9)).save(tmp_path / f"maps/{split}/images/{number}.png")
            drawn = Image.new("L", (32, 32), values[0])
            drawn.paste(values[1], (0, 0, 16, 16))
            drawn.save(tmp_path / f"maps/{split}/masks/{number}.png")
    given = {key: value for key, value in settings.items() if key != "objectives"}
    given |= {"task": "segmentation", "data": f"masks:{tmp_path / 'maps'}", "out": str(tmp_path / "run")}
    with pytest.raises(ConfigError, match="show class 'class 0' alone, of 2 classes: mIoU cannot tell"):
        run_search(load_config(None, given), Silence())
    assert not (tmp_path / "run").exists()


def test_what_was_left_out_stands_in_the_record_and_the_report(settings: dict[str, Any], tmp_path: Path) -> None:
    path = cells(tmp_path / "bad") / "annotations" / "train.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["bbox"] = [60, 60, 30, 30]
    path.write_text(json.dumps(document))
    given = settings | {"data": f"coco:{tmp_path / 'bad'}", "out": str(tmp_path / "run"), "trials": 1}
    run = run_search(load_config(None, given | {"data_errors": "drop"}), Silence())
    facts = data_facts(run.view)
    assert facts["left out with a bad annotation"] == "images/001.png"
    assert facts["left out, as it is bad"].startswith("annotations/train.json: annotation 1: box [60, 60, 90, 90]")
    assert "images/001.png" in run.report(tmp_path / "report.html").read_text()


def test_check_lists_every_bad_annotation(settings: dict[str, Any], tmp_path: Path) -> None:
    folder = cells(tmp_path / "bad", 8)
    path = folder / "annotations" / "train.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["bbox"] = [60, 60, 30, 30]
    document["annotations"][1]["category_id"] = 9
    path.write_text(json.dumps(document))
    options = ["--data", f"coco:{folder}", "--image-size", "64", "--batch-size", "4", "--epochs", "2"]
    refused = CliRunner().invoke(commands, ["check", *options, "--out", str(tmp_path / "run")])
    assert isinstance(refused.exception, DataRefused)
    assert refused.output.count("data: annotations/train.json: annotation") == 2
    assert "2 bad entries" in str(refused.exception)
    assert "--data-errors drop" in str(refused.exception)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "figure"), [("detection", "ap"), pytest.param("segmentation", "miou", marks=pytest.mark.long)]
)
def test_scenes_are_searched_through_ray(task: str, figure: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = nas_program(
        "search", "--space", "resnet8-fpn", "--data", "scenes-mini", "--task", task, "--train-images", "64",
        "--image-size", "64", "--epochs", "1", "--trials", "2", "--workers", "2", "--operators", "add,aff",
        "--finalists", "none", "--export", "none", "--out", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    view = RunView.load(out)
    assert len(view.complete) == 2
    assert view.metric == figure
    assert all(0 <= t.result.score <= 1 for t in view.complete)
    assert (out / "report.html").is_file()
    assert "scenes-mini (derived)" in (out / "report.html").read_text()
    assert view.attention.keys() == {trial.result.number for trial in view.estimated().front}


@pytest.mark.slow
def test_detectors_go_on_from_a_trained_one_with_noise(settings: dict[str, Any], tmp_path: Path) -> None:
    more = {"training.regime": "inherit", "training.parent_epochs": 3, "noise_seeds": 2}
    view = run_search(load_config(None, settings | more | {"out": str(tmp_path / "run")}), Silence()).view
    assert view.parent is not None
    assert view.parent["metric"] == "ap"
    assert " AP on 8 validation images" in regime_story(view)[0]
    (floor,) = noise_floors(view)
    assert floor.seeds == 2
    assert floor.score.raw_sd is not None
    assert "the AP of all-add has a standard deviation of" in " ".join(trust_story(view))


@pytest.mark.slow
def test_segmenters_share_a_supernet(tmp_path: Path) -> None:
    config = load_config(
        None,
        {
            "task": "segmentation", "train_images": 32, "image_size": 64, "trials": 2, "engine": "local",
            "operators": ["add", "se"], "export": "none", "finalists": "none",
            "training.epochs": 1, "training.regime": "supernet",
            "training.parent_epochs": 1, "latency.screen": False, "out": str(tmp_path / "run"),
        },
    )  # fmt: skip
    view = run_search(config, Silence()).view
    assert [r.state for r in view.results] == [TrialState.COMPLETE] * 2
    assert view.parent is not None
    assert view.parent["metric"] == "miou"
    assert all(0 < r.score < 1 and r.figures["pixel_accuracy"] > 0 for r in view.results)
