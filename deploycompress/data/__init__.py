"""Files, functions or random numbers -> samples for a model; the reader that calibrates is the one that evaluates.

`data.open(source, signature)` gives `Samples`, which iterate as often as needed and name everything they left out.
"""

from deploycompress.data.opening import open
from deploycompress.data.preprocess import PRESETS, Preprocess
from deploycompress.data.samples import Batch, Sample, Samples, Skipped
from deploycompress.data.summary import Figures, Summary

__all__ = ["PRESETS", "Batch", "Figures", "Preprocess", "Sample", "Samples", "Skipped", "Summary", "open"]
