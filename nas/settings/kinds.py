"""The configuration of a search among detectors or segmenters, and which kind of configuration settings are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from nas.settings.sections import SceneTraining
from nas.settings.setting import Group, Setting
from trials.data.config import MINI, SceneConfig, validate_scenes_name
from trials.data.readers import READERS
from trials.tasks import registry
from trials.tasks.metrics import Task, leading

#: The head that a pyramid gets for a task, and those that are of one.
_HEAD_OF: dict[Task, str] = {name: entry.heads[0] for name, entry in registry.TASKS.items() if entry.heads}
_TASK_OF: dict[str, Task] = {head: name for name, entry in registry.TASKS.items() for head in entry.heads}


class SceneSearchConfig(SearchConfig):
    """Everything a search of detectors or segmenters is told: networks with a head over a pyramid, data of scenes."""

    _tasks: ClassVar[tuple[Task, ...]] = tuple(_HEAD_OF)

    task: Task = "detection"
    space: str = "resnet8-fpn-fcos"
    data: str = MINI
    empty_images: Annotated[
        Literal["keep", "refuse", "drop"],
        Setting("{choices} scenes without an object.", option="--empty-images", metavar="HOW", group=Group.DATA),
    ] = SceneConfig.empty_images  # fmt: skip
    objectives: Annotated[list[str], Field(min_length=1)] = ["ap", "macs"]
    training: SceneTraining = SceneTraining()  # type: ignore[assignment]  # another section, by purpose

    @model_validator(mode="before")
    @classmethod
    def _settle_by_task(cls, given: Any) -> Any:
        """A pyramid without a head gets that of the task, which also decides what is maximised."""
        task = given.get("task", "detection")
        if task not in cls._tasks:
            return given
        space, objectives = given.get("space", "resnet8-fpn"), given.get("objectives", [leading(task), "macs"])
        if isinstance(space, str):
            if ":" in space:
                raise ConfigError(f"space {space}: {task} takes a named pyramid, such as resnet8-fpn, see nas spaces")
            head = space.rpartition("-")[2]
            if _TASK_OF.get(head, task) != task:
                raise ConfigError(f"space {space} is for {_TASK_OF[head]}, but the task is {task}: give another head")
            space = space if head in _TASK_OF else f"{space}-{_HEAD_OF[task]}"
        return {**given, "space": space, "objectives": objectives}

    @field_validator("data")
    @classmethod
    def _known_data(cls, name: str) -> str:
        validate_scenes_name(name)
        return name

    @field_validator("data_dir")
    @classmethod
    def _no_published_data(cls, folder: str | None) -> str | None:
        if folder is not None:
            raise ValueError("it is where published sets of images are; scenes are named with their folder")
        return folder

    def data_config(self) -> SceneConfig:
        return SceneConfig(
            self.data, "boxes" if self.task == "detection" else "semantic", self.image_size, self.data_errors,
            self.empty_images, self.train_images, self.val_fraction, test_fraction=self.kept_for_test,
        )  # fmt: skip


def config_kind(settings: Mapping[str, Any]) -> type[SearchConfig]:
    """The configuration that settings are of, by their task; where they name none, by the space's head or the data."""
    return SearchConfig if task_of(settings) == "classification" else SceneSearchConfig


def task_of(settings: Mapping[str, Any]) -> str:
    """The task that settings name, or that of what else they name."""
    if "task" in settings:
        return str(settings["task"])
    head, data = str(settings.get("space", "")).rpartition("-")[2], str(settings.get("data", ""))
    if head in _TASK_OF:
        return _TASK_OF[head]
    reader = READERS.get(data.partition(":")[0])
    return registry.task_with("class" if reader is None else reader.targets[0])
