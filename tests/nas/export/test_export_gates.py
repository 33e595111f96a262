"""A gate that no image moves any more is said in the narration, the card and parity.json, and stays in the network."""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from export_networks import PROVENANCE, random_images, trained_network

from nas.export import ClassifiedImages, export_network
from nas.export.gates import constant_gates
from search_spaces import InputSpec

SPEC = InputSpec(3, 16, 4)


def test_a_gate_that_stands_still_is_said_and_not_removed(tmp_path):
    trained = trained_network("resnet8", SPEC, {"layer1.0": "se/4", "layer2.0": "se/4"}, PROVENANCE)
    network = trained.build()
    images = torch.randn(9, 3, 16, 16)
    assert constant_gates(network, trained.architecture, images) == []
    weights = dict(trained.state_dict)
    last = "layer2.0.fuse.gate.fc2.bias"
    weights[last] = torch.full_like(weights[last], 60.0)  # a sigmoid of that is 1 whatever is added to it
    stopped = replace(trained, state_dict=weights)
    (gate,) = constant_gates(stopped.build(), stopped.architecture, images)
    assert (gate["point"], gate["choice"]) == ("layer2.0", "se/4")
    assert gate["mean"] > 0.999
    assert gate["moves"] < 1e-3
    said: list[str] = []
    out = tmp_path / "out"
    stopped = replace(stopped, provenance={**PROVENANCE, "judged_on": "test"})
    validation = ClassifiedImages(random_images(SPEC, 9), torch.zeros(9, dtype=torch.int64))
    report = export_network(stopped, out, validation, said.append, formats=["py"])
    (line,) = [line for line in said if "at layer2.0 is the same for every test image (mean 1.000)" in line]
    assert f"- {line}\n\n## Data" in (out / "README.md").read_text()
    assert json.loads((out / "parity.json").read_text())["constant_gates"] == report["constant_gates"] != []
    assert '"layer2.0": Squeeze' in (out / "model.py").read_text()
