"""OpenMP threads that wait for work by sleeping instead of spinning.

PyTorch's threads spin by default. On a host whose cores are shared that burns the very time the other threads wait for:
one training step of the digits teacher took 540 ms with two threads on two busy cores, and 40 ms once they slept.

Source: OpenMP 5.2, section 21.7 (OMP_WAIT_POLICY); it is read once, when the OpenMP library is loaded.
"""

from __future__ import annotations

import os


def sleep_when_idle() -> None:
    """Asks for sleeping threads unless the user asked for something; call it before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
