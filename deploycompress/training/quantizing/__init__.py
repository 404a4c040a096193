"""Training with fake quantization, and the file that holds the very codes that were trained."""
