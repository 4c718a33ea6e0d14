"""What every benchmark states of its figures and of the machine."""

import platform
from datetime import date
from importlib.metadata import version

import jax
import numpy as np


def spread(values: np.ndarray) -> dict[str, float]:
    """The median and the 10 % and 90 % quantiles."""
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9])
    return {"median": float(median), "low": float(low), "high": float(high)}


def machine(*packages: str) -> dict[str, str]:
    """Date, device and the versions of jax, jaxlib and `packages`."""
    device = jax.devices()[0]
    return {
        "date": date.today().isoformat(),
        "device": f"{device.platform} ({platform.processor() or platform.machine()}, {device.device_kind})",
        **{name: version(name) for name in ("jax", "jaxlib", *packages)},
    }
