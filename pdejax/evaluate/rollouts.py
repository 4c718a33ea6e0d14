"""Contestants taken over the test data: rolled out, scored and timed, in fixed batches."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.data import Trajectories
from pdejax.evaluate import contestants
from pdejax.evaluate.contestants import Contestant, Kind
from pdejax.evaluate.report import Result
from pdejax.evaluate.scores import LABELS, scores, spectra
from pdejax.grid import Grid


class Rollouts:
    """The test data on the device in batches of one shape, and how a contestant is taken over it.

    - `sizes`: the root mean square of every channel in all of the truth.
    - `key`: for surrogates that draw random numbers; one for each trajectory is made from it.

    Raises `ValueError` for a batch of less than one trajectory.
    """

    def __init__(
        self,
        test: Trajectories,
        dt: float,
        sizes: Float[np.ndarray, " channel"],
        batch_size: int | None,
        key: PRNGKeyArray | None,
    ):
        self.test, self.dt, self.sizes = test, dt, sizes
        self.num_samples, self.num_steps = len(test), test.num_frames - 1
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}.")
        self.batch_size = min(self.num_samples, 32 if batch_size is None else batch_size)
        # One program of a few steps serves the rollout, segment after segment, and the timing.
        self.segment = math.ceil(self.num_steps / math.ceil(self.num_steps / 5))
        self.simulated_time = self.segment * dt * self.batch_size
        self.keys = None if key is None else jax.random.split(key, self.num_samples)

    def batch(self, first: int) -> tuple[np.ndarray, Float[Array, "sample channel *space"], dict[str, Array], Any]:
        """Indices (the last batch is filled up with its last trajectory), initial states, parameters, keys."""
        samples = np.minimum(np.arange(first, first + self.batch_size), self.num_samples - 1)
        u = jnp.asarray(np.stack([np.asarray(self.test.u[int(i), 0]) for i in samples]))
        parameters = {name: jnp.asarray(values[samples]) for name, values in self.test.parameters.items()}
        return samples, u, parameters, None if self.keys is None else self.keys[samples]

    def roll(self, kind: Kind, contestant: Contestant, common: Grid | None, stated: int | None) -> Result:
        """Scores at every time; spectra at the stated and the last time; the states of the first sample."""
        grid, test = self.test.grid, self.test
        shape = (self.num_samples, self.num_steps + 1, test.num_channels)
        table = {name: np.full(shape, np.nan) for name in LABELS}
        finite = np.zeros(shape[:2], bool)
        example = np.full((self.num_steps + 1, test.num_channels, *grid.shape), np.nan, test.u.dtype)
        spectrum: dict[int, list[np.ndarray]] = {}
        for first in range(0, self.num_samples, self.batch_size):
            samples, u, parameters, keys = self.batch(first)
            new = slice(0, min(self.batch_size, self.num_samples - first))
            rows = samples[new]
            frame = 0
            states, carried = u[:, None], contestants.begin(contestant, parameters, u, self.keys_of(keys, 0))
            while True:
                count = min(states.shape[1], self.num_steps + 1 - frame)
                truth = np.stack([np.asarray(test.u[int(i), frame : frame + count]) for i in rows])
                found = scores(states[new, :count], jnp.asarray(truth), grid, common, self.sizes)
                for name, values in found.items():
                    table[name][rows, frame : frame + count] = values
                host = np.asarray(states[new, :count])
                finite[rows, frame : frame + count] = np.isfinite(host).all(axis=tuple(range(2, host.ndim)))
                if first == 0:
                    example[frame : frame + count] = host[0]
                for wanted in {stated, self.num_steps}:
                    if wanted is not None and frame <= wanted < frame + count and all(grid.periodic + grid.is_uniform):
                        found_spectra = spectra(jnp.asarray(host[:, wanted - frame]), grid)
                        spectrum.setdefault(wanted, []).append(np.asarray(found_spectra))
                frame += count
                if frame > self.num_steps or (kind == "rival" and not finite[rows, frame - 1].any()):
                    break
                if kind == "baseline":
                    states = jnp.broadcast_to(u[:, None], (u.shape[0], self.segment, *u.shape[1:]))
                    continue
                drawn_from = self.keys_of(keys, frame)
                carried, states = contestants.advance(
                    contestant, parameters, carried, self.time(frame - 1), drawn_from, self.segment
                )
        return Result(
            kind=kind,
            scores={name: values for name, values in table.items() if not np.isnan(values[:, 0]).all()},
            finite=finite,
            example=example if kind != "rival" else None,
            spectra={frame: np.concatenate(parts).mean(axis=0) for frame, parts in spectrum.items()},
        )

    def time(self, frame: int) -> Float[Array, ""]:
        # An array: a Python number would be a constant of the program, which every segment would then compile anew.
        return jnp.asarray(self.test.times[0] + frame * self.dt, jnp.result_type(float))

    @staticmethod
    def keys_of(keys: Any, frame: int) -> Any:
        """What the segment that begins with this frame draws with."""
        return None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, frame)

    def timed_run(self, contestant: Contestant) -> Any:
        """A function without arguments that does one segment of one batch."""
        _, u, parameters, keys = self.batch(0)
        t = self.time(0)

        def run() -> Any:
            carried = contestants.begin(contestant, parameters, u, keys)
            return contestants.advance(contestant, parameters, carried, t, keys, self.segment)

        return run

    def truth_example(self) -> np.ndarray:
        return np.asarray(self.test.u[0])

    def truth_spectra(self, stated: int) -> dict[int, np.ndarray]:
        if not all(self.test.grid.periodic + self.test.grid.is_uniform):
            return {}
        found = {}
        for frame in {stated, self.num_steps}:
            states = np.stack([np.asarray(self.test.u[i, frame]) for i in range(self.num_samples)])
            found[frame] = np.asarray(spectra(jnp.asarray(states), self.test.grid)).mean(axis=0)
        return found

    def describe(self) -> dict[str, Any]:
        test = self.test
        return {
            "trajectories": self.num_samples,
            "frames": test.num_frames,
            "interval": float(f"{self.dt:.6g}"),
            "grid": list(test.grid.shape),
            "extent": [float(f"{side:.6g}") for side in np.asarray(test.grid.extent)],
            "dtype": str(jax.dtypes.canonicalize_dtype(test.u.dtype)),
            "batch": self.batch_size,
            "parameters": {name: [float(v.min()), float(v.max())] for name, v in test.parameters.items()},
        }
