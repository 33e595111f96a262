"""What people name their data, classes and licences stays text: in the card, in JSON, in ONNX, in the programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import yaml
from export_networks import BASE, PROVENANCE, trained_network
from PIL import Image

from nas.export import export_network
from search_spaces import InputSpec

SPEC = InputSpec(3, 16, 4)
#: Of folders: not UTF-8, with HTML, with a heading, with Markdown and what YAML would read.
NAMES = ("caf\udce9", "<script>alert(1)</script>", "a\n## Limits\n![x](y)", "no: [*b*]\u202e")


def card_of(folder: Path, known: dict) -> tuple[dict, str]:
    """Its front matter and its body."""
    trained = trained_network("resnet8", SPEC, {}, {**PROVENANCE, **known})
    export_network(replace(trained, classes=NAMES), folder, formats=["py", "onnx"])
    _, head, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), body


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, dict, str]:
    out = tmp_path_factory.mktemp("card") / "out"
    known = {
        "license": "MIT\nfoo: [bar",
        "data": {"name": "2024"},
        "accuracy": float("1e5"),
        "judged_on": "no",
        "run": 'a"""b',
        "verdict": {"text": "- <b>all</b> `add`\n\n# Won"},
    }
    return out, *card_of(out, known)


def test_names_mean_nothing_to_yaml_markdown_or_html(exported):
    _, head, body = exported
    assert head["license"] == "MIT\nfoo: [bar"
    assert head["datasets"] == ["2024"]
    assert head["model-index"][0]["results"][0]["dataset"] == {"name": "2024", "type": "2024", "split": "no"}
    assert "foo" not in head
    assert [line for line in body.splitlines() if line.startswith("##")] == [
        "## The architecture", "## Data and metrics", "## Latency", "## How to load it", "## Limits",
    ]  # fmt: skip
    assert "<" not in body
    assert "\n# Won" not in body
    assert r"\- &lt;b&gt;all&lt;/b&gt; \`add\` \# Won" in body
    assert r"caf?, &lt;script&gt;alert(1)&lt;/script&gt;, a \#\# Limits \!\[x\](y), no: \[\*b\*\]?." in body


@pytest.mark.parametrize("name", ["no", "1e5", "2024", "null", "~"])
def test_a_licence_of_any_word_is_a_string(name, tmp_path):
    head, body = card_of(tmp_path / "out", {"license": name, "data": {"name": name}})
    assert head["license"] == name
    assert isinstance(head["datasets"][0], str)
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] is None
    assert "No figure" in body


def test_a_name_that_is_not_utf8_is_the_same_in_every_artefact(exported, tmp_path):
    out = exported[0]
    text = (out / "arch.json").read_text(encoding="ascii")
    assert tuple(json.loads(text)["output"]["classes"]) == NAMES
    properties = {entry.key: entry.value for entry in onnx.load(out / "model.onnx").metadata_props}
    assert tuple(json.loads(properties["classes"])) == NAMES
    assert tuple(json.loads(properties["description"])["output"]["classes"]) == NAMES
    Image.new("RGB", (50, 40), (200, 30, 30)).save(tmp_path / "red.png")
    done = subprocess.run(
        [sys.executable, "-B", "predict.py", str(tmp_path / "red.png")], cwd=out, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"caf\\udce9" in done.stdout


def test_a_network_in_a_file_that_is_not_utf8_is_exported(tmp_path):
    file = tmp_path / "caf\udce9" / 'n\udce9t""".py'
    file.parent.mkdir()
    file.write_text(BASE)
    out = tmp_path / "out"
    assert export_network(trained_network(f"{file}:Base", SPEC, {}), out, formats=["py"])["left_out"] == {}
    assert "n?t" in (out / "README.md").read_text(encoding="utf-8")
    assert "n?t???.py" in (out / "model.py").read_text(encoding="utf-8").split('"""')[1]


def test_the_command_line_tells_a_file_whose_name_is_not_utf8(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "out")
    (tmp_path / "out" / "caf\udce9.pyc").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "nas", "verify", str(tmp_path / "out"), "--no-run"],
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(b"caf\xe9.pyc: is compiled code")
