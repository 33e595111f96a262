"""The dry run: what it prints of a space's points, and that it spends no more than a preview is worth."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

import nas.tools.check as dry_run
from nas.settings.search import SearchConfig
from nas.terminal.check import print_check
from nas.terminal.networks import choices_on_offer, notes, places_text, points_table
from search_spaces import InputSpec, SearchSpace, names
from trials.data import DataError
from trials.judge import Bench


def points_of(name: str, **settings: Any) -> list[dict[str, Any]]:
    size = 33 if name == "googlenet" else 16
    space = SearchSpace.named(name, InputSpec(3, size, 4), **settings)
    return [point.to_json() for point in space.points]


def table_of(points: list[dict[str, Any]], width: int = 120) -> list[list[str]]:
    """The cells of every line."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(points_table(points))
    lines = console.export_text().splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_a_point_is_a_line_with_all_that_describes_it() -> None:
    lines = table_of(points_of("resnet20-bifpn"))
    assert lines[0] == ["point", "kind", "merges", "channels", "size", "stride", "choices"]
    by_name = {line[0]: line[1:] for line in lines[1:]}
    assert by_name["layer2.0"][:5] == ["short skip", "2 maps", "32", "8x8", "2"]
    assert by_name["layer2.0"][5] == "add concat se/4,8 cbam/4,8 aff/4,8 iaff/4,8"
    assert by_name["bottom_up.n1"] == ["long skip", "3 maps", "32", "8x8", "2", "add concat"]


def test_branches_are_shown_by_their_channels() -> None:
    (line,) = [line for line in table_of(points_of("googlenet")) if line[0] == "inception3a"]
    choices = "add concat se/4,8,16 cbam/4,8,16 aff/4,8,16"
    assert line[1:] == ["same layer", "64 + 128 + 32 + 32", "256", "4x4", "1", choices]


def test_tied_points_name_what_decides_them_and_fixed_ones_say_so() -> None:
    lines = table_of(points_of("resnet8", tie="stage", vary=["layer2"], operators=["add", "se"]))
    assert lines[0][-2:] == ["decided by", "choices"]
    assert [line[-2:] for line in lines[1:]] == [
        ["layer1.0", "add (fixed)"], ["layer2", "add se/4,8"], ["layer3.0", "add (fixed)"]
    ]  # fmt: skip


def test_notes_say_what_is_one_choice_and_what_is_left_out_and_why() -> None:
    assert notes(points_of("resnet20-bifpn", operators=("add", "se", "aff", "sk"))) == [
        "one choice, by the same bottleneck width:",
        "  /8, /16 = /4 of se, aff, sk: layer1",
        "  /16 = /8 of se, aff, sk: layer2, top_down, bottom_up.n2",
        "  /16 = /8 of sk: bottom_up.n1",
        "left out:",
        "  se, aff (fuses 2 maps, not 3): bottom_up.n1",
    ]
    assert notes(points_of("resnet20-bifpn", operators=("add", "concat", "aff"), tie="stage"))[-2:] == [
        "  aff (fuses 2 maps, not 3): bottom_up.n1",
        "  aff (is not on offer at every point of bottom_up, which are tied): bottom_up.n2",
    ]
    assert notes(points_of("resnet8", operators=("add",))) == []


def test_choices_and_places() -> None:
    assert choices_on_offer(["add", "se/4", "se/16", "concat"]) == "add se/4,16 concat"
    assert choices_on_offer(["add"]) == "add (fixed)"
    assert places_text(["b.1", "b.0", "c.1"], ["a", "b.0", "b.1", "c.0", "c.1"]) == "b, c.1"
    assert places_text(["a", "c.0"], ["a", "b.0", "c.0"]) == "a, c.0"
    assert places_text(["a", "b.0", "b.1"], ["a", "b.0", "b.1"]) == "every point"
    assert places_text(["a"], ["a"]) == "a"


def test_a_preview_measures_each_network_once_and_does_not_wait_for_slow_steps(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, batches = [], []
    latency, speed = Bench.latency, dry_run._speed
    monkeypatch.setattr(Bench, "latency", lambda self, network: measured.append(network) or latency(self, network))
    monkeypatch.setattr(
        dry_run,
        "_speed",
        lambda bench, a, batch_size, steps: batches.append(batch_size) or speed(bench, a, batch_size, steps),
    )
    monkeypatch.setattr(dry_run, "_SPEED_SECONDS", 1e-3)
    found = dry_run.check(SearchConfig(**tiny | {"latency": {"passes": 30, "warmup": 1, "max_spread": 1e-9}}))
    assert len(measured) == 2  # all-add, which is also the cheapest, and the costliest
    assert found["costs"]["baseline"] == found["costs"]["cheapest"]
    assert batches == [8, 8]
    assert all(value > 0 for value in found["images_per_second"].values())
    print_check(Console(width=120), found)
    assert "~ a latency that was measured once" in capsys.readouterr().out
    batches.clear()
    monkeypatch.setattr(dry_run, "_SPEED_SECONDS", 1e6)
    monkeypatch.setattr(dry_run, "_SPEED_STEPS", 1)
    dry_run.check(SearchConfig(**tiny | {"latency": {"passes": 30, "warmup": 1, "attempts": 1}}))
    assert batches == [8, 64, 8, 64]


def test_a_preview_says_what_is_wrong_with_the_data(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    generator = torch.Generator().manual_seed(0)
    for index in range(20):
        for path in (
            tmp_path / f"[b]/train/{'ab'[index % 2]}/{index}.png",
            tmp_path / f"[b]/val/{'ab'[index % 2]}/v.png",
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = torch.randint(0, 256, (8, 8, 3), generator=generator, dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(path)
    shutil.copy(tmp_path / "[b]/train/b/7.png", tmp_path / "[b]/val/a/w.png")
    bad = tmp_path / "[b]/train/a/bad.png"
    bad.write_text("no image")
    settings = tiny | {"data": f"folder:{tmp_path}/[b]", "train_images": None, "points": ["layer3"]}
    settings |= {"training": {"epochs": 1, "batch_size": 8}, "latency": {"passes": 30, "warmup": 1, "attempts": 1}}
    with pytest.raises(DataError, match=r"train/a/bad\.png: .* or leave them out with --data-errors drop"):
        dry_run.check(SearchConfig(**settings))
    found = dry_run.check(SearchConfig(**settings | {"data_errors": "drop"}))
    assert (found["data"]["train"], found["data"]["findings"]["unreadable"]["images"]) == (20, 1)
    assert found["data"]["findings"]["val_in_train"]["examples"] == ("val/a/w.png = train/b/7.png",)
    print_check(Console(width=120), found)
    printed = capsys.readouterr().out
    assert "[b]: 2 classes, 20 train, 3 val images" in printed
    assert "data: 1 validation image is a training image too: val/a/w.png = train/b/7.png" in printed
    assert "data: 1 image cannot be read and is left out: train/a/bad.png: " in printed


#: One of each kind; all are checked by hand, with pytest -m long.
SMALL = ("resnet14", "resnet20-bifpn", "inception-cifar", "googlenet", "resnet18-pan", "resnext50")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of 40 x 40 pixels in two classes: the embedded images are too small for some networks."""
    folder = tmp_path_factory.mktemp("photographs")
    generator = torch.Generator().manual_seed(0)
    for index in range(40):
        path = folder / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(torch.randint(0, 256, (40, 40, 3), generator=generator, dtype=torch.uint8).numpy()).save(path)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in SMALL else pytest.param(name, marks=pytest.mark.long) for name in names()]
)
def test_every_named_space_can_be_checked(
    name: str, photographs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FUSION_NAS_CACHE", str(photographs.parent / "cache"))
    settings: dict[str, Any] = {"training": {"epochs": 1, "batch_size": 8}, "latency": {"passes": 30, "warmup": 1}}
    found = dry_run.check(SearchConfig(space=name, data=f"folder:{photographs}", image_size=32, **settings))
    costs = found["costs"]
    assert costs["cheapest"]["macs"] == costs["baseline"]["macs"] < costs["costliest"]["macs"]
    assert all(cost["latency_ms"]["p50"] > 0 for cost in costs.values())
    assert found["size"] > 1
    print_check(Console(width=130), found)
    printed = capsys.readouterr().out
    assert all(f"\n{point['name']} " in printed for point in found["points"])
