"""What this machine is: figures, and the numbers that training gives, depend on it."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> str:
    """The name that the processor gives itself, such as "AMD EPYC"; empty where it gives none."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
