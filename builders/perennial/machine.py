"""What this machine is: figures, the numbers that training gives, and what engines can do depend on it.

Of a GPU it asks the driver, which needs no library of CUDA's.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

from perennial.errors import Broken

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h."""


def processor() -> str:
    """The name that the processor gives itself, such as "AMD EPYC"; empty where it gives none."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def gpu_missing() -> str | None:
    """None where a GPU and its driver are, or which of them is not."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1): run on a machine with an NVIDIA GPU and its driver"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "an NVIDIA driver, but no GPU that it can use: check nvidia-smi and CUDA_VISIBLE_DEVICES"
    return None


def gpu_capability() -> tuple[int, int]:
    """Compute capability of the first GPU, such as (8, 9); (0, 0) without a GPU."""
    if gpu_missing():
        return (0, 0)
    driver, device = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), 0)
    return (_attribute(driver, _MAJOR, device), _attribute(driver, _MINOR, device))


def copy_on_gpu(source: int, target: int, size: int) -> None:
    """So many bytes, between two addresses of a GPU that this thread has used before; then they are there."""
    driver = ctypes.CDLL("libcuda.so.1")
    failed = driver.cuMemcpyDtoD_v2(ctypes.c_uint64(target), ctypes.c_uint64(source), ctypes.c_size_t(size))
    if failed := failed or driver.cuCtxSynchronize():
        raise Broken(f"the GPU's driver copies nothing: error {failed} of CUDA's")


def _attribute(driver: ctypes.CDLL, number: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
    return value.value
