"""`pdejax info`: what is installed, or what a file holds."""

import dataclasses
import importlib.metadata
import json
import platform
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import h5py
import jax
import numpy as np
import tyro

from pdejax import models
from pdejax.cli.command import Command, existing_file
from pdejax.cli.wording import said_as
from pdejax.data import read_well

PACKAGES = ("pdejax", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "h5py")
# Characters per line of a description, and entries of a list that are shown before it is shortened.
LINE = 110
SHOWN = 8


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
            words = "is neither a data file (HDF5) nor a model file of pdejax"
            with said_as({"is not a pdejax model file; pdejax.models.save writes one": words}):
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
    lines += listed(data.provenance, indent=4)
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
    if saved.provenance:
        lines += ["  made by", *listed(saved.provenance, indent=4)]
    return "\n".join(lines)


def listed(values: Mapping[str, Any], indent: int) -> list[str]:
    """Lines with one key each, and below a key that holds keys again these, further in. Long lists keep their ends."""
    lines: list[str] = []
    width = max((len(name) for name, value in values.items() if not _has_keys(value)), default=0)
    for name, value in values.items():
        if _has_keys(value):
            lines += [" " * indent + name, *listed(value, indent + 2)]
            continue
        before = f"{'':<{indent}}{name:<{width}}  "
        text = value if isinstance(value, str) else _in_line(value)
        # A word that is longer than the line, such as a path, stays whole.
        options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
        lines += textwrap.wrap(before + text, LINE, subsequent_indent=" " * len(before), **options)
    return lines


def _has_keys(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) > 0


def _in_line(value: Any) -> str:
    if isinstance(value, list) and len(value) > SHOWN:
        ends = [json.dumps(each) for each in (*value[:3], *value[-1:])]
        return f"[{', '.join(ends[:-1])}, ..., {ends[-1]}]: {len(value)} entries"
    return json.dumps(value)
