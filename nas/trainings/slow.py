"""What will be slow or useless, said before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Iterator

from nas.trainings.prepared import Prepared
from reports.formatting import format_bytes
from trials.data import ImageData
from trials.machine.device import has_bf16, resolve


def slow(prepared: Prepared) -> Iterator[str]:
    """A sentence for each thing that a person would want to know before she waits for it."""
    config = prepared.config
    unknown = config.elsewhere  # which processors the workers have
    if config.training.precision == "bfloat16" and not unknown and not has_bf16(resolve(config.device)):
        yield (
            "training in bfloat16, but this processor has it in software only, where it takes about fifteen times as "
            "long: drop --precision bfloat16"
        )
    decoded, memory = _decoded_bytes(prepared), _memory_bytes()
    if decoded > memory:
        yield (
            f"decoded, the images take {format_bytes(decoded)}, and this machine has {format_bytes(memory)} of memory: "
            "they are read from the disk again in every epoch; give a smaller --image-size or fewer --train-images"
        )
    out_of_reach = prepared.feasibility.out_of_reach()
    if out_of_reach:
        yield (
            f"{', '.join(out_of_reach)}: over the budget at every point, even alone, so never tried; leave it out of "
            "--operators, or raise the budget"
        )


def _decoded_bytes(prepared: Prepared) -> int:
    data = prepared.data
    channels = data.channels if isinstance(data, ImageData) else 3
    return (len(data.train) + len(data.val)) * channels * data.image_size**2


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
