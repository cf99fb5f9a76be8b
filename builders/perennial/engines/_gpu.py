"""What the driver says of the first GPU: whether there is one, and what it can. Needs no CUDA library."""

from __future__ import annotations

import ctypes

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h."""


def missing() -> str | None:
    """None where a GPU and its driver are, or which of them is not."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1): run on a machine with an NVIDIA GPU and its driver"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "an NVIDIA driver, but no GPU that it can use: check nvidia-smi and CUDA_VISIBLE_DEVICES"
    return None


def capability() -> tuple[int, int]:
    """Compute capability, such as (8, 9); (0, 0) without a GPU."""
    if missing():
        return (0, 0)
    driver, device = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), 0)
    return (_attribute(driver, _MAJOR, device), _attribute(driver, _MINOR, device))


def _attribute(driver: ctypes.CDLL, number: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
    return value.value
