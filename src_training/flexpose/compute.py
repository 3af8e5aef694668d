"""Where torch computes: device, threads, random streams, memory."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from flexpose.errors import DeviceMemoryError, FlexPoseError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def resolve_device(name: str = "auto") -> torch.device:
    """Device of a name: ``auto`` (cuda, then mps, then cpu), ``cpu``, ``cuda[:n]``, ``mps``.

    Raises
    ------
    FlexPoseError : the device is unknown or cannot be used; the message says why.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise FlexPoseError(
            f"Unknown device {name!r}.", "Use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    problem = _why_unusable(device)
    if problem:
        raise FlexPoseError(f"The device {name!r} cannot be used: {problem}.", "Use auto or cpu.")
    return device


def _why_unusable(device: torch.device) -> str:
    if device.type == "cpu":
        return ""
    if device.type == "cuda":
        if not torch.backends.cuda.is_built():
            return "this build of torch has no CUDA"
        if not torch.cuda.is_available():
            return "torch finds no working CUDA driver and GPU"
        count = torch.cuda.device_count()
        return f"there are {count} GPUs" if (device.index or 0) >= count else ""
    if device.type == "mps":
        return "" if torch.backends.mps.is_available() else "torch finds no Apple GPU"
    return "only cpu, cuda and mps are supported"


def hardware(device: torch.device) -> str:
    """What a device is, for reports: the graphics card, or the processor's model."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # only Linux has it
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def device_lines() -> list[str]:
    """One line a usable device, for people: name and free memory."""
    lines = [f"cpu ({torch.get_num_threads()} threads)"]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(index))
        name = torch.cuda.get_device_name(index)
        lines.append(f"cuda:{index} {name} ({free:.1f} of {total:.1f} GiB free)")
    if torch.backends.mps.is_available():
        lines.append("mps (Apple GPU)")
    return lines


def prepare(device: torch.device, threads: int | None = None) -> None:
    """Set what torch keeps for the whole process; a job calls it once, before the first step."""
    if threads is not None:
        torch.set_num_threads(threads)
    if device.type == "cpu":
        # fading weights become denormal numbers, with which a CPU is many times slower
        torch.set_flush_denormal(True)
        _keep_memory()


def _keep_memory() -> None:
    """Let glibc keep freed blocks for the next step.

    It would hand each large one back, and the pages would be cleared anew: drawing images took
    twice as long. Elsewhere than on Linux nothing happens.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 29)


def generator_for(seed: int, *stream: int) -> torch.Generator:
    """CPU random generator of its own for each ``(seed, *stream)``, such as ``(seed, step)``.

    What step k draws then depends on nothing before it, so that a resumed run needs no saved
    random state. Numbers are non-negative.
    """
    state = np.random.SeedSequence(seed, spawn_key=stream).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))


@contextlib.contextmanager
def translate_out_of_memory() -> Iterator[None]:
    """Within, torch's out-of-memory errors become `DeviceMemoryError`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        first_line = str(error).splitlines()[0] if str(error) else "no details"
        raise DeviceMemoryError(
            f"The device ran out of memory ({first_line})",
            "Lower batch_size, or close what else uses the device.",
        ) from error
