"""Which artefact can be made of which network: random architectures of the catalogue, networks of torchvision and timm.

    python -m benchmarks exports FILE.jsonl [--architectures N] [--libraries N] [--seconds S]
    python -m benchmarks exports FILE.jsonl --table

Each is discovered or built, trained for one step and exported; a row says ok or the reason for each artefact. What is
in FILE already is not done again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from nas.export import TrainedNetwork, export_network
from nas.export.folder import FILES
from nas.export.formats import FORMATS
from nas.export.probing import with_every_operator
from search_spaces import InputSpec, SearchSpace, names
from search_spaces.architecture import Architecture
from search_spaces.catalogue import HEADS
from search_spaces.fusions import operator_names

ARCHITECTURES = 200
_OWN, _DENSE = InputSpec(3, 32, 5), InputSpec(3, 64, 5)
#: Those that are searched at 64 pixels, or at 224 where they take no other.
TORCHVISION = (
    *("resnet18", "resnet34", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "mobilenet_v2", "mobilenet_v3_small"),
    *("mobilenet_v3_large", "efficientnet_b0", "efficientnet_v2_s", "convnext_tiny", "densenet121", "googlenet"),
    *("mnasnet0_5", "regnet_y_400mf", "regnet_x_400mf", "shufflenet_v2_x0_5", "squeezenet1_1", "vit_b_16", "swin_t"),
    "mnasnet1_0",
)
TIMM = (
    *("resnet18", "resnet26d", "seresnet18", "ecaresnet50t", "resnest14d", "res2net50_26w_4s", "skresnet18"),
    *("mobilenetv3_small_050", "mobilenetv4_conv_small", "ghostnet_050", "efficientnet_lite0", "tf_efficientnetv2_b0"),
    *("regnetx_002", "regnety_002", "dla34", "hrnet_w18_small", "cspresnet50", "darknet53", "repvgg_a0"),
    *(
        "convnext_atto",
        "convnextv2_atto",
        "mixer_s32_224",
        "vit_tiny_patch16_224",
        "poolformer_s12",
        "edgenext_xx_small",
    ),
    *("semnasnet_075", "repghostnet_050", "mobileone_s0", "resnetv2_50"),
)
_TIMM_FILE = (
    "import timm\n\n\ndef network(num_classes=5):\n    return timm.create_model({name!r}, num_classes=num_classes)\n"
)


def wanted(architectures: int, libraries: int) -> Iterator[tuple[str, str, int]]:
    """The name of each row, its network, and the number that its architecture is drawn with; -1 for every operator."""
    pyramids = [name for name in names() if name.endswith(("-fpn", "-pan", "-bifpn"))]
    spaces = [*names(), *(f"{name}-{HEADS[place % len(HEADS)]}" for place, name in enumerate(pyramids))]
    for name in [f"torchvision:{name}" for name in TORCHVISION][:libraries]:
        yield name, name, -1
    for name in [f"timm:{name}" for name in TIMM][: max(0, libraries - len(TORCHVISION))]:
        yield name, name, -1
    for number in range(architectures):
        yield f"{spaces[number % len(spaces)]} #{number}", spaces[number % len(spaces)], number


def row_apart(name: str, network: str, number: int) -> dict[str, Any]:
    """What became of one, in a process forked off this one: torch's exporters keep a gigabyte of every few networks."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="fusion-nas-exports-") as folder, receiver:
        process = multiprocessing.get_context("fork").Process(
            target=lambda: sender.send(row(name, network, number, Path(folder)))
        )
        process.start()
        sender.close()
        try:
            found: dict[str, Any] = receiver.recv()
        except EOFError:
            found = {"name": name}
        process.join()
    if process.exitcode:
        found["stopped"] = f"its process ended with {process.exitcode}"
    return found


def row(name: str, network: str, number: int, folder: Path) -> dict[str, Any]:
    """By artefact `ok` or the reason, where it came so far."""
    began, used = time.perf_counter(), sum(os.times()[:4])
    found: dict[str, Any] = {"name": name}
    try:
        space, architecture = _architecture(network, number, folder)
        found["points"] = len(space.points)
        found["operators"] = sorted({choice.op for choice in architecture.choices.values()})
        trained = _trained(space, architecture)
        found["trains"] = "ok"
        report = export_network(trained, folder / "exported")
        made = {path.name for path in (folder / "exported").iterdir()}
        found["artefacts"] = {form.name: report["left_out"].get(form.name, "ok") for form in FORMATS if form.default}
        found["by its own code"] = "code" in made
        found["whole"] = set(FILES) - set(report["left_out"]) - {"predict.py"} <= made
    except Exception as error:  # every row is told
        said = " ".join(str(error).split()).replace(f"{folder}/", "")
        found["stopped"] = f"{type(error).__name__}: {said[:300]}"
    found["seconds"] = round(time.perf_counter() - began, 1)
    found["processor_seconds"] = round(sum(os.times()[:4]) - used, 1)  # of other processes too, such as model.py's
    return found


def _architecture(network: str, number: int, folder: Path) -> tuple[SearchSpace, Architecture]:
    if number >= 0:
        drawn = random.Random(number)
        operators = ("add", *drawn.sample([one for one in operator_names() if one != "add"], 5))
        space = SearchSpace.named(network, _DENSE if network.endswith(HEADS) else _OWN, operators)
        return space, space.sample(drawn)
    name = network
    if network.startswith("timm:"):
        file = folder / "net.py"
        file.write_text(_TIMM_FILE.format(name=network.removeprefix("timm:")))
        network = f"{file}:network"
    size = 224 if any(kind in name for kind in ("vit_", "mixer", "swin", "poolformer")) else 64
    space = SearchSpace.named(network, InputSpec(3, size, 5))
    return space, with_every_operator(space)


def _trained(space: SearchSpace, architecture: Architecture) -> TrainedNetwork:
    torch.manual_seed(0)
    network = space.build(architecture).train()
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 1e-3)
    outputs = network(torch.randn(4, *space.input_shape))
    if isinstance(outputs, torch.Tensor) and outputs.ndim == 2:
        loss = F.cross_entropy(outputs, torch.arange(4) % space.input.classes)
    else:  # any loss that all weights are behind
        loss = torch.stack(
            [part.square().mean() for part in (outputs if isinstance(outputs, tuple) else (outputs,))]
        ).sum()
    torch.autograd.backward(loss)
    optimiser.step()
    half, classes = (0.5,) * space.input.channels, tuple(map(str, range(space.input.classes)))
    weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    return TrainedNetwork(space, architecture, weights, classes, half, half, {})


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text: a line each for what is not a catalogue's network, counts for those."""
    made = [form.name for form in FORMATS if form.default]
    own = [found for found in rows if "#" in found["name"]]
    lines = [f"{'network':34} {'points':>6}  {'trains':6}  " + "  ".join(f"{name:10}" for name in made) + "  own code"]
    for found in [found for found in rows if "#" not in found["name"]]:
        artefacts = found.get("artefacts", {})
        cells = "  ".join(f"{'ok' if artefacts.get(name) == 'ok' else 'no':10}" for name in made)
        own_code = "yes" if found.get("by its own code") else ""
        lines.append(
            f"{found['name']:34} {found.get('points', 0):6}  {found.get('trains', 'no'):6}  {cells}  {own_code}"
        )
    others = [found for found in rows if "#" not in found["name"] and "no fusion point" not in found.get("stopped", "")]
    for what, group in (("networks of libraries with fusion points", others), ("random architectures", own)):
        counts = Counter((name, found.get("artefacts", {}).get(name) == "ok") for found in group for name in made)
        times = sorted(found["processor_seconds"] for found in group if "processor_seconds" in found)
        lines += ["", f"{what}: {len(group)}"]
        lines += [f"  {name}: {counts[name, True]} ok, {counts[name, False]} not" for name in made]
        if times:
            lines.append(f"  seconds of processor: {times[len(times) // 2]} in the median, {times[-1]} at the most")
    lines += ["", "reasons:"]
    for found in rows:
        reasons = {name: why for name, why in found.get("artefacts", {}).items() if why != "ok"}
        if "stopped" in found:
            reasons["all"] = found["stopped"]
        lines += [f"  {found['name']}: {name}: {why[:260]}" for name, why in reasons.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--architectures", type=int, default=ARCHITECTURES)
    parser.add_argument("--libraries", type=int, default=len(TORCHVISION) + len(TIMM))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no other row when these are over")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args(arguments)
    rows = [json.loads(line) for line in given.file.read_text().splitlines()] if given.file.is_file() else []
    if given.table:
        print(table(rows))
        return
    torch.set_num_threads(1)
    known, until = {found["name"] for found in rows}, time.monotonic() + given.seconds
    for name, network, number in wanted(given.architectures, given.libraries):
        if name in known or time.monotonic() > until:
            continue
        found = row_apart(name, network, number)
        with given.file.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(found["name"], found.get("artefacts", found.get("stopped")), found["seconds"], flush=True)


if __name__ == "__main__":
    main()
