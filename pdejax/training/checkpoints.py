"""Checkpoints of a fit in a folder: written in the background, whole or not at all, refused where they do not fit."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pdejax.counts import count_of
from pdejax.training.dataset import DeviceData
from pdejax.training.log import TrainingLog
from pdejax.training.state import TrainingState

_FORMAT_VERSION = 2
# What has to agree for a resumed run to be the uninterrupted one, and what to do where it does not.
_FIXES = {
    "model": "pass the model and `normalise` of that run",
    "choice of frozen parts": "pass the `frozen` of that run",
    "choice of keeping the best": "pass `keep_best` and `patience` as that run had them",
    "optimiser": "pass the optimiser of that run",
    "objective": "pass the objective of that run",
    "batch_size": "pass the batch size of that run",
    "ema_decay": "pass the `ema_decay` of that run",
    "key": "pass the key of that run, which decides the order of the data",
    "set of data": "pass the data of that run",
}


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where and how often `fit` writes down all that its next step depends on.

    - `folder`: of this run alone. A fit that finds a checkpoint in it goes on from the newest.
    - `every`: optimiser steps between two; one more is written at the end.
    - `keep`: how many of the newest stay.

    They are written by orbax in the background; a checkpoint appears under its name when it is whole, so that a run
    that is killed at any moment goes on from the one before. On another number of devices they are restored as well.

    Raises `ValueError` for numbers below one, and for a file in the place of the folder.
    """

    folder: str | os.PathLike
    every: int
    keep: int = 2

    def __post_init__(self):
        if Path(self.folder).exists() and not Path(self.folder).is_dir():
            raise ValueError(f"Checkpoints are written to a folder, and {self.folder} is a file.")
        count_of("every", self.every)
        count_of("keep", self.keep)


class CheckpointFolder:
    """The checkpoints of one run: `run` states what they belong to, by the words of `described_run`."""

    def __init__(self, settings: Checkpoints, run: Mapping[str, Any]):
        # Imported when it is needed: it takes longer than all the rest of the package.
        import orbax.checkpoint as orbax

        self.settings, self.run, self._orbax = settings, dict(run), orbax
        options = orbax.CheckpointManagerOptions(max_to_keep=settings.keep, cleanup_tmp_directories=True)
        self._manager = orbax.CheckpointManager(Path(settings.folder).absolute(), options=options)

    @property
    def newest(self) -> int | None:
        """The step of the newest checkpoint that is whole, or None."""
        return self._manager.latest_step()

    def write(self, state: TrainingState, log: TrainingLog) -> None:
        """Writes `state` beside what goes on; its arrays must not be donated afterwards."""
        args = self._orbax.args
        header = {"format_version": _FORMAT_VERSION, "step": state.step, "run": self.run}
        self._manager.save(
            state.step,
            args=args.Composite(
                header=args.JsonSave(header),
                state=args.StandardSave(_by_number(_arrays(state))),
                log=args.StandardSave({name: np.asarray(values) for name, values in log.columns.items()}),
            ),
        )

    def read(self, expected: TrainingState) -> tuple[TrainingState, TrainingLog]:
        """The newest state, laid out and placed on devices as `expected`, and the log up to it.

        Raises `ValueError` for the checkpoint of another run, naming what differs and what to pass.
        """
        step, args = self.newest, self._orbax.args
        assert step is not None
        header = self._manager.restore(step, args=args.Composite(header=args.JsonRestore()))["header"]
        self._check(step, header)
        wanted = _by_number(jax.tree.map(_placed, _arrays(expected)))
        found = self._manager.restore(
            step, args=args.Composite(state=args.StandardRestore(wanted), log=args.StandardRestore())
        )
        leaves = [found["state"][name] for name in sorted(wanted)]
        structure = jax.tree.structure(_arrays(expected))
        rest = eqx.filter(expected, eqx.is_array, inverse=True)
        state = eqx.combine(jax.tree.unflatten(structure, leaves), rest)
        state = eqx.tree_at(lambda tree: tree.step, state, step)
        return state, TrainingLog({name: np.asarray(values) for name, values in found["log"].items()})

    def finish(self) -> None:
        """Waits until what is being written is whole."""
        self._manager.wait_until_finished()
        self._manager.close()

    def _check(self, step: int, header: dict[str, Any]) -> None:
        where = f"The checkpoint of step {step} in {self.settings.folder}"
        if header["format_version"] != _FORMAT_VERSION:
            newer = header["format_version"] > _FORMAT_VERSION
            fix = "update pdejax" if newer else "finish it with the pdejax that began it, or begin a new run elsewhere"
            raise ValueError(
                f"{where} has format version {header['format_version']} and this pdejax reads {_FORMAT_VERSION}: {fix}."
            )
        for name, fix in _FIXES.items():
            had, has = header["run"][name], self.run[name]
            if had != has:
                short = name in ("batch_size", "ema_decay")
                raise ValueError(
                    f"{where} belongs to another {name}{f' ({had}, and not {has})' if short else ''}: {fix}, or begin "
                    "a new run in another folder."
                )


def described_run(
    state: TrainingState,
    flags: Any,
    objective: Any,
    data: DeviceData,
    key: Any,
    batch_size: int,
    ema_decay: float | None,
) -> dict[str, Any]:
    """What a run depends on beside its state, in words and checksums that are the same in every process.

    Of an optimiser that is what its state tells: rates and schedules are inside its functions.
    """
    return {
        "choice of frozen parts": [not flag for flag in jax.tree.leaves(flags)],
        "choice of keeping the best": state.best is not None,
        "model": _layout(state.model),
        "optimiser": _layout(state.optimiser_state),
        # The numbers, too: another viscosity in the residual is another objective.
        "objective": _layout(objective) + _without_addresses(repr(objective)) + _checksum(_arrays(objective)),
        "batch_size": batch_size,
        "ema_decay": ema_decay,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "set of data": _layout(data.domain)
        + _checksum((data.arrays, data.parameters, data.times, _arrays(data.domain))),
    }


def _checksum(tree: Any) -> str:
    arrays = [np.asarray(array) for array in jax.tree.leaves(tree)]
    digest = hashlib.sha256(json.dumps([(a.shape, a.dtype.name) for a in arrays]).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _layout(tree: Any) -> str:
    """Classes, static fields, shapes and dtypes, as text."""
    shapes = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(_arrays(tree))]
    return _without_addresses(str(jax.tree.structure(tree))) + " ".join(shapes)


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _arrays(tree: Any) -> Any:
    return eqx.filter(tree, eqx.is_array)


def _by_number(arrays: Any) -> dict[str, Any]:
    """The leaves under numbers that sort as they come: no name in a file depends on how a class spells its fields."""
    return {f"{i:06d}": leaf for i, leaf in enumerate(jax.tree.leaves(arrays))}


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    leaf = jnp.asarray(leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
