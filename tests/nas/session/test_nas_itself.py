"""A run is itself: wherever it is, wherever one stands, and not with other code, data or versions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

import nas
from nas.settings.errors import ConfigError
from nas.trainings import sameness
from search_spaces import SpaceError
from search_spaces.user_file import _module
from trials.record.store import Store
from trials.trial import TrialState

NET = """
from torch import nn

from blocks import Res  # beside this file


class Net(nn.Module):
    def __init__(self, num_classes=2):
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 8, 3, 2, 1), Res(8), nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))
"""
BLOCKS = """
from torch import nn


class Res(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU())

    def forward(self, x):
        return x + self.f(x)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network and images, in which one stands."""
    folder = tmp_path / "project"
    for place, label in enumerate(("dark", "light")):
        (folder / "images" / label).mkdir(parents=True)
        for number in range(40):
            pixels = numpy.random.default_rng(number).integers(90 * place, 90 * place + 90, (16, 16, 3), numpy.uint8)
            Image.fromarray(pixels).save(folder / "images" / label / f"{number}.png")
    (folder / "net.py").write_text(NET)
    (folder / "blocks.py").write_text(BLOCKS)
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def settings(tiny: dict[str, Any]) -> dict[str, Any]:
    training = {"epochs": 1, "batch_size": 16, "regime": "scratch", "precision": "float32"}
    return tiny | {
        "space": "net.py:Net", "data": "folder:images", "train_images": None, "trials": 1, "out": "run",
        "operators": ["add", "se"], "training": training,
    }  # fmt: skip


def anew() -> None:
    """As another process would: users' files are run again, as they are now."""
    from search_spaces.discovery.reference import found
    from search_spaces.user_code import code_of, read

    for known in (_module, code_of, found):
        known.cache_clear()
    read.clear()


def test_it_goes_on_reports_and_exports_from_anywhere(
    project: Path, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nas.search(**settings)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = project / "run"
    assert nas.open_run(run).export("best", elsewhere / "exported")
    # Spelt in another way, from another folder.
    spelt = {"space": "../project/./net.py:Net", "data": "folder:../project/images", "out": str(run), "trials": 2}
    assert nas.search(**settings | spelt, extend=True).view.count(TrialState.COMPLETE) == 2


def test_what_has_moved_is_pointed_to_and_recognised(
    project: Path, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = nas.search(**settings).path.absolute()
    moved = project.with_name("moved")
    monkeypatch.chdir(tmp_path)
    shutil.move(project, moved)
    run, exported = moved / "run", tmp_path / "exported"
    anew()
    with pytest.raises(ValueError, match="project/images"):
        nas.open_run(run).export("best", exported)
    with pytest.raises(SpaceError, match=r"project/net\.py: no such file"):
        nas.open_run(run, data=f"folder:{moved / 'images'}").export("best", exported)
    there = {"data": f"folder:{moved / 'images'}", "space": f"{moved / 'net.py'}:Net"}
    assert nas.open_run(run, **there).export("best", exported)
    # Pointed to other images, of the same kind and name.
    other = tmp_path / "other" / "images"
    shutil.copytree(moved / "images", other)
    next((other / "dark").iterdir()).unlink()
    with pytest.raises(ConfigError, match="are not those of its first trials"):
        nas.search(resume=run, data=f"folder:{other}", space=there["space"])
    longer = nas.search(resume=run, **there, extend=True, trials=2)
    assert longer.view.count(TrialState.COMPLETE) == 2
    assert longer.config.data == there["data"]  # from now on it is there
    assert nas.open_run(run).export("best", exported)


@pytest.mark.parametrize("file", ["net.py", "blocks.py"])
def test_other_code_is_another_network(project: Path, settings: dict[str, Any], file: str) -> None:
    nas.search(**settings)
    changed = (project / file).read_text()
    (project / file).write_text(changed.replace("nn.ReLU()", "nn.Tanh()").replace(".mean(", ".amax("))
    anew()
    with pytest.raises(ConfigError, match=r"the code of .*net\.py:Net, with what it imports .* is not that of its"):
        nas.search(**settings | {"trials": 2}, extend=True)
    with pytest.raises(SpaceError, match=r"the network of .*net\.py:Net has changed"):
        nas.open_run("run").export("best")
    (project / file).write_text("# what is only said\n" + changed.replace("\n\n", "\n"))
    anew()
    assert nas.search(**settings | {"trials": 2}, extend=True).view.count(TrialState.COMPLETE) == 2


@pytest.mark.slow
def test_other_versions_are_said(tiny: dict[str, Any]) -> None:
    run = nas.search(**tiny | {"trials": 1})
    recorded = run.view.description["environment"]
    sameness.check_versions(run.path, run.view.description)
    for key, value, message in (
        ("torch", "1.13.1", r"its trials were trained with torch 1\.13\.1, here is .*--extend goes on all the same"),
        ("formulas", "12345678", r"with operators and training code of fingerprint 12345678, here is [0-9a-f]{8}: res"),
    ):
        other = {"description": run.view.description | {"environment": recorded | {key: value}}}
        with Store.open_for_writing(run.path / "study.db") as store:
            store.put({**other, "config": run.view.config | {"trials": 2}})
            store.end_session(store.begin_session({}), "interrupted")
        with pytest.raises(ConfigError, match=message):
            nas.search(**tiny | {"trials": 2})
    assert nas.search(**tiny | {"trials": 2}, extend=True).view.count(TrialState.COMPLETE) == 2


@pytest.mark.parametrize(
    "file", ["trials/data/augmentation.py", "trials/data/scene_augmentation.py", "search_spaces/fusions/aff.py"]
)
def test_what_decides_a_training_is_part_of_its_formulas(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = sameness.formulas(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * path.as_posix().endswith(file))
    assert sameness.formulas.__wrapped__() != before
