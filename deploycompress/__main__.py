"""`python -m deploycompress` is the `deploycompress` command."""

from deploycompress.cli import main

main()
