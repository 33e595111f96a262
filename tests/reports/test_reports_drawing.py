"""Strips, palettes and label placement."""

from __future__ import annotations

from itertools import combinations

from reports_records import architecture

from reports import labels
from reports.drawing import Palette, choices_text, network

POINTS = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(9)]


def test_a_strip_has_a_cell_for_each_point_grouped_by_stage() -> None:
    strip = Palette(["add", "aff"]).strip(architecture(["add"] * 26 + ["aff"], POINTS))
    assert [(stage.name, len(stage.cells)) for stage in strip.stages] == [("layer1", 9), ("layer2", 9), ("layer3", 9)]
    assert strip.stages[-1].cells[-1].label == "aff/4"
    assert not strip.labelled
    assert strip.text == "layer1: add ×9; layer2: add ×9; layer3: add ×8, aff/4"


def test_few_points_are_labelled() -> None:
    assert Palette(["add"]).strip(architecture(["add"] * 3)).labelled


def test_operators_beyond_the_colours_are_striped_and_none_shares_a_look() -> None:
    colours = Palette(["add", *(f"op{i}" for i in range(20))]).colours
    assert len({(colour.fill, colour.striped) for colour in colours}) == 21


def test_the_ink_contrasts_with_the_fill() -> None:
    inks = {colour.fill: colour.ink for colour in Palette(["add", *(f"op{i}" for i in range(12))]).colours}
    assert inks["#f0e442"] == "#10151c"
    assert inks["#332288"] == "#ffffff"


def test_a_point_without_a_stage_is_one_of_its_own() -> None:
    text = choices_text(architecture(["add", "add"], ["stem", "neck.1"]).choices)
    assert text == "stem: add; neck: add"


def test_the_network_is_drawn_without_an_architecture_and_with_keys_missing() -> None:
    stages = network([{"name": "layer1.0", "channels": 16}, {"name": "layer1.1", "channels": 32}, {}], None)
    assert [stage.shape for stage in stages] == ["16 channels", "32 channels", ""]
    assert all(point.cell is None for stage in stages for point in stage.points)


def test_the_parts_of_a_stage_are_told_apart() -> None:
    def point(name: str, kind: str, size: int, maps: int = 2) -> dict[str, object]:
        shape = {"channels": 8, "height": size, "width": size, "merge": "sum", "inputs": [8] * maps}
        return {"name": name, "kind": kind, **shape}

    points = [
        point("layer1.0", "short skip", 16), point("layer1.1", "short skip", 16),
        point("top_down.p1", "long skip", 8), point("top_down.p0", "long skip", 16),
        point("bottom_up.n1", "long skip", 8, 3), point("bottom_up.n2", "long skip", 8, 3),
        point("bottom_up.n3", "long skip", 8),
        {"name": "inception3a", "kind": "same layer", "merge": "cat", "inputs": [64, 128, 32, 32]},
    ]  # fmt: skip
    chosen = architecture(["add", "se", "aff", "add", "sk", "add", "cbam", "concat"], [str(p["name"]) for p in points])
    stages = network(points, Palette(["add", "se", "aff", "sk", "cbam", "concat"]).strip(chosen))
    assert [(s.title, s.kind, s.merges, [p.cell.label for p in s.points if p.cell]) for s in stages] == [
        ("layer1", "short skip", "2 maps", ["add", "se/4"]),
        ("top_down.p1", "long skip", "2 maps", ["aff/4"]),
        ("top_down.p0", "long skip", "2 maps", ["add"]),
        ("bottom_up.n1 … bottom_up.n2", "long skip", "3 maps", ["sk/4", "add"]),
        ("bottom_up.n3", "long skip", "2 maps", ["cbam/4"]),
        ("inception3a", "same layer", "64 + 128 + 32 + 32", ["concat"]),
    ]


def test_labels_cover_neither_marks_nor_each_other() -> None:
    wanted = [(x / 10, x / 10, "all-concat") for x in range(1, 9)]
    sides = labels.place(wanted, [(x, y) for x, y, _ in wanted], [(0.5, 0.0, 0.5, 1.0)], (0, 1), (0, 1))
    boxes = [
        labels._box((300 * x, 250 * (1 - y)), text, side)
        for (x, y, text), side in zip(wanted, sides, strict=True)
        if side is not None
    ]
    assert len(boxes) >= 4
    assert not any(labels._overlap(a, b) for a, b in combinations(boxes, 2))


def test_a_label_without_room_is_left_out() -> None:
    crowd = [(x / 20, y / 20) for x in range(21) for y in range(21)]
    assert labels.place([(0.5, 0.5, "all-aff")], crowd, [], (0, 1), (0, 1)) == [None]
