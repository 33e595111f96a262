"""Formats by name, eight bits, the card, the program, the hashes: one export of everything, and what tampering does."""

from __future__ import annotations

import importlib.util
import io
import json
import py_compile
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from export_networks import PROVENANCE, expected_logits, random_images, trained_network
from PIL import Image

from nas.cli.main import commands
from nas.export import ClassifiedImages, ExportError, export_network
from nas.export.card import wilson
from nas.export.formats import FORMATS, chosen
from nas.export.formats.int8 import OnnxInt8
from nas.export.formats.onnx_graph import OnnxGraph
from nas.export.formats.openvino_ir import OpenVino
from nas.export.formats.source import Source
from nas.export.hashes import NAME, write_hashes, wrong_hashes
from nas.export.verifying import verify
from search_spaces import InputSpec

SPEC = InputSpec(3, 32, 4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    trained = trained_network("resnet8", SPEC, {"layer1.0": "cbam/4", "layer2.0": "aff/4"})
    images = random_images(SPEC, 40)
    labels = torch.randint(0, 4, (40,), generator=torch.Generator().manual_seed(1))
    correct = int((expected_logits(trained, images).argmax(dim=1) == labels).sum())
    known = {**PROVENANCE, "correct": correct, "images": 40, "latency_ms": {"p50": 1.5}, "data": {"name": "toys"}}
    out = tmp_path_factory.mktemp("all") / "out"
    validation = ClassifiedImages(images, labels, images[:24] // 2)
    report = export_network(replace(trained, provenance=known), out, validation, formats=["all"])
    return out, report


def test_everything_that_can_be_made_is_and_the_rest_has_a_reason(exported):
    out, report = exported
    made = {form.name for form in FORMATS} - report["left_out"].keys()
    assert {"model.py", "model.pt2", "model.onnx", "model.int8.onnx"} <= made
    assert all("is not installed" in why or "no environment" in why for why in report["left_out"].values())
    assert report["artefacts"].keys() == made
    questions = {"random, batch 1", "random, batch 7", "real, batch 1", "real, batch 7", "all 40 images"}
    for name, found in report["artefacts"].items():
        assert {row["batch"] for row in found["batches"]} == questions
        assert found["latency_ms"]["p95"] >= found["latency_ms"]["p50"] > 0
        assert found["bytes"] == (out / name).stat().st_size
    assert report["promised_latency_ms"] == {"p50": 1.5}
    assert report["artefacts"]["model.int8.onnx"]["allowed"] is None
    assert report["accuracy"]["correct"].keys() == made | {"recorded", "network"}


def test_eight_bits_are_fewer_bytes_and_say_how_they_were_made(exported):
    out, _ = exported
    assert (out / "model.int8.onnx").stat().st_size < 0.6 * (out / "model.onnx").stat().st_size
    assert json.loads((out / "arch.json").read_text())["model.int8.onnx"] == {
        "images": 24,  # those that were trained on
        "prepared": "without symbolic shapes",
    }


def test_the_card_has_every_field(exported):
    out, _ = exported
    text = (out / "README.md").read_text()
    head = text.split("---")[1]
    for field in ("license:", "library_name: pytorch", "pipeline_tag: image-classification", 'datasets: ["toys"]'):
        assert field in head
    assert "value: null" not in head
    for words in ("95 % interval", "layer2.0", "aff/4", "p50", "promised", "model.load()", "torch.export.load"):
        assert words in text
    assert "promised 1.5 ms" in text
    assert "{" not in text.split("---", 2)[2]
    low, high = wilson(5, 10)
    assert (round(low, 3), round(high, 3)) == (0.237, 0.763)  # Newcombe 1998


def test_the_program_tells_the_classes_of_an_image(exported, tmp_path):
    out, _ = exported
    Image.new("RGB", (50, 40), (200, 30, 30)).save(tmp_path / "red.png")
    done = subprocess.run(
        [sys.executable, "-B", "predict.py", str(tmp_path / "red.png")],
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert {name for _, name in lines} == {f"class {index}" for index in range(4)}
    assert sum(float(share) for share, _ in lines) == pytest.approx(1, abs=0.01)


def test_the_numbers_of_the_preprocessing_are_those_of_the_source(exported):
    out, _ = exported
    numbers = json.loads((out / "preprocessing.json").read_text())
    namespace = {"__name__": "model", "__file__": str(out / "model.py")}
    exec(compile((out / "model.py").read_text(), "model.py", "exec"), namespace)
    assert numbers["mean"] == list(namespace["MEAN"])
    assert numbers["resize"]["width"] == namespace["INPUT_SIZE"]
    image = Image.new("RGB", (50, 40), (200, 30, 30))
    single, batch = namespace["preprocess"](image), namespace["preprocess"](namespace["fit"](image)[None])
    assert torch.equal(single, batch[0])
    assert single[0, 0, 0] == pytest.approx((200 / 255 - numbers["mean"][0]) / numbers["std"][0])


def test_what_was_exported_is_sound_and_a_flipped_byte_in_any_file_is_not(exported, tmp_path):
    out, _ = exported
    assert verify(out)["passed"]
    copied = tmp_path / "copied"
    for path in sorted(out.rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(out, copied)
        changed = copied / path.relative_to(out)
        content = bytearray(changed.read_bytes())
        content[len(content) // 2] ^= 1
        changed.write_bytes(content)
        found = verify(copied)
        assert not found["passed"], path.name
        assert path.name == NAME or path.name in found["wrong"]  # a changed hash is another file's


def test_a_name_outside_the_folder_a_missing_file_and_a_new_one_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    write_hashes(tmp_path)
    assert wrong_hashes(tmp_path) == {}
    (tmp_path / "b.txt").write_text("b")
    assert wrong_hashes(tmp_path) == {"b.txt": f"is not named in {NAME}"}
    (tmp_path / "a.txt").unlink()
    assert wrong_hashes(tmp_path)["a.txt"] == "is missing"
    (tmp_path / NAME).write_text(f"{'0' * 64}  ../outside\n")
    assert "outside the folder" in wrong_hashes(tmp_path)[NAME]


def test_imports_and_pickles_are_told_even_where_the_hashes_were_made_anew(exported, tmp_path):
    out, _ = exported
    shutil.copytree(out, tmp_path / "more")
    with (tmp_path / "more" / "model.py").open("a") as file:
        file.write("import requests\n")
    write_hashes(tmp_path / "more")
    assert verify(tmp_path / "more")["wrong"]["model.py"].startswith("imports requests, which arch.json does not say")
    shutil.copytree(out, tmp_path / "code")
    torch.save({"a": Path("x")}, tmp_path / "code" / "weights.pt")
    write_hashes(tmp_path / "code")
    assert verify(tmp_path / "code")["wrong"] == {"weights.pt": "is no file of tensors alone"}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("model.py", "import subprocess\n", "imports subprocess"),
        ("model.py", "__import__('os')\n", "imports __import__"),
        ("predict.py", "from socket import socket\n", "imports socket"),
        ("code/more.py", "import os.path\n", "imports os"),
        ("code/more.py", "import (\n", "is no Python"),
        ("__pycache__/more.cpython-311.pyc", "", "is compiled code"),
        ("model.pyc", "", "is compiled code"),
    ],
)
def test_what_no_network_needs_is_told_and_nothing_is_run(exported, tmp_path, name, text, told):
    shutil.copytree(exported[0], tmp_path / "out")
    path = tmp_path / "out" / name
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(text)
    write_hashes(tmp_path / "out")
    found = verify(tmp_path / "out")
    assert [name] == list(found["wrong"])
    assert found["wrong"][name].startswith(told)
    assert found["differences"] == {}


def test_what_python_compiled_is_no_fault_and_what_was_planted_as_such_is_not_run(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "out", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "evil.py").write_text("import sys; sys.exit('it ran')")
    planted = Path(importlib.util.cache_from_source(tmp_path / "out" / "model.py"))
    py_compile.compile(
        str(tmp_path / "evil.py"), str(planted), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    run = subprocess.run([sys.executable, "-c", "import model"], cwd=tmp_path / "out", capture_output=True, check=False)
    assert b"it ran" in run.stderr  # Python itself runs it
    found = verify(tmp_path / "out")
    assert found["passed"], found
    assert found["notes"][planted.relative_to(tmp_path / "out").as_posix()].startswith("is model.py as Python compiled")
    assert "model.py" in found["differences"]


def test_a_format_that_cannot_be_run_here_is_noted_not_counted(exported, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(exported[0], out)
    monkeypatch.setattr(OnnxGraph, "needs", ("no_such_package",))
    monkeypatch.setattr(Source, "needs", ("no_such_package",))
    monkeypatch.setattr(OnnxInt8, "needs", ("no_such_package",))
    monkeypatch.setattr(OpenVino, "needs", ("no_such_package",))
    found = verify(out)
    assert found["passed"]
    assert found["notes"]["model.onnx"] == "was not run: no_such_package is not installed"
    assert found["notes"]["model.pt2"] == "was run, and there is no other to compare it with"
    assert list(found["differences"]) == ["model.pt2"]


class Runs:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize("part", ["weights", "constants"])
def test_a_pickle_in_a_program_is_told_before_it_is_read(exported, tmp_path, part):
    shutil.copytree(exported[0], tmp_path / "out")
    content = io.BytesIO()
    torch.save(Runs(), content)
    place = f"{'weight' if part == 'weights' else 'tensor'}_99"
    with (
        zipfile.ZipFile(exported[0] / "model.pt2") as sound,
        zipfile.ZipFile(tmp_path / "out" / "model.pt2", "w") as archive,
    ):
        for name in sound.namelist():
            given = sound.read(name)
            if name.endswith(f"model_{part}_config.json"):
                config = json.loads(given)
                config["config"]["bad"] = {
                    "path_name": place,
                    "is_param": False,
                    "use_pickle": True,
                    "tensor_meta": None,
                }
                given = json.dumps(config).encode()
                archive.writestr(f"{name.rpartition('/')[0]}/{place}", content.getvalue())
            archive.writestr(name, given)
    write_hashes(tmp_path / "out")
    told = "holds bad as an object, which runs code when it is read"
    assert verify(tmp_path / "out", run=False)["wrong"] == {"model.pt2": told}


def test_what_is_not_of_the_export_is_passed_over_unless_it_hides_what_is(exported, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(exported[0], out)
    (out / "notes.txt").write_text("mine")
    found = verify(out, run=False)
    assert found["passed"]
    assert list(found["notes"]) == ["notes.txt"]
    assert found["differences"] == {}
    (out / "torch.py").write_text("raise SystemExit")
    assert verify(out)["wrong"] == {"torch.py": "hides torch, which is imported: move it away"}


@pytest.mark.parametrize("name", ["json.py", "numpy.py", "numpy/__init__.py", "torch/_utils.py"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_name_that_torch_itself_would_import_is_told(exported, tmp_path, name, listed):
    out = tmp_path / "out"
    shutil.copytree(exported[0], out)
    for beside in (name, "mine.py", "mine_too/numpy.py", "numpy_too/__init__.py"):
        (out / beside).parent.mkdir(exist_ok=True)
        (out / beside).write_text("raise SystemExit('it ran')")
    if listed:
        write_hashes(out)
    top = Path(name).parts[0].removesuffix(".py")
    assert verify(out)["wrong"] == {name: f"hides {top}, which is imported: move it away"}


@pytest.mark.parametrize("name", ["code/torch", "torch", "code/more.py", "weights.pt", "nowhere"])
def test_a_link_is_told_and_what_lies_behind_it_is_not_run(exported, tmp_path, name):
    out, behind = tmp_path / "out", tmp_path / "behind"
    shutil.copytree(exported[0], out)
    (out / "code").mkdir(exist_ok=True)
    (behind / "torch").mkdir(parents=True)
    (behind / "torch" / "__init__.py").write_text("raise SystemExit('it ran')")
    (behind / "more.py").write_text("import math\n")
    if name == "weights.pt":
        shutil.move(out / name, behind / name)
    (out / name).symlink_to(behind / Path(name).name)
    write_hashes(out)
    found = verify(out)
    assert list(found["wrong"]) == [name]
    assert found["wrong"][name].startswith("is a link")
    assert found["differences"] == {}


def test_a_travelling_module_of_the_name_of_pythons_own_excuses_no_import(exported, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(exported[0], out)
    (out / "code").mkdir(exist_ok=True)
    (out / "code" / "subprocess.py").write_text("import math\n")
    with (out / "model.py").open("a") as file:
        file.write("import subprocess\n")
    write_hashes(out)
    assert verify(out)["wrong"]["model.py"].startswith("imports subprocess, which")


def with_parity(out: Path, change) -> None:
    report = json.loads((out / "parity.json").read_text())
    change(report)
    (out / "parity.json").write_text(json.dumps(report))


def with_weights(path: Path, change) -> None:
    """An ONNX file whose float weights and scales are other ones."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(change(values).astype(values.dtype), tensor.name))
    onnx.save(model, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report["artefacts"]["model.onnx"].update(allowed=None),
        lambda report: report["artefacts"]["model.onnx"].update(allowed=1e9),
        lambda report: report["artefacts"]["model.onnx"].update(allowed="much"),
        lambda report: report["artefacts"].pop("model.onnx"),
        lambda report: report.pop("artefacts"),
    ],
)
def test_what_parity_json_allows_cannot_widen_what_the_format_may(exported, tmp_path, change):
    out = tmp_path / "out"
    shutil.copytree(exported[0], out)
    with_parity(out, change)
    for form in FORMATS[1:2] + FORMATS[3:]:  # model.py and model.onnx are enough
        (out / form.name).unlink(missing_ok=True)
    write_hashes(out)
    assert verify(out)["passed"]
    with_weights(out / "model.onnx", lambda values: values * 1.01)
    write_hashes(out)
    found = verify(out)
    assert found["wrong"]["model.onnx"].startswith("differs from model.py by")
    assert not found["passed"]


def test_eight_bits_that_give_no_numbers_are_told_and_float32_is_not_measured_by_eight_bits(exported, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(exported[0], out)
    for name in ("model.py", "model.pt2", "model.onnx"):
        (out / name).rename(tmp_path / name)
    write_hashes(out)
    sound = verify(out)
    assert sound["passed"], sound
    shutil.move(tmp_path / "model.py", out / "model.py")
    with_weights(out / "model.int8.onnx", lambda values: values * float("nan"))
    write_hashes(out)
    assert verify(out)["wrong"] == {"model.int8.onnx": "model.int8.onnx answers with values that are not finite"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("arch.json", {"format": "another"}),
        ("arch.json", {"format": "fusion-nas-export"}),
        ("arch.json", {"format": "fusion-nas-export", "input": 3, "output": []}),
        ("arch.json", []),
        ("parity.json", []),
        ("parity.json", None),
    ],
)
def test_a_description_of_something_else_is_told_where_its_hash_is_right(exported, tmp_path, name, content):
    out = tmp_path / "out"
    shutil.copytree(exported[0], out)
    (out / name).unlink()
    if content is not None:
        (out / name).write_text(json.dumps(content))
    write_hashes(out)
    assert verify(out)["wrong"] == {name: "is not what was exported"}


@pytest.mark.parametrize(
    ("load", "told"),
    [
        ("raise ValueError('not today')", "ValueError: not today"),
        ("sys.exit(0)", "it ended without a word"),
        ("return nn.Linear(2, 2)", "RuntimeError"),
    ],
)
def test_a_source_that_does_not_run_is_told_and_the_others_are_compared(exported, tmp_path, load, told):
    out = tmp_path / "out"
    shutil.copytree(exported[0], out)
    with (out / "model.py").open("a") as file:
        file.write(f"\n\ndef load():\n    import sys\n\n    {load}\n")
    write_hashes(out)
    found = verify(out)
    assert list(found["wrong"]) == ["model.py"]
    assert told in found["wrong"]["model.py"]
    assert {"model.pt2", "model.onnx"} <= found["differences"].keys()


def test_a_package_that_arch_json_says_is_no_reason_to_run_it(exported, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(exported[0], out)
    document = json.loads((out / "arch.json").read_text())
    document["model.py"]["needs"].append("requests")
    (out / "arch.json").write_text(json.dumps(document))
    with (out / "model.py").open("a") as file:
        file.write("raise SystemExit('it ran')\nimport requests\n")
    write_hashes(out)
    found = verify(out)
    assert found["wrong"] == {}
    assert "not run" in found["notes"]["model.py"]
    assert "model.py" not in found["differences"]


def test_a_folder_that_is_no_export_cannot_be_verified(tmp_path):
    with pytest.raises(ExportError, match=r"holds no arch\.json"):
        verify(tmp_path)


def test_formats_go_by_their_names():
    assert [form.name for form in chosen(["onnx", "py"])] == ["model.py", "model.onnx"]
    assert chosen(["all"]) == FORMATS
    assert "int8.onnx" not in [form.name for form in chosen(None)]
    with pytest.raises(ExportError, match="there is no format 'mlmodel'"):
        chosen(["mlmodel"])
    shown = next(option.help for option in commands.commands["export"].params if option.name == "formats")
    for form in FORMATS:
        assert form.name.removeprefix("model.") in shown


def test_one_format_alone_and_files_of_others_stay(tmp_path):
    trained = trained_network("resnet8", SPEC, {})
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="or give --force"):
        export_network(trained, out, formats=["py"])
    report = export_network(trained, out, formats=["py"], force=True)
    assert report["artefacts"].keys() == {"model.py"}
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "model.onnx").exists()


def test_executorch_runs_what_it_was_given(tmp_path):
    """In a process of its own: its partitioner traces modules, which the hooks of these tests keep it from."""
    pytest.importorskip("executorch")
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from export_networks import expected_logits, random_images, scaled, trained_network
from nas.export import export_network
from nas.export.formats import FORMATS, Place
from pathlib import Path
from search_spaces import InputSpec
spec, out = InputSpec(3, 32, 4), Path(sys.argv[2])
trained = trained_network("resnet8", spec, {"layer1.0": "aff/4", "layer2.0": "cbam/4"})
report = export_network(trained, out, formats=["pte", "py"])
assert report["left_out"] == {}, report["left_out"]
asked = {row["batch"] for row in report["artefacts"]["model.pte"]["batches"]}
assert asked == {"random, batch 1", "random, batch 7"}
images = random_images(spec, 20)  # more than its largest batch
(form,) = [form for form in FORMATS if form.name == "model.pte"]
with form.runner(Place(out, ("logits",))) as runner:
    given = runner.ask(scaled(trained, images))()["logits"]
torch.testing.assert_close(given, expected_logits(trained, images), rtol=1e-4, atol=1e-4)
"""
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert verify(tmp_path / "out")["differences"].keys() == {"model.py", "model.pte"}


def test_torchao_quantises_in_eight_bits_and_the_program_is_run_again_by_verify(tmp_path):
    pytest.importorskip("torchao")
    trained = trained_network("resnet8", SPEC, {"layer1.0": "se/4", "layer2.0": "aff/4"})
    images = random_images(SPEC, 40)
    validation = ClassifiedImages(images, expected_logits(trained, images).argmax(dim=1), images)
    report = export_network(trained, tmp_path / "out", validation, formats=["int8.pt2", "pt2"])
    assert report["left_out"] == {}
    found = report["artefacts"]["model.int8.pt2"]
    assert found["allowed"] is None
    assert all(0 < row["relative"] < 0.5 for row in found["batches"] if "random" not in row["batch"])
    assert report["accuracy"]["correct"]["model.int8.pt2"] > 25
    verified = verify(tmp_path / "out")
    assert verified["passed"], verified
    assert "model.int8.pt2" in verified["differences"]


def test_eight_bits_need_images(tmp_path):
    report = export_network(trained_network("resnet8", SPEC, {}), tmp_path / "out", formats=["int8.onnx"])
    assert "needs images" in report["left_out"]["model.int8.onnx"]
    assert (tmp_path / "out" / "weights.safetensors").is_file()
    assert not report["passed"]
