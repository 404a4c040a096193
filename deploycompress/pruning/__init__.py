"""Structured pruning on the graph itself: what must go together, exact removal, and a masked model to check it by."""

from deploycompress.pruning.groups import Group, Grouping, Member, find
from deploycompress.pruning.masked import masked
from deploycompress.pruning.removal import masks, remove

__all__ = ["Group", "Grouping", "Member", "find", "masked", "masks", "remove"]
