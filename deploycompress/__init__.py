"""deploycompress: a trained network in, the fastest small ONNX file that keeps the accuracy out."""

__version__ = "0.1.0"
