"""Detection and segmentation: what a dense network is trained by, how it is trained, and how it is judged.

network = space.build(architecture)         # of a space such as resnet8-fpn-fcos
task = task_for(network, data)              # loss, decoding and figures: DetectionTask or SegmentationTask
train_scenes(network, task, data, recipe, seed, machine) -> EpochPoint, …
evaluate_scenes(network, task, data.val, data, machine) -> {"loss": …, "ap": …} or {"loss": …, "miou": …}
"""

from trials.tasks.evaluation import evaluate_scenes
from trials.tasks.recipe import SceneRecipe
from trials.tasks.task import Task, task_for
from trials.tasks.training import train_scenes

__all__ = ["SceneRecipe", "Task", "evaluate_scenes", "task_for", "train_scenes"]
