"""One layer as several smaller ones: low rank, Tucker-2, CP, spatial and separable forms, and the graph they make."""

from deploycompress.factorization.factors import Factor, Factors, composed, macs, parameters
from deploycompress.factorization.layer import Layer
from deploycompress.factorization.writing import replace

__all__ = ["Factor", "Factors", "Layer", "composed", "macs", "parameters", "replace"]
