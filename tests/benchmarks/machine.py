"""The machine and the versions that numbers were measured with."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

# Where more than this is running already, what is measured says little.
BUSY = 0.5


def describe() -> dict[str, Any]:
    """The processor, memory, versions, and how busy the machine is now."""
    packages = ("tensorflow", "keras", "numpy")
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "load": load(),
    }


def load() -> float:
    """How many processes were running, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def _first(path: str, key: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
