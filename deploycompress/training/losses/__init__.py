"""Loss functions of training: pure functions on tensors, one concept a file, each a mean over samples."""

from deploycompress.training.losses.hinton import IGNORED, cross_entropy, hinton, soft_targets
from deploycompress.training.losses.soft import soft_cross_entropy

__all__ = ["IGNORED", "cross_entropy", "hinton", "soft_cross_entropy", "soft_targets"]
