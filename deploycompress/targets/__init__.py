"""What a device can run: profiles in TOML, shipped or the user's own. `load(name_or_path)` and `names()`."""

from deploycompress.targets.profile import Budget, QuantRules, Roofline, Target
from deploycompress.targets.store import load, names

__all__ = ["Budget", "QuantRules", "Roofline", "Target", "load", "names"]
