"""Loss functions of training: pure functions on tensors, one concept a file, each a mean over samples."""

from deploycompress.training.losses.hinton import IGNORED, cross_entropy, hinton, soft_targets

__all__ = ["IGNORED", "cross_entropy", "hinton", "soft_targets"]
