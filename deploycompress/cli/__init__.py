"""argv -> exit code: parsing and printing only, one file per command.

Heavy imports happen inside the commands, so that `--help` answers in under 0.3 s.
"""

from deploycompress.cli.app import main

__all__ = ["main"]
