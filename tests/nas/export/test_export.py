"""An export computes what was trained, where this package does not exist; or it leaves nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from export_networks import PROVENANCE, expected_logits, logits_alone, random_images, scaled, trained_network
from safetensors.torch import load_file

from nas.export import ClassifiedImages, ExportError, TrainedNetwork, export_network, folder
from nas.export.formats import FORMATS, Here
from nas.export.generation import generate
from nas.export.parity import TOLERANCE, Comparison, Gap
from search_spaces import Architecture, InputSpec, SearchSpace

GREY = InputSpec(1, 28, 10)
SMALL = InputSpec(3, 64, 10)
EIGHT = {
    "all six, first half": {"layer1.0": "aff/4", "layer2.0": "concat", "layer3.0": "iaff/8"},
    "all six, second half": {"layer1.0": "se/4", "layer2.0": "cbam/8", "layer3.0": "add"},
    "one everywhere": {"layer1.0": "cbam/4", "layer2.0": "cbam/4", "layer3.0": "cbam/16"},
}


def close(given: torch.Tensor, expected: torch.Tensor, relative: float = 1e-5) -> bool:
    return bool((given - expected).abs().max() <= relative * expected.abs().max())


def check(trained, out: Path, scratch: Path, relative: float = 1e-5) -> None:
    """model.py alone and model.onnx, against the network that was trained."""
    images = random_images(trained.space.input, 7)
    batches = [images[:1], images[:3], images]
    expected = [expected_logits(trained, batch) for batch in batches]
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    for batch, given, wanted in zip(batches, logits_alone(out, batches, scratch), expected, strict=True):
        assert close(given, wanted, relative)
        (logits,) = session.run(["logits"], {"images": scaled(trained, batch).numpy()})
        assert close(torch.from_numpy(logits), wanted, relative)
    assert all(ast.parse((out / "model.py").read_text()).body)


def ruff(path: Path) -> None:
    options = ["--isolated", "--no-cache", "--select", "E,F,I", "--line-length", "120"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *options, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module", params=EIGHT, ids=str)
def exported(request, tmp_path_factory):
    trained = trained_network("resnet8", GREY, EIGHT[request.param])
    out = tmp_path_factory.mktemp("export") / "deep" / "out"
    return trained, out, export_network(trained, out)


def test_every_artefact_gives_the_trained_logits(exported, tmp_path):
    trained, out, report = exported
    check(trained, out, tmp_path)
    assert report["passed"] is True
    assert report["accuracy"] is None
    assert json.loads((out / "parity.json").read_text()) == report
    assert {path.name for path in out.iterdir()} == set(folder.FILES)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_the_description_rebuilds_the_network(exported):
    trained, out, _ = exported
    document = json.loads((out / "arch.json").read_text())
    space = SearchSpace.from_json(document["space"])
    architecture = Architecture.from_json(document["architecture"])
    assert architecture == trained.architecture
    assert document["key"] == architecture.key
    assert document["provenance"] == PROVENANCE
    space.build(architecture).load_state_dict(load_file(out / "weights.safetensors"))
    model = onnx.load(out / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["architecture"] == architecture.key
    assert json.loads(properties["classes"]) == list(trained.classes)
    assert json.loads(properties["mean"]) == list(trained.mean)


def test_the_source_is_clean_and_holds_only_what_is_used(exported):
    trained, out, _ = exported
    ruff(out / "model.py")
    tree = ast.parse((out / "model.py").read_text())
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"torch"}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    offered = {"load_fused", "as_backbone", "load_trunk", "register_with_timm"}
    assert defined - used <= {"load", "fit", "preprocess", "build", "main"} | offered
    assert "Bottleneck" not in defined
    network = trained.space.build(trained.architecture)
    built = {type(module).__name__ for module in network.modules() if not type(module).__module__.startswith("torch.")}
    # Beside what is built only its base classes, and alternatives that a function used names (all `used`, above).
    assert built <= {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize(
    ("name", "figures", "told"),
    [
        ("resnet8", {"correct": 5, "images": 9}, "5 of 9 {split} images right"),
        ("resnet8-fpn-fcos", {"figures": {"ap": 0.25}}, "AP 0.2500 on the {split} split"),
        ("resnet8-fpn-semantic", {"figures": {"miou": 0.25}}, "mean IoU 0.2500 on the {split} split"),
    ],
)
def test_the_header_names_the_trial_and_the_split_that_it_was_judged_on(name, figures, told):
    space = SearchSpace.named(name, InputSpec(3, 64, 4))
    weights = space.build(space.baseline).state_dict()
    for recorded, split in ({}, "validation"), ({"judged_on": "val"}, "validation"), ({"judged_on": "test"}, "test"):
        trained = TrainedNetwork(
            space, space.baseline, weights, tuple("abcd"), (0.5,) * 3, (0.5,) * 3, {**PROVENANCE, **figures, **recorded}
        )
        header = " ".join(generate(trained).text.split('"""')[1].split())
        assert f"Trained: run runs/one, trial 7, seed 1, {told.format(split=split)}." in header


def test_model_py_runs_as_a_script(exported, tmp_path):
    trained, out, _ = exported
    done = subprocess.run(
        [sys.executable, "-I", "-B", str(out / "model.py")], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    parameters = sum(p.numel() for p in trained.space.build(trained.architecture).parameters())
    assert done.stdout.startswith(f"{parameters:,} parameters")


@pytest.mark.slow
def test_the_recorded_accuracy_is_met_and_an_own_export_replaced(tmp_path, capfd):
    trained = trained_network("resnet8", GREY, EIGHT["all six, first half"])
    images = random_images(GREY, 300)
    labels = torch.randint(0, 10, (300,), generator=torch.Generator().manual_seed(1))
    correct = int((expected_logits(trained, images).argmax(dim=1) == labels).sum())
    out = tmp_path / "out"
    seed = torch.random.get_rng_state()
    export_network(trained, out)
    assert torch.equal(seed, torch.random.get_rng_state())
    (out / "__pycache__").mkdir()

    steps: list[str] = []
    recorded = replace(trained, provenance={**PROVENANCE, "correct": correct, "images": 300})
    report = export_network(recorded, out, ClassifiedImages(images, labels), steps.append)
    everybody = ["recorded", "network", "model.py", "model.pt2", "model.onnx"]
    assert report["accuracy"]["correct"] == dict.fromkeys(everybody, correct)
    assert report["accuracy"]["equal"] is True
    assert [row["batch"] for row in report["artefacts"]["model.onnx"]["batches"]][2:] == [
        "real, batch 1",
        "real, batch 7",
        "all 300 images",
    ]
    assert steps
    assert f"{correct} of 300 validation images right" in (out / "model.py").read_text()
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    wrong = replace(trained, provenance={**PROVENANCE, "correct": correct + 1, "images": 300})
    with pytest.raises(ExportError, match=f"recorded has {correct + 1} of 300"):
        export_network(wrong, out, ClassifiedImages(images, labels))
    with pytest.raises(ExportError, match="recorded has"):
        export_network(wrong, tmp_path / "new", ClassifiedImages(images, labels))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert capfd.readouterr() == ("", "")


def test_weights_of_another_network_are_refused(tmp_path):
    trained = trained_network("resnet8", GREY, EIGHT["one everywhere"])
    other = trained_network("resnet8", GREY, {})
    with pytest.raises(ExportError, match="weights are not those of"):
        export_network(replace(trained, state_dict=other.state_dict), tmp_path / "out")
    few = replace(trained, provenance={"correct": 3, "images": 300})
    with pytest.raises(ExportError, match="300 were recorded"):
        export_network(few, tmp_path / "out", ClassifiedImages(random_images(GREY, 4), torch.zeros(4).long()))
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_gives_nan_is_not_exported(tmp_path):
    trained = trained_network("resnet8", GREY, {})
    weights = {**trained.state_dict, "fc.bias": torch.full((10,), float("nan"))}
    with pytest.raises(ExportError, match=r"model\.(py|pt2|onnx) differs from the trained network by nan"):
        export_network(replace(trained, state_dict=weights), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rounding", "gap", "said"),
    [
        (0.0, 2e-5, "keep the run and report it"),
        (2.1e-6, 2e-5, None),  # another runtime rounds up to ten times as far as torch
        (2.1e-6, 4e-5, "keep the run and report it"),
        (0.28, 0.3, "float32 itself is 0.28 from float64 here, so nothing can agree: train it for longer"),
    ],
)
def test_how_far_another_runtime_may_be_is_measured_by_the_networks_own_rounding(rounding, gap, said):
    onnx = next(form for form in FORMATS if form.name == "model.onnx")
    runner = Here("model.onnx", lambda inputs: {})
    comparison = Comparison({onnx.name: onnx}, {onnx.name: runner}, rounding=rounding)
    comparison.gaps["model.onnx", "random, batch 1", "logits"] = Gap(gap, 1.0, False)
    comparison.check()
    assert list(comparison.runners) == ([] if said else ["model.onnx"])
    assert said is None or str(comparison.wrong["model.onnx"]).endswith(said)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b")}, "2 class names for 10 classes"),
        ({"mean": (0.1, 0.2)}, "give 1"),
        ({"std": (0.0,)}, "not above 0"),
    ],
)
def test_what_does_not_fit_the_input_is_refused(change, message):
    with pytest.raises(ExportError, match=message):
        replace(trained_network("resnet8", GREY, {}), **change)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "choices"),
    [
        pytest.param(
            *("resnet18", {"layer1.0": "iaff/4", "layer2.1": "cbam/8", "layer3.0": "concat", "layer4.1": "se/16"}),
            marks=pytest.mark.long,
        ),
        ("resnet50", {"layer1.2": "aff/16", "layer2.0": "cbam/4", "layer3.3": "concat", "layer4.0": "se/8"}),
    ],
)
def test_larger_networks(name, choices, tmp_path):
    trained = trained_network(name, SMALL, choices)
    images = random_images(SMALL, 20)
    report = export_network(trained, tmp_path / "out", ClassifiedImages(images, torch.zeros(20).long()))
    ruff(tmp_path / "out" / "model.py")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    # Two orders of sums, each as far from the truth as float32 is.
    check(trained, tmp_path / "out", scratch, max(TOLERANCE, report["tolerance"]["relative"]["model.onnx"]))
    assert all(row["relative"] <= TOLERANCE for row in report["artefacts"]["model.py"]["batches"])
    classes = {
        node.name
        for node in ast.parse((tmp_path / "out" / "model.py").read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    assert ("Bottleneck" in classes) == (name == "resnet50")
    assert ("BasicBlock" in classes) == (name == "resnet18")
