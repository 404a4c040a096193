"""The only place that opens an ONNX Runtime session: threads made explicit, providers reported as they really ran."""
