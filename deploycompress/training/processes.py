"""this process -> its place among those launched together (`accelerate launch`, `torchrun`); 0 of 1 where alone."""

from __future__ import annotations

import accelerate
import torch
from accelerate.utils import parse_flag_from_env


def on_cpu() -> bool:
    """Whether training runs on the CPU: asked for by the launcher, or for want of anything else."""
    return parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()


def here() -> accelerate.PartialState:
    """This process: `process_index`, `num_processes`, `device`, `is_main_process`; joins the others on first use."""
    return accelerate.PartialState(cpu=on_cpu())
