"""Where and with what an evaluation ran: costs mean nothing without it."""

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

import jax


def circumstances() -> dict[str, str]:
    """Device, processor, system, versions and date, in words."""
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "equinox", "numpy")
    return {
        "device": f"{device.platform} ({device.device_kind})",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if named:
            return named[0].split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
