"""Fields that stay in their HDF5 file until they are indexed."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# h5py types every item of a file as any of its kinds, so its own types would only add casts.
HDF5 = Any


@dataclasses.dataclass(frozen=True)
class StoredChannel:
    """Where one channel lies: a dataset and, for vectors and tensors, which component of it."""

    dataset: str
    component: tuple[int, ...]


class StoredFields:
    """The `u` of a file, `(sample, time, channel, *space)`: its shape now, its values when indexed.

    Integers and slices along every axis, and an array of integers or booleans along the first.
    """

    def __init__(
        self,
        path: Path,
        channels: tuple[StoredChannel, ...],
        samples: np.ndarray,
        num_frames: int,
        space: tuple[int, ...],
        dtype: np.dtype,
    ):
        self.path, self.channels, self.samples = path, channels, samples
        self.num_frames, self.space, self.dtype = num_frames, space, dtype
        self._file: HDF5 | None = None
        self._process = -1

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.samples), self.num_frames, len(self.channels), *self.space)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return self.path.name

    def take(self, samples: Any, /) -> "StoredFields":
        """The same file with these samples, in this order; nothing is read."""
        chosen = self.samples[samples]
        return StoredFields(self.path, self.channels, chosen, self.num_frames, self.space, self.dtype)

    def take_channels(self, channels: Sequence[int], /) -> "StoredFields":
        chosen = tuple(self.channels[c] for c in channels)
        return StoredFields(self.path, chosen, self.samples, self.num_frames, self.space, self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("A stored array is read from its file, which always makes a copy.")
        return np.asarray(self[:], dtype)

    def __getitem__(self, index: Any) -> np.ndarray:
        indices = list(index) if isinstance(index, tuple) else [index]
        if any(i is Ellipsis for i in indices):
            at = next(a for a, i in enumerate(indices) if i is Ellipsis)
            indices[at : at + 1] = [slice(None)] * (self.ndim - len(indices) + 1)
        if len(indices) > self.ndim:
            raise IndexError(f"{len(indices)} indices for an array of shape {self.shape}")
        if any(not isinstance(i, int | np.integer | slice) for i in indices[1:]):
            raise IndexError(
                "A stored array takes integers and slices beyond the first axis; read the samples first, "
                "u[samples][:, frames], or load() the trajectories."
            )
        indices += [slice(None)] * (self.ndim - len(indices))
        samples = np.atleast_1d(self.samples[indices[0]])
        frames = np.atleast_1d(np.arange(self.num_frames)[indices[1]])
        channels = np.atleast_1d(np.arange(len(self.channels))[indices[2]])
        out = np.empty((len(samples), len(frames), len(channels), *self.space), self.dtype)
        if out.size:
            self._read_into(out, samples, frames, [self.channels[c] for c in channels])
        scalar = isinstance(indices[0], int | np.integer) or np.ndim(self.samples[indices[0]]) == 0
        drop = [scalar, *(isinstance(i, int | np.integer) for i in indices[1:3])]
        return out[(*(0 if dropped else slice(None) for dropped in drop), *indices[3:])]

    def _read_into(
        self, out: np.ndarray, samples: np.ndarray, frames: np.ndarray, channels: list[StoredChannel]
    ) -> None:
        file = self._open()
        # A vector is read once, not once per component: its components are interleaved in the file.
        for name in dict.fromkeys(channel.dataset for channel in channels):
            block = _read_block(file[name], samples, frames, len(self.space))
            for c, channel in enumerate(channels):
                if channel.dataset == name:
                    out[:, :, c] = block[(..., *channel.component)]

    def _open(self) -> HDF5:
        # A handle must not cross a fork: each process opens its own.
        if self._file is None or self._process != os.getpid():
            self._file, self._process = open_hdf5(self.path), os.getpid()
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": -1}


def open_hdf5(path: Path) -> HDF5:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "truncated" in str(error):
            raise ValueError(
                f"{path} is truncated: {path.stat().st_size} bytes are there and its header promises more. Copy or "
                "download it again."
            ) from error
        if not h5py.is_hdf5(path):
            raise ValueError(
                f"{path} is no HDF5 file; trajectories are read from HDF5 in The Well's layout."
            ) from error
        raise ValueError(f"{path} cannot be opened as HDF5: {error}") from error


def _read_block(dataset: HDF5, samples: np.ndarray, frames: np.ndarray, ndim: int) -> np.ndarray:
    """Some samples and frames of a field, with every axis it does not vary along put back with length one."""
    flags = dataset.attrs
    index: tuple[Any, ...] = ()
    frames_after: Any = slice(None)
    if flags["time_varying"]:
        step = int(frames[1] - frames[0]) if len(frames) > 1 else 1
        low, high = int(frames.min()), int(frames.max()) + 1
        index = (slice(low, high, abs(step)),)
        frames_after = slice(None, None, 1 if step > 0 else -1)
    if not flags["sample_varying"]:
        block = dataset[index][None]
    elif len(samples) == 1 or np.all(np.diff(samples) == 1):
        block = dataset[(slice(int(samples[0]), int(samples[-1]) + 1), *index)]
    else:
        block = np.stack([dataset[(int(i), *index)] for i in samples])
    block = block[:, frames_after] if flags["time_varying"] else block[:, None]
    if block.ndim < 2 + ndim + int(dataset.name.split("/")[1][1]):
        for a, varies in enumerate(flags["dim_varying"]):
            if not varies:
                block = np.expand_dims(block, 2 + a)
    return block
