"""Letting a job load and use torch beside a window that must stay responsive.

Measured on two cores with torch 2.13: loading its libraries held the interpreter's lock for 600 ms,
and each full garbage collection for 200 to 300 ms once its modules are there. Painting hands the
lock over with each call of OpenGL, and a busy job keeps it for Python's 5 ms before it gives it
back: 20 such calls are a visible stall.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_NEVER = 1_000_000
_SWITCH_SECONDS = 0.0005


@contextlib.contextmanager
def gentle() -> Iterator[None]:
    """Within, full garbage collections wait, and threads take turns ten times as often.

    Young objects are collected as ever. Also loads torch's libraries on the way in, so that
    importing it later is quick.
    """
    young, middle, old = gc.get_threshold()
    interval = sys.getswitchinterval()
    gc.set_threshold(young, middle, _NEVER)
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        # torch's threads spin while they wait, and would take the window's processor
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        preload_torch()
        yield
    finally:
        gc.set_threshold(young, middle, old)
        sys.setswitchinterval(interval)


def preload_torch() -> None:
    """Load torch's libraries without holding the interpreter's lock; importing finds them loaded.

    ``import`` holds the lock while the system links a library, a foreign function call does not.
    Elsewhere than on Linux and macOS, or without torch, nothing happens.
    """
    if os.name != "posix" or "torch" in sys.modules:
        return
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    ending = "dylib" if sys.platform == "darwin" else "so"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    # in torch's own order and visibility; what is missing is left to the import to tell
    dlopen(os.fsencode(folder / f"libtorch_global_deps.{ending}"), os.RTLD_NOW | os.RTLD_GLOBAL)
    dlopen(os.fsencode(folder / f"libtorch.{ending}"), os.RTLD_LAZY)
