"""README.md, a model card as Hugging Face reads it, and predict.py."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.export.detector import Detector
from nas.export.formats import Format
from nas.export.gates import said
from nas.export.kinds import Classifier, Kind, split_judged_on
from nas.export.trained import TrainedNetwork

_CARD = """\
---
license: {license_scalar}
library_name: pytorch
pipeline_tag: {task}
tags: [fusion-nas, neural-architecture-search, {space_tag}]
datasets: [{data}]
metrics: [{metric}]
model-index:
- name: {name_scalar}
  results:
  - task: {{type: {task}}}
    dataset: {{name: {data}, type: {data}, split: {split}}}
    metrics:
    - {{type: {metric}, value: {value}}}
---

# {name}

{space} with searched fusions: {macs}{params} parameters, {classes_count} classes, images of {size}.

## The architecture

```
{drawing}
```

{still}## Data and metrics

{data_text}

{metrics_text}

{verdict}

## Latency

{latency}

## How to load it

{usage}

Images are fitted so: {fitting} Then (pixel / 255 - mean) / std with mean {mean} and std {std}.
In numbers that stands in `preprocessing.json`; `model.preprocess` does it with a PIL image{predict}.

{left_out}## Limits

Classes it knows: {classes}.
What it was not trained on it has no class for. Its figures hold for images like those of its data.
Licence: {license}; who publishes the network decides, the data's own licence included.

Files and their hashes are in `SHA256SUMS`; `nas verify` checks them and that the formats agree, `parity.json` has the
differences.
"""

_PREDICT = {
    "classes": '''\
"""What the network sees in an image: python predict.py IMAGE"""

import sys

import model
import torch
from PIL import Image

sys.stdout.reconfigure(errors="backslashreplace")  # a class's name need not be of the terminal's letters
network = model.load()
with torch.inference_mode():
    shares = network(model.preprocess(Image.open(sys.argv[1]))[None])[0].softmax(dim=0)
for share, index in zip(*shares.topk(min(5, len(shares))), strict=True):
    print(f"{share:.3f} {model.CLASSES[index]}")
''',
    "boxes": '''\
"""What the network finds in an image: python predict.py IMAGE"""

import sys

import model
from PIL import Image

sys.stdout.reconfigure(errors="backslashreplace")  # a class's name need not be of the terminal's letters
(found,) = model.detect(model.load(), model.fit(Image.open(sys.argv[1]))[None])
for box, score, label in zip(found["boxes"], found["scores"], found["labels"], strict=True):
    print(f"{score:.3f} {model.CLASSES[label]} {[round(side) for side in box.tolist()]}")
''',
    "maps": '''\
"""How much of an image is of each class: python predict.py IMAGE"""

import sys

import model
import torch
from PIL import Image

sys.stdout.reconfigure(errors="backslashreplace")  # a class's name need not be of the terminal's letters
network = model.load()
with torch.inference_mode():
    pixels = network(model.preprocess(Image.open(sys.argv[1]))[None])[0].argmax(dim=0).flatten()
for name, count in zip(model.CLASSES, pixels.bincount(minlength=len(model.CLASSES)), strict=True):
    print(f"{count / len(pixels):.3f} {name}")
''',
}


def write_card(trained: TrainedNetwork, report: Mapping[str, Any], made: Sequence[Format], folder: Path) -> None:
    """README.md and, where there is a model.py, predict.py."""
    known, kind = trained.provenance, trained.kind
    task, metric, program = _kind(kind)
    names = {form.name for form in made}
    if "model.py" in names:
        (folder / "predict.py").write_text(_PREDICT[program], encoding="utf-8")
    data = known.get("data") or {}
    name = f"{_word(trained.space.name)}-{trained.architecture.key[:8]}"
    value = known.get(metric, known.get("score"))
    if known.get("correct") is not None and known.get("images"):
        value = known["correct"] / known["images"]
    text = _CARD.format(
        license=_inline(known.get("license", "unknown")),
        license_scalar=_scalar(known.get("license", "unknown")),
        task=task,
        space_tag=_scalar(_word(trained.space.name)),
        data=_scalar(_word(str(data.get("name", "unknown")))),
        metric=metric,
        name=_inline(name),
        name_scalar=_scalar(name),
        split=_scalar(split_judged_on(known)),
        value=f"{value:.6g}" if isinstance(value, int | float) and math.isfinite(value) else "null",
        space=_inline(trained.space.name),
        macs=f"{known['macs']:,} multiply-adds, " if isinstance(known.get("macs"), int | float) else "",
        params=f"{sum(p.numel() for p in trained.build().parameters()):,}",
        classes_count=len(trained.classes),
        size=" x ".join(map(str, trained.space.input_shape)),
        drawing=_printable(drawing(trained)).replace("`", "'"),
        still="".join(f"- {_inline(said(gate, split_judged_on(known)))}\n" for gate in report["constant_gates"])
        + "\n" * bool(report["constant_gates"]),
        data_text=_data_text(known, data),
        metrics_text=_metrics_text(known, report, metric),
        verdict=_inline(
            (known.get("verdict") or {}).get("text")
            or f"No finalists were judged. {known.get('estimated') or 'No estimate is recorded either.'}"
        ),
        latency=_latency_text(report, folder),
        usage="\n".join(f"- `{form.name}`: `{form.usage}`" for form in made) or "- `weights.safetensors` alone",
        fitting=kind.fitting,
        mean=[round(number, 4) for number in trained.mean],
        std=[round(number, 4) for number in trained.std],
        predict=", `python predict.py IMAGE` all of it" if "model.py" in names else "",
        left_out=_left_out_text(report["left_out"]),
        classes=_inline(", ".join(trained.classes)[:500]),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def drawing(trained: TrainedNetwork) -> str:
    """The network from images to outputs: a line a fusion point, with what is merged there and how."""
    points = trained.space.points
    choices = trained.architecture.choices
    wide = max(len(point.name) for point in points)
    lines = [f"images {' x '.join(map(str, trained.space.input_shape))}", "  |"]
    for point in points:
        shape = point.shape
        merged = f"{len(shape.inputs)} maps -> {shape.channels} x {shape.height} x {shape.width}"
        lines.append(f"  +-- {point.name:{wide}}  {choices[point.name]!s:12} {shape.kind}, {merged}")
    outputs = ", ".join(f"{o.name} [{', '.join(map(str, o.shape))}]" for o in trained.kind.outputs)
    return "\n".join([*lines, "  |", outputs])


def _kind(kind: Kind) -> tuple[str, str, str]:
    """Hugging Face's name of the task, the figure that leads, which program predicts."""
    if isinstance(kind, Classifier):
        return "image-classification", "accuracy", "classes"
    return ("object-detection", "ap", "boxes") if isinstance(kind, Detector) else ("image-segmentation", "miou", "maps")


def _scalar(text: object) -> str:
    """A YAML string, whatever is in it: plain, `no` would be false and `2024` a number."""
    return json.dumps(_printable(str(text)), ensure_ascii=False)


def _inline(text: object) -> str:
    """Text in a line of Markdown that means nothing but itself: no heading, link, picture or HTML."""
    line = html.escape(" ".join(_printable(str(text)).split()), quote=False)
    line = re.sub(r"[\\`*_\[\]#|!~$]", r"\\\g<0>", line)
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", line)  # at a line's start a list or a rule


def _printable(text: str) -> str:
    """Lines stay; what is not UTF-8, and what steers a terminal or a direction, is `?`."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _word(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in text).strip("-") or "unknown"


def _data_text(known: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    counts = [f"{data[split]:,} {split}" for split in ("train", "val", "test") if isinstance(data.get(split), int)]
    trained = _inline(" and ".join(map(str, known.get("trained_on", []))) or "train")
    told = f" ({', '.join(counts)} images)" if counts else ""
    epochs = (known.get("training") or {}).get("epochs") if "epochs" not in known else known["epochs"]
    seed = "" if known.get("seed") is None else f", seed {_inline(known['seed'])}"
    length = "" if epochs is None else f", {_inline(epochs)} epochs"
    return f"Data: {_inline(data.get('name', 'not recorded'))}{told}. Trained on its {trained} split{length}{seed}."


def _metrics_text(known: Mapping[str, Any], report: Mapping[str, Any], metric: str) -> str:
    correct, images, split = known.get("correct"), known.get("images"), _inline(split_judged_on(known))
    if correct is not None and images:
        low, high = wilson(correct, images)
        return (
            f"Accuracy on the {split} split: {correct / images:.2%} ({correct} of {images} images right), 95 % "
            f"interval of the sample {low:.2%} to {high:.2%}."
        )
    value = (known.get("figures") or {}).get(metric)
    if value is not None:
        return f"{metric} on the {split} split: {value:.4f}, one training; the finalists' intervals are in the run."
    return "No figure of a split is recorded."


def wilson(correct: int, images: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share, which holds near 0 and 1 too."""
    share = correct / images
    middle = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    return max(0.0, middle - half), min(1.0, middle + half)


def _latency_text(report: Mapping[str, Any], folder: Path) -> str:
    rows = ["| format | size | p50 | p95 |", "|---|---|---|---|"]
    for name, found in report["artefacts"].items():
        time = found["latency_ms"]
        rows.append(f"| `{name}` | {found['bytes'] / 1e6:.2f} MB | {time['p50']:.2f} ms | {time['p95']:.2f} ms |")
    promised = report.get("promised_latency_ms")
    if promised is None:
        said = "The search measured none."
    elif isinstance(promised, Mapping) and promised.get("p50") is not None:
        steady = "" if promised.get("stable", True) else ", on a machine that was not quiet"
        said = f"The search promised {promised['p50']:.3g} ms (p50){steady}."
    else:
        said = f"The search promised {_inline(json.dumps(promised))}."
    return "\n".join([f"Latency is {report['latency_protocol']}. {said}", "", *rows])


def _left_out_text(left_out: Mapping[str, str]) -> str:
    if not left_out:
        return ""
    return "## Left out\n\n" + "\n".join(f"- `{name}`: {_inline(why)}" for name, why in left_out.items()) + "\n\n"
