"""Two processes (gloo, CPU) end with the weights of one, and share what an objective remembers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deploycompress.training import checkpoint
from tests.training.processes import main

ROOT = Path(__file__).parents[2]


def launch(folder: Path, samples: int, count: int) -> None:
    """Runs `processes.py` as `torchrun` would, without the import of torch that a launcher costs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-W", "error", "-m", "tests.training.processes", str(folder), str(samples)]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                **{name: str(value) for name, value in {**common, "RANK": rank, "LOCAL_RANK": rank}.items()},
                "ACCELERATE_USE_CPU": "true",
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(count)
    ]
    assert [process.wait(timeout=300) for process in running] == [0] * count


# 99 samples in batches of 16: the last has 3, so that the two shares are unequal; two batches an update, clipped.
@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    launch(tmp_path / "two", 99, 2)
    main(tmp_path / "one", 99)
    for name in ("offline", "ps_kd"):
        first, second = (checkpoint.load(tmp_path / f"two/{name}-{rank}-of-2.safetensors") for rank in (0, 1))
        alone = checkpoint.load(tmp_path / f"one/{name}-0-of-1.safetensors")
        for key, tensor in alone.items():
            assert torch.equal(first[key], second[key]), key
            # The same sums in another order, float32, over 12 updates of Adam at rate 0.05.
            torch.testing.assert_close(first[key], tensor, rtol=1e-3, atol=1e-4)
