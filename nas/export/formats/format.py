"""What every artefact of an export is asked: can it be made here, write it, run it."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from nas.export import isolated
from nas.export.construction import construction
from nas.export.errors import ArtefactError, ExportError
from nas.export.kinds import Outputs
from nas.export.modules import OWN_PACKAGES
from nas.export.trained import TrainedNetwork
from trials.latency.onnx_program import silence

#: How near an artefact's outputs are to the network's: the same computation; another order of sums; fewer bits.
Nearness = Literal["same", "rounding", "lossy"]

#: What a time is taken of: passes of one image, warm, on one CPU thread; fewer of a network that is slow.
PASSES, MAX_SECONDS = 50, 0.5


@dataclass(frozen=True)
class Place:
    """Where artefacts lie, the names of the network's outputs, and the packages that model.py must do without.

    Of `strange` ones, which somebody else may have made, torch reads none into this process.
    """

    folder: Path
    names: tuple[str, ...]
    refused: tuple[str, ...] = OWN_PACKAGES
    strange: bool = False


@dataclass
class Job:
    """One network to be written: in eval mode, float32, on the CPU.

    `images` are uint8 [N, C, S, S] that int8's ranges are taken from, of its training split where that is given, None
    where no split is: those that it is judged on would flatter it. `facts` is JSON that formats add under their names:
    arch.json tells it.
    """

    trained: TrainedNetwork
    network: nn.Module
    folder: Path
    images: Tensor | None = None
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _program: torch.export.ExportedProgram | ExportError | None = None

    @property
    def place(self) -> Place:
        """Where its artefacts are asked: model.py without the operators' own modules and what helped to make it.

        The latter are left alone where model.py imports more than torch: torchvision itself looks for onnx.
        """
        facts = self.facts.get("model.py", {})
        tools = {"safetensors", "onnx", "onnxruntime"} if facts.get("needs") == ["torch"] else set()
        homes = construction(self.trained.space, self.trained.architecture).homes
        travelling = {name.split("/")[1].removesuffix(".py") for name in facts.get("files", [])}
        refused = sorted({*OWN_PACKAGES, *tools, *(homes - travelling)} - {"__main__"})
        return Place(self.folder, tuple(output.name for output in self.trained.kind.outputs), tuple(refused))

    def blank(self, count: int) -> Tensor:
        """float32 zeros [count, C, S, S], in the network's input shape."""
        return torch.zeros(count, *self.trained.space.input_shape)

    @property
    def program(self) -> torch.export.ExportedProgram:
        """The network as torch.export sees it, with a free batch size. Raises ExportError, saying why it cannot."""
        if self._program is None:
            free = ({0: torch.export.Dim("batch")},)
            try:
                with silence():
                    self._program = torch.export.export(self.network, (self.blank(2),), dynamic_shapes=free)
            except Exception as error:  # whatever torch's exporter meets
                self._program = ExportError(f"torch.export cannot follow the network: {cause(error)}")
        if isinstance(self._program, ExportError):
            raise self._program
        return self._program


class Runner(ABC):
    """An artefact that answers."""

    @abstractmethod
    def ask(self, inputs: Tensor, images: Tensor | None = None) -> Callable[[], Outputs]:
        """float32 [N, C, H, W] -> a call that waits for the outputs; `images` are the same as uint8, where known.

        The call raises ArtefactError where it does not run.
        """

    @abstractmethod
    def milliseconds(self, image: Tensor) -> list[float]:
        """Of warm passes of float32 [1, C, H, W] on one thread, one after another."""


@dataclass
class Here(Runner):
    """One that runs in this process, by a function."""

    name: str
    forward: Callable[[Tensor], Outputs]

    def ask(self, inputs: Tensor, images: Tensor | None = None) -> Callable[[], Outputs]:
        def answer() -> Outputs:
            with torch.inference_mode():
                return self.forward(inputs)

        return answer

    def milliseconds(self, image: Tensor) -> list[float]:
        with torch.inference_mode():
            return isolated.timed(lambda: self.forward(image), PASSES, MAX_SECONDS)


class Format(ABC):
    """One kind of artefact. Another is one more file in this folder and one more line of the registry."""

    #: The file, by which people ask for it.
    name: ClassVar[str]
    #: Files and folders beside that one.
    beside: ClassVar[tuple[str, ...]] = ()
    #: Is it written where nobody says which?
    default: ClassVar[bool] = True
    nearness: ClassVar[Nearness] = "rounding"
    #: Packages that this package does not bring.
    needs: ClassVar[tuple[str, ...]] = ()
    #: How to load it, a line of Markdown code.
    usage: ClassVar[str] = ""
    #: Where it is run for the comparison.
    run_as: ClassVar[str] = "this process"

    def missing(self) -> str | None:
        """Why it cannot be made on this machine, None where it can."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{absent[0]} is not installed" if absent else None

    @abstractmethod
    def write(self, job: Job) -> None:
        """Write it into the job's folder. Raises ExportError with the reason, in one line."""

    def write_otherwise(self, job: Job) -> bool:
        """After what was written proved wrong: write it in another way. False where there is none."""
        return False

    @abstractmethod
    def runner(self, place: Place) -> AbstractContextManager[Runner]:
        """What answers in its stead while the context is open. Raises ArtefactError where it cannot be loaded."""

    @contextmanager
    def failing_as_itself(self) -> Iterator[None]:
        """Whatever is raised inside is said of the artefact."""
        try:
            yield
        except ArtefactError:
            raise
        except Exception as error:
            raise ArtefactError(self.name, f"it does not run: {cause(error)}") from error


def cause(error: BaseException) -> str:
    """What was met at the bottom, in one line, without the advice that is wrapped around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
