"""Latency, accuracy, fidelity, size and environment, each with its uncertainty; needs onnxruntime and numpy alone."""
