"""PyTorch lives here alone: networks are trained, distilled and exported; everything after that knows ONNX only.

Raises:
    MissingExtraError: On import, where the extra `train` is not installed.
"""

from importlib.util import find_spec

from deploycompress.errors import MissingExtraError

for _module in ("torch", "safetensors", "accelerate"):
    if find_spec(_module) is None:
        raise MissingExtraError(_module, "train")
