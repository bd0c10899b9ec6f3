"""Devices, precision and launching, through Lightning Fabric."""

from __future__ import annotations

import inspect
import logging
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from viewkin.data.source import Source
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.fabric_package import DDPStrategy, Fabric, wrappers
from viewkin.runtime.processor import has_bf16
from viewkin.training.config import RuntimeConfig

FOR_IMAGES = 0.5
"""Share of a GPU's free memory that the images may take; the rest is for network, banks and activations."""


def processes(runtime: RuntimeConfig) -> tuple[int, int]:
    """Count the processes of the run, and how many of them are on this node.

    torchrun and SLURM decide themselves; otherwise ``runtime.devices`` of this node take part, one process each.
    """
    environ = os.environ
    if "LOCAL_WORLD_SIZE" in environ:
        return int(environ.get("WORLD_SIZE", "1")), int(environ["LOCAL_WORLD_SIZE"])
    if "SLURM_PROCID" in environ and int(environ.get("SLURM_NTASKS", "1")) > 1:
        total = int(environ["SLURM_NTASKS"])
        return total, total // int(environ.get("SLURM_NNODES", "1"))
    return runtime.devices, runtime.devices


def make_fabric(runtime: RuntimeConfig, network: nn.Module) -> Fabric:
    """Start Fabric on the devices asked for, joining the processes that torchrun or SLURM started.

    Raises:
        UserError: the accelerator or the number of devices is not there.
    """
    if runtime.threads:
        most = 16 * (os.cpu_count() or 1)  # thousands hang or crash
        require(runtime.threads <= most, "runtime.threads", runtime.threads, f"at most {most} here")
        torch.set_num_threads(runtime.threads)
    world, local = processes(runtime)
    accelerator = accelerator_of(runtime)
    there = torch.cuda.device_count() if accelerator == "cuda" else local
    if there < local:
        raise UserError(f"{local} GPU(s) are wanted and {there} are here; set runtime.devices or runtime.accelerator.")
    strategy: Any = _ddp() if world > 1 else "auto"
    # Fabric's notes ("Using bfloat16 ...", "Initializing distributed ...") repeat what the run says itself.
    for name in ("lightning_fabric", "lightning.fabric", "lightning.pytorch"):  # the last to be imported speaks for all
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            fabric = Fabric(
                accelerator=accelerator,
                devices=local,
                num_nodes=world // local,
                strategy=strategy,
                precision=precision_of(runtime, network, accelerator),  # type: ignore[arg-type]
            )
            fabric.launch()
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{local} {accelerator} device(s) cannot be used ({reason}); set runtime.devices.") from error
    return fabric


def accelerator_of(runtime: RuntimeConfig) -> str:
    """``cuda`` where there is a GPU, else ``cpu``, unless the settings name one."""
    if runtime.accelerator != "auto":
        return runtime.accelerator
    return "cuda" if torch.cuda.is_available() else "cpu"


def precision_of(runtime: RuntimeConfig, network: nn.Module, accelerator: str) -> str:
    """Choose bf16 autocast where the processor has it, unless the network is depthwise on a CPU (slower there)."""
    if runtime.precision != "auto":
        return runtime.precision
    if accelerator == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups > 1 and m.groups == m.in_channels for m in network.modules())
    return "bf16-mixed" if has_bf16() and not depthwise else "32-true"


def takes_channels_last(network: nn.Module, accelerator: str) -> bool:
    """Whether channels-last weights are safe.

    On processors without AVX-512 the backward pass of a 1x1 convolution with stride 2 and fewer than 8 channels writes
    beyond its memory in that format (oneDNN in torch 2.14, float32).
    """
    if accelerator != "cpu":
        return True
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    return not any(m.kernel_size == (1, 1) and m.in_channels < 8 for m in convolutions)


def placed(source: Source, device: torch.device) -> Source:
    """Put images that are held in memory on the device; they stay where they are if a GPU has too little room."""
    if not source.resident:
        return source
    if device.type == "cuda":
        needed = 3 * source.size**2 * len(source)
        if needed > FOR_IMAGES * torch.cuda.mem_get_info(device)[0]:
            return source
    return source.to(device)


@contextmanager
def differentiating() -> Generator[None]:
    """Let ``torch.autograd.grad`` look at what a forward pass returned.

    With mixed precision Fabric takes any gradient outside of its own ``backward`` for a forgotten one, and raises.
    """
    wrappers._in_fabric_backward = True  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        wrappers._in_fabric_backward = False  # pyright: ignore[reportPrivateUsage]


def _ddp() -> DDPStrategy:
    # The default would send the whole memory bank from rank 0 at every step.
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {name: False}
    return DDPStrategy(**options)
