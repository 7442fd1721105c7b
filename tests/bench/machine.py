"""What a figure was measured on."""

import os
import platform
from pathlib import Path

import numpy as np


def machine() -> str:
    """The processor, how many cores this process may use, and the Python."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores, Python {platform.python_version()}, numpy {np.__version__}"
