"""Restricted and tied spaces, their fingerprints, and designs out of a user's own file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from search_spaces import FusionChoice, InputSpec, PointShape, SearchSpace, SpaceError
from search_spaces.points import offer, tied

INPUT = InputSpec(3, 32, 10)


def labels(space: SearchSpace, seed: int) -> list[str]:
    return list(space.sample(random.Random(seed)).labels().values())


def test_points_that_are_not_named_stay_add() -> None:
    space = SearchSpace.named("resnet14", INPUT, vary=["layer3", "layer1.1"])
    assert [v.name for v in space.variables] == ["layer1.1", "layer3.0", "layer3.1"]
    assert space.size == 6 * 14 * 14
    for seed in range(20):
        a, _, c, d, *_ = labels(space, seed)
        assert (a, c, d) == ("add", "add", "add")
    with pytest.raises(SpaceError, match=r"'se/4' is not on offer at layer1\.0: choose from add"):
        space.architecture(space.baseline.labels() | {"layer1.0": "se/4"})
    with pytest.raises(SpaceError, match=r"unknown fusion point or stage of resnet14 'layer4': did you mean 'layer"):
        SearchSpace.named("resnet14", INPUT, vary=["layer4"])


def test_tied_points_are_one_choice() -> None:
    space = SearchSpace.named("resnet20", INPUT, tie="stage")
    assert [(v.name, len(v.points), len(v.choices)) for v in space.variables] == [
        ("layer1", 3, 6), ("layer2", 3, 10), ("layer3", 3, 14),
    ]  # fmt: skip
    assert space.size == 840
    assert len(set(space.enumerate())) == 840
    for seed in range(20):
        values = labels(space, seed)
        assert values == [value for value in values[::3] for _ in range(3)]
    neighbours = list(space.neighbours(space.baseline))
    assert len(neighbours) == 5 + 9 + 13
    assert all(sum(c.op != "add" for c in n.choices.values()) == 3 for n in neighbours)
    with pytest.raises(SpaceError, match=r"layer1\.1 is se/4, but it is tied to layer1\.0, which is add"):
        space.architecture(space.baseline.labels() | {"layer1.1": "se/4"})
    with pytest.raises(SpaceError, match="did you mean 'stage'"):
        SearchSpace.named("resnet20", INPUT, tie="stages")


def test_what_tied_points_do_not_have_in_common_is_left_out_with_the_reason() -> None:
    space = SearchSpace.named("resnet20-bifpn", INPUT, operators=("add", "aff", "sk"), tie="stage")
    points = {point.name: point for point in space.points}
    assert [str(choice) for choice in points["bottom_up.n2"].choices] == ["add", "sk/4", "sk/8"]
    assert points["bottom_up.n1"].left_out == {"aff": "'aff' fuses 2 maps, not 3"}
    why = "'aff' is not on offer at every point of bottom_up, which are tied"
    assert points["bottom_up.n2"].left_out == {"aff": why}
    with pytest.raises(SpaceError, match=rf"'aff/4' is not on offer at bottom_up\.n2: {why}; choose from add, sk/4"):
        space.architecture(space.baseline.labels() | {"bottom_up.n2": "aff/4"})
    assert [op for op in ("add", "concat", "sk", "aff", "se") if space.offers(op)] == ["add", "sk", "aff"]
    assert [space.offers("sk", ratio) for ratio in (4, 16, 32, None)] == [True, True, False, True]
    shapes = [PointShape(f"a.{i}", "short skip", width, width, 8, 8, 1) for i, width in enumerate((16, 64))]
    narrow, wide = tied([offer(shape, ("add", "se"), (4, 8)) for shape in shapes])
    assert narrow.choices == wide.choices == (FusionChoice("add"), FusionChoice("se", 4))
    assert wide.left_out == {"se/8": "'se/8' is not on offer at every point of a, which are tied"}


def test_tied_and_restricted() -> None:
    space = SearchSpace.named("resnet20", INPUT, vary=["layer2", "layer3.0"], tie="stage")
    assert [(v.name, v.points) for v in space.variables] == [
        ("layer2", ("layer2.0", "layer2.1", "layer2.2")), ("layer3", ("layer3.0",)),
    ]  # fmt: skip
    assert space.assign({"layer2": FusionChoice("se", 4), "layer3": FusionChoice("add")}).labels() == {
        **dict.fromkeys(["layer1.0", "layer1.1", "layer1.2"], "add"),
        **dict.fromkeys(["layer2.0", "layer2.1", "layer2.2"], "se/4"),
        **dict.fromkeys(["layer3.0", "layer3.1", "layer3.2"], "add"),
    }


def test_the_fingerprint_knows_every_part_of_a_space() -> None:
    spaces = [
        SearchSpace.named("resnet14", INPUT),
        SearchSpace.named("resnet14", InputSpec(1, 32, 10)),
        SearchSpace.named("resnet14", INPUT, operators=["add", "se"]),
        SearchSpace.named("resnet14", INPUT, reductions=[4]),
        SearchSpace.named("resnet14", INPUT, vary=["layer1"]),
        SearchSpace.named("resnet14", INPUT, tie="stage"),
    ]
    prints = [space.fingerprint for space in spaces]
    assert len(set(prints)) == len(spaces)
    assert [SearchSpace.from_json(space.to_json()).fingerprint for space in spaces] == prints
    assert [SearchSpace.from_json(space.to_json()) for space in spaces] == spaces


OWN = """
from search_spaces.networks import ResNetDesign

SPACE = ResNetDesign("a wide ResNet-8", "basic", (1, 1, 1), (32, 64, 128), "cifar")
NUMBER = 3
"""


def test_a_design_out_of_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "my_space.py"
    file.write_text(OWN)
    space = SearchSpace.named(f"{file}:SPACE", InputSpec(1, 28, 10))
    assert [point.shape.channels for point in space.points] == [32, 64, 128]
    assert SearchSpace.from_json(space.to_json()).fingerprint == space.fingerprint
    assert sum(p.numel() for p in space.build(space.baseline).parameters()) > 250_000


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "SPACE", r"my_space\.py: no such file; give FILE\.py:OBJECT"),
        (OWN, "SPACES", r"unknown object of .*my_space\.py 'SPACES': did you mean 'SPACE'"),
        (OWN, "NUMBER", "is a int; expected a network design"),
        ("1 / 0", "SPACE", "cannot be imported: ZeroDivisionError: division by zero"),
        ("def f(:", "SPACE", "cannot be imported: SyntaxError"),
    ],
)
def test_a_users_file_that_does_not_do(tmp_path: Path, content: str | None, name: str, message: str) -> None:
    file = tmp_path / "my_space.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SpaceError, match=message) as caught:
        SearchSpace.named(f"{file}:{name}")
    assert "\n" not in str(caught.value)


NOTHING = """
class Design:
    default_input = None

    def points(self, spec):
        return ()

    def build(self, spec, fuse):
        raise AssertionError

SPACE = Design()
"""


def test_a_network_without_points_is_no_space(tmp_path: Path) -> None:
    file = tmp_path / "my_space.py"
    file.write_text(NOTHING)
    with pytest.raises(SpaceError, match="has no fusion point"):
        SearchSpace.named(f"{file}:SPACE", INPUT)


OPERATOR = """
import torch
from torch import nn

from search_spaces import register
from search_spaces.networks import cifar_resnet


@register("mean_of_both")
class Halves(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x, y):
        return 0.5 * x + 1.5 * y


SPACE = cifar_resnet(8)
"""


def test_an_operator_out_of_a_users_file_reaches_other_processes(tmp_path: Path) -> None:
    import pickle
    import subprocess
    import sys

    from search_spaces.fusions import unregister

    file = tmp_path / "mine.py"
    file.write_text(OPERATOR)
    space = SearchSpace.named(f"{file}:SPACE", INPUT, operators=["add", "mean_of_both"])
    unregister("mean_of_both")
    program = (
        "import pickle, sys\nspace = pickle.loads(sys.stdin.buffer.read())\n"
        "print(type(space.build(space.uniform('mean_of_both')).layer1[0].fuse).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(space), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "Halves"


def test_settings_reach_every_operator_and_are_part_of_the_space() -> None:
    from torch import nn

    from search_spaces import FusionSettings
    from search_spaces.space import fusion_modules

    plain = SearchSpace.named("resnet8", INPUT)
    space = SearchSpace.named("resnet8", INPUT, settings=FusionSettings(norm="group", scale=1.0))
    fusions = fusion_modules(space.build(space.uniform("aff")))
    assert list(fusions) == ["layer1.0", "layer2.0", "layer3.0"]
    kinds = {type(part) for fusion in fusions.values() for part in fusion.modules()}
    assert nn.BatchNorm2d not in kinds
    assert all(fusion.scale == 1.0 for fusion in fusions.values())
    assert space.fingerprint != plain.fingerprint
    assert SearchSpace.from_json(space.to_json()) == space
