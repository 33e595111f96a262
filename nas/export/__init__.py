"""From a trained candidate to something that can be deployed without this package.

    TrainedNetwork ── export_network ──> OUT/arch.json  weights.safetensors  model.py  model.onnx  parity.json

Importing this imports torch: the command line does so only when it exports.
"""

from nas.export.errors import ExportError
from nas.export.exporting import export_network
from nas.export.trained import TrainedNetwork

__all__ = ["ExportError", "TrainedNetwork", "export_network"]
