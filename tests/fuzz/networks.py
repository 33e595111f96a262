"""Random small networks, from what people write: refused in one line, or searched, trained and exported as they are.

    python -m tests.fuzz.networks --count 300 --seed 0

Of each network: discovery says the same whatever torch's seed; what it refuses it refuses by SpaceError in one line;
what it admits is, built with `add` everywhere, the original in evaluation and in training, forward and backward, at two
sizes and batches; another architecture trains for a step; and each artefact of its export computes what it computes.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import random
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy
import onnxruntime
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

from blocks import BLOCKS, HEADER, WHOLE

from nas.export import ExportError, TrainedNetwork, export_network
from nas.export.probing import with_every_operator
from search_spaces import InputSpec, SearchSpace, SpaceError
from search_spaces.discovery import DiscoveredSpace, discover
from search_spaces.discovery.loading import load_model

SPEC = InputSpec(3, 16, 4)


class Wrong(AssertionError):
    """What was promised of an admitted network and does not hold."""


def source(seed: int) -> tuple[str, list[str]]:
    """A Python file that defines `make(num_classes)`, and the names of what it is made of."""
    rng = random.Random(seed)
    blocks = rng.sample(sorted(BLOCKS), rng.choice((1, 1, 2, 3)))
    whole = rng.choice(sorted(WHOLE)) if rng.random() < 0.15 else "nothing"
    begin, first, made = WHOLE[whole]
    width = rng.choice((8, 16))
    text = HEADER
    for block in blocks:
        prepared, forward = BLOCKS[block]
        text += f"\n\nclass {block.title().replace('_', '')}(nn.Module):\n    def __init__(self, c):\n"
        text += "        super().__init__()\n"
        text += f"        {prepared}\n\n    def forward(self, x):\n        {forward}\n"
        text = text.replace("[:, : c // 2]", f"[:, : {width // 2}]").replace("[:, c // 2 :]", f"[:, {width // 2} :]")
        text = text.replace("(1, c, 1, 1), 0.5)", f"(1, {width}, 1, 1), 0.5)").replace("== c;", f"== {width};")
    head = rng.choice(("x.mean((2, 3))", "F.adaptive_avg_pool2d(x, 1).flatten(1)"))
    text += "\n\nclass Net(nn.Module):\n    def __init__(self, num_classes=4):\n        super().__init__()\n"
    text += f"        self.stem = nn.Conv2d(3, {width}, 3, {rng.choice((1, 2))}, 1)\n        {begin}\n"
    for index, block in enumerate(blocks):
        text += f"        self.block{index} = {block.title().replace('_', '')}({width})\n"
    text += (
        f"        self.head = nn.Linear({width}, num_classes)\n\n    def forward(self, x):\n        x = self.stem(x)\n"
    )
    text += f"        {first}\n" * bool(first)
    text += "".join(f"        x = self.block{index}(x)\n" for index in range(len(blocks)))
    text += f"        return self.head({head})\n\n\ndef make(num_classes=4):\n    return {made}\n"
    return text, [*blocks, *([whole] if whole != "nothing" else [])]


@dataclass
class Figures:
    """What came of the networks that were tried."""

    tried: int = 0
    admitted: int = 0
    exported: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"tried {self.tried}: admitted {self.admitted} (exported {self.exported}), refused "
            f"{sum(self.refused.values())}, silent losses {len(self.wrong)}, tracebacks {len(self.tracebacks)}"
        ]
        lines += [f"  refused {count:4}: {reason}" for reason, count in self.refused.most_common()]
        lines += [f"  left out {count:3}: {reason}" for reason, count in self.left_out.most_common()]
        return "\n".join(
            [*lines, *(f"  LOST: {text}" for text in self.wrong), *(f"  BROKE: {t}" for t in self.tracebacks)]
        )


def run(
    seeds: range, *, export_every: int, seconds: float = float("inf"), say: Callable[[str], None] = print
) -> Figures:
    """Try the networks of these seeds, as many as the time allows; every so many of the admitted are exported."""
    figures, until = Figures(), time.monotonic() + seconds
    for seed in seeds:
        if time.monotonic() > until:
            break
        text, made_of = source(seed)
        with TemporaryDirectory(prefix="fusion-nas-fuzz-") as folder, warnings.catch_warnings(action="ignore"):
            file = Path(folder) / "net.py"
            file.write_text(text)
            figures.tried += 1
            where = f"seed {seed} ({', '.join(made_of)})"
            try:
                _try(file, figures, export_every, where, say)
            except Wrong as error:
                figures.wrong.append(f"{where}: {error}")
                say(figures.wrong[-1])
            except Exception:
                figures.tracebacks.append(f"{where}: {traceback.format_exc(limit=-3)}")
                say(figures.tracebacks[-1])
    return figures


def _try(file: Path, figures: Figures, export_every: int, where: str, say: Callable[[str], None]) -> None:
    reference = f"{file}:make"
    answers = [_discovered(reference, seed) for seed in (0, 1, 2)]
    kinds = [_summary(answer) for answer in answers]
    if len(set(kinds)) > 1:
        raise Wrong(f"discovery gives other answers: {set(kinds)}")
    first = answers[0]
    if isinstance(first, str):
        figures.refused[_kind_of(first, reference)] += 1
        say(f"{where}: refused: {first.replace(reference, 'it')[:300]}")
        return
    model, space = first
    _equals(model, space)
    try:
        named = SearchSpace.named(reference, SPEC, ("add", "concat", "se", "aff"), (4,))
    except SpaceError as error:  # what a library's user may want and a search cannot use
        figures.refused[_kind_of(_one_line(error), reference)] += 1
        return
    figures.admitted += 1
    architecture = with_every_operator(named)
    network = named.build(architecture)
    _trains(network)
    if figures.admitted % export_every == 0:
        _exported(named, architecture, network, file.parent / "exported", figures)


def _discovered(reference: str, seed: int) -> tuple[nn.Module, DiscoveredSpace] | str:
    torch.manual_seed(seed)
    try:
        model = load_model(reference, SPEC.classes)
        return model, discover(model, torch.randn(2, 3, 16, 16), ("add", "concat", "se", "aff"), (4,))
    except SpaceError as error:
        return _one_line(error)


def _one_line(error: Exception) -> str:
    if "\n" in str(error):
        raise Wrong(f"a refusal of several lines: {error}")
    return str(error)


def _summary(answer: tuple[nn.Module, DiscoveredSpace] | str) -> str:
    if isinstance(answer, str):
        return answer if " raised " not in answer else "it raised"  # torch's own words may hold an address
    space = answer[1]
    return f"{[p.shape for p in space.points]} {space.not_varied} {space.notes}"


def _kind_of(text: str, reference: str) -> str:
    """A refusal without what is of this network alone."""
    text = text.replace(f"{reference}: ", "").replace(reference, "it")
    for mark in ("module kept whole: ", "cannot be searched: ", "does not train on them: "):
        text = text.rpartition(mark)[2]
    return " ".join(word for word in text.split() if not any(letter.isdigit() for letter in word))[:110]


def _outcome(network: nn.Module, images: Tensor, training: bool) -> dict[str, Tensor] | None:
    """Outputs of two passes, and in training gradients and statistics; None where it does not run."""
    running = copy.deepcopy(network).train(training)
    torch.manual_seed(5)
    numpy.random.seed(5)
    random.seed(5)
    for module in running.modules():
        home = sys.modules.get(type(module).__module__)
        if hasattr(home, "RNG"):
            home.RNG.bit_generator.state = numpy.random.default_rng(5).bit_generator.state
    found = {}
    try:
        for number in range(2):
            output = running(images.clone())
            found[f"output {number}"] = output.detach().clone()
        if training:
            (output.square().sum() + output.sum()).backward()
    except Exception:
        return None
    if training:
        found |= {f"gradient of {n}": p.grad for n, p in running.named_parameters() if p.grad is not None}
        found |= {f"state {n}": t for n, t in running.state_dict().items()}
    return found


def _equals(model: nn.Module, space: DiscoveredSpace) -> None:
    """Built with `add` everywhere it is the original."""
    network = space.build(space.baseline)
    inner = model.module if isinstance(model, nn.DataParallel) else model
    if set(network.state_dict()) != set(inner.state_dict()):
        raise Wrong(f"other weights: {sorted(set(network.state_dict()) ^ set(inner.state_dict()))[:4]}")
    generator = torch.Generator().manual_seed(9)
    for shape in ((2, 3, 16, 16), (5, 3, 16, 16), (3, 3, 24, 20)):
        images = torch.randn(shape, generator=generator)
        for training in (False, True):
            expected = _outcome(inner, images, training)
            again = _outcome(inner, images, training)
            if expected is None or again is None or _gap(expected, again):
                continue  # it does not take such images, or draws what no seed decides
            given = _outcome(network, images, training)
            if given is None:
                raise Wrong(f"built, it does not run on {shape}, training: {training}")
            if gap := _gap(expected, given):
                raise Wrong(f"built, it differs in {gap} on {shape}, training: {training}")


def _gap(expected: dict[str, Tensor], given: dict[str, Tensor], most: float = 1e-4) -> str:
    if expected.keys() != given.keys():
        return f"having {min(expected.keys() ^ given.keys())}"
    most_of_all = max(float(t.double().abs().max()) for t in expected.values() if t.numel())
    for name, tensor in expected.items():
        scale = max(float(tensor.double().abs().max()), 1e-3 * most_of_all) if tensor.numel() else 0.0
        if tensor.numel() and float((tensor.double() - given[name].double()).abs().max()) > most * scale:
            return name
    return ""


def _trains(network: nn.Module) -> None:
    network = copy.deepcopy(network).train()
    learnt = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learnt, 1e-3)
    for _ in range(2):
        loss = nn.functional.cross_entropy(network(torch.randn(4, 3, 16, 16)), torch.randint(0, 4, (4,)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if not all(p.grad is None or p.grad.isfinite().all() for p in learnt):
        raise Wrong("gradients of a step are not finite")


def _exported(space: SearchSpace, architecture: Any, network: nn.Module, out: Path, figures: Figures) -> None:
    names = tuple(map(str, range(SPEC.classes)))
    half = (0.5,) * 3
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    try:
        report = export_network(TrainedNetwork(space, architecture, weights, names, half, half, {}), out)
    except ExportError as error:
        raise Wrong(f"admitted and not exported: {_one_line(error)}") from None
    figures.exported += 1
    for artefact, reason in report["left_out"].items():
        figures.left_out[f"{artefact}: {_kind_of(reason, str(out.parent / 'net.py'))}"] += 1
        # An exporter of torch's may hold one batch size, or one branch: named, and by nas check before. Source is ours.
        if artefact == "model.py" and ("differs" in reason or "does not run" in reason):
            raise Wrong(f"{artefact}: {reason}")
    if not (out / "weights.safetensors").is_file():
        raise Wrong("no weights")
    network = copy.deepcopy(network).eval()
    for count in (1, 3):
        images = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8)
        inputs = (images.float() / 255 - 0.5) / 0.5
        with torch.inference_mode():
            expected = {"": network(inputs)}
            if "model.py" not in report["left_out"]:
                _same_answer("model.py", expected, _loaded(out / "model.py")(inputs))
        if "model.onnx" not in report["left_out"]:
            session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
            _same_answer("model.onnx", expected, torch.from_numpy(session.run(None, {"images": inputs.numpy()})[0]))


def _same_answer(artefact: str, expected: dict[str, Tensor], given: Tensor) -> None:
    if _gap(expected, {"": given}):
        raise Wrong(f"{artefact} computes something else")


def _loaded(path: Path) -> nn.Module:
    spec = importlib.util.spec_from_file_location(f"exported_{abs(hash(str(path)))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: nn.Module = module.load()
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the first network; the next has the next")
    parser.add_argument("--export-every", type=int, default=1, help="export every so many of the admitted networks")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = run(range(given.seed, given.seed + given.count), export_every=given.export_every)
    print(figures)
    sys.exit(bool(figures.wrong or figures.tracebacks))


if __name__ == "__main__":
    main()
