"""`pdejax info`: what is installed, or what a file holds."""

import dataclasses
import importlib.metadata
import json
import platform
from pathlib import Path

import equinox as eqx
import h5py
import jax
import numpy as np
import tyro

from pdejax import models
from pdejax.cli.command import Command, existing_file
from pdejax.data import read_well

PACKAGES = ("pdejax", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "h5py")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info(Command):
    """Show versions, devices and precision; or describe a data file or a model file."""

    file: tyro.conf.Positional[Path | None] = None
    """A data file (.hdf5) or a model file to describe."""

    def run(self) -> None:
        if self.file is None:
            print(installation())
        elif h5py.is_hdf5(existing_file(self.file, "FILE")):
            print(describe_data_file(self.file))
        else:
            print(describe_model_file(self.file))


def installation() -> str:
    """Versions, devices and precision, one per line."""
    lines = [f"python      {platform.python_version()} on {platform.system()} {platform.machine()}"]
    for name in PACKAGES:
        try:
            lines.append(f"{name:<11} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{name:<11} not installed as a package")
    devices = [f"{device.platform} ({device.device_kind})" for device in jax.devices()]
    lines += [f"devices     {len(devices)} x {devices[0]}"]
    lines += ["precision   solvers in float64, stored data and models in float32"]
    return "\n".join(lines)


def describe_data_file(path: Path) -> str:
    """What a file of trajectories holds and where it came from."""
    data = read_well(path)
    lines = [repr(data), "  made by"]
    for name, value in data.provenance.items():
        text = value if isinstance(value, str) else json.dumps(value)
        lines.append(f"    {name:<26} {text if len(text) <= 160 else text[:157] + '...'}")
    return "\n".join(lines if data.provenance else [*lines[:-1], "  made by     the file does not say"])


def describe_model_file(path: Path) -> str:
    """What a model file holds."""
    saved = models.load(path)
    network = saved.model.model if isinstance(saved.model, models.Normalised) else saved.model
    count = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array)))
    lines = [f"{type(network).__name__}: {count} weights"]
    lines.append(f"  channels    {', '.join(saved.names) or 'not stated'}")
    if saved.grid is not None:
        sides = tuple(float(f"{side:.6g}") for side in np.asarray(saved.grid.extent))
        lines.append(f"  trained on  {saved.grid.shape} points, extent {sides}")
    if saved.dt is not None:
        lines.append(f"  one step    {saved.dt:g} units of time")
    for name, value in saved.provenance.items():
        lines.append(f"  {name:<11} {value if isinstance(value, str) else json.dumps(value)}")
    return "\n".join(lines)
