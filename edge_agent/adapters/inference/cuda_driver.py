"""NVIDIA's driver, asked through libcuda itself: ONNX Runtime answers a missing one with pages of errors.

The calls are those of the CUDA driver API, which keep their meaning from version to version.
"""

import ctypes
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_LIBRARY = "libcuda.so.1"
_PORTABLE = 1  # CU_MEMHOSTALLOC_PORTABLE: pinned for every context
_WHAT_HELPS = {  # codes of cuInit
    100: "no CUDA device is to be seen: `nvidia-smi -L` lists them; a container must be given one (--gpus all)",
    803: "the driver was updated while the old one runs: restart the machine",
    804: "the driver is too old for this device's compatibility package: update the driver",
}


class Gpu(NamedTuple):
    """What the driver says of itself and its devices."""

    fault: str  # why no device can be used, and what helps; empty = one can
    cuda: tuple[int, int] = (0, 0)  # the newest CUDA that the driver knows


class CudaError(RuntimeError):
    """The driver refused a call."""


class CudaDriver:
    """One device. Raises OSError when there is no driver, CudaError when it works on none."""

    def __init__(self, library: str = _LIBRARY) -> None:
        self._cuda = ctypes.CDLL(library)
        version = ctypes.c_int()
        self._ask("cuDriverGetVersion", ctypes.byref(version))
        self.cuda = (version.value // 1000, version.value % 1000 // 10)

    def init(self) -> None:
        """Find the first device and enter its context."""
        self._ask("cuInit", 0)
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._ask("cuDeviceGet", ctypes.byref(device), 0)
        self._ask("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)

    def free_bytes(self) -> int:
        """Device memory that nobody uses."""
        free, whole = ctypes.c_size_t(), ctypes.c_size_t()
        self._enter()
        self._ask("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(whole))
        return free.value

    def pinned(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """float32 of that shape in memory that the device reads by itself, freed with the array."""
        count, place = int(np.prod(shape)), ctypes.c_void_p()
        self._enter()
        self._ask("cuMemHostAlloc", ctypes.byref(place), ctypes.c_size_t(4 * count), _PORTABLE)
        memory = (ctypes.c_float * count).from_address(place.value or 0)
        # Not at the end of the process: the driver may be gone by then, and its memory with it.
        weakref.finalize(memory, self._free, place).atexit = False
        return np.ctypeslib.as_array(memory).reshape(shape)

    def _free(self, place: ctypes.c_void_p) -> None:
        """In whatever thread lets go of it last, which may have no context yet."""
        with suppress(CudaError):  # of a device that has vanished
            self._enter()
            self._ask("cuMemFreeHost", place)

    def _enter(self) -> None:
        self._ask("cuCtxSetCurrent", self._context)

    def _ask(self, call: str, *arguments: Any) -> None:  # noqa: ANN401 - what C takes
        code = getattr(self._cuda, call)(*arguments)
        if code:
            helps = _WHAT_HELPS.get(code, "`nvidia-smi` and the kernel's log (Xid) say more")
            msg = f"{call} gives CUDA error {code}: {helps}"
            raise CudaError(msg)


@cache
def cuda_driver() -> CudaDriver:
    """That of this process. Raises OSError, CudaError."""
    driver = CudaDriver()
    driver.init()
    return driver


def look(library: str = _LIBRARY) -> Gpu:
    """Whether a device can be used."""
    try:
        driver = CudaDriver(library)
    except OSError as error:
        return Gpu(f"there is no NVIDIA driver: {error}")
    except CudaError as error:
        return Gpu(str(error))
    try:
        driver.init()
    except CudaError as error:
        return Gpu(str(error), driver.cuda)
    return Gpu("", driver.cuda)
