"""From a trained candidate to something that can be deployed without this package.

    TrainedNetwork ── export_network ──> OUT/arch.json  weights.safetensors  model.py  model.onnx  parity.json
    validation_of(data): the split on which what was exported is compared with what was recorded

Importing this imports torch: the command line does so only when it exports.
"""

from nas.export.errors import ExportError
from nas.export.exporting import export_network
from nas.export.trained import TrainedNetwork
from nas.export.validation import ClassifiedImages, Validation, ValidationScenes, validation_of

__all__ = [
    "ClassifiedImages",
    "ExportError",
    "TrainedNetwork",
    "Validation",
    "ValidationScenes",
    "export_network",
    "validation_of",
]
