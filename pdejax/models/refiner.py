"""PDE-Refiner: a prediction, and then corrections of what is smaller and smaller in it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.keys import checked_key
from pdejax.nn import Conditioning, RefinementSchedule
from pdejax.nn.checks import check_is_model, check_sizes

NAME = "PDERefiner"
LEVEL = "refinement"


class PDERefiner(eqx.Module):
    r"""A stepper that denoises its own prediction, level by level of a `RefinementSchedule`:

        x_0 = noise (or zero);   y_k = what `network(u, x_k)` says y is;   x_(k+1) = y_k with less noise;   result y_K

    A one-step error of 1e-3 says nothing of structures that are smaller than that, and these decide how long a rollout
    stays near the truth. Noise of their size hides no larger structure, so to predict it the network has to know them.

    `model(u, parameters=None, *, domain=None, key=None)`: `(channel, *space) -> (out_channels, *space)`, drawn by
    `key`, which every call needs: calls with several keys are an ensemble. A call takes as many calls of the network as
    there are levels in use.

    - `network`: `(channel + out_channels, *space) -> (out_channels, *space)`, the state in front. It is told which
      level it is at by the parameter "refinement", which goes from 0 to 1000: name it in the network's
      `pdejax.nn.Conditioning`, e.g. `Conditioning("refinement", modulation=FiLM(), embedding=Embedding(256, 64))`.
    - `out_channels`: of the result, which must be of order one. `pdejax.fit` surrounds the model by statistics, so that
      it predicts the increment of a step in units of its deviation; train it on `pdejax.objectives.Refined()`.
    - `levels`: those in use when it is called, from 0 upwards, all by default. With fewer a call is cheaper; `(0,)`
      alone is a prediction without refinement. Training is always on all of them.
    - `tolerance`: refinement ends where the root mean square of what it has changed falls below this, in units of y;
      None for never. What is saved is saved outside of `vmap` alone.

    Raises `ValueError` for a network that is not built, of other channels, or whose `conditioning` does not name the
    level, levels that do not rise from 0, and a tolerance that is not positive; at trace time for a call without a key
    and a network that returns another shape than the result's.
    Source: Lippe et al., PDE-Refiner: Achieving Accurate Long Rollouts with Neural PDE Solvers (NeurIPS 2023).
    """

    network: Any
    out_channels: int = eqx.field(static=True)
    schedule: RefinementSchedule = eqx.field(static=True)
    levels: tuple[int, ...] = eqx.field(static=True)
    tolerance: float | None = eqx.field(static=True)

    def __init__(
        self,
        network: Any,
        out_channels: int,
        schedule: RefinementSchedule | None = None,
        levels: Sequence[int] | None = None,
        tolerance: float | None = None,
    ):
        check_is_model(network, NAME)
        check_sizes(NAME, out_channels=out_channels)
        _check_is_told(network)
        made, taken = getattr(network, "out_channels", out_channels), getattr(network, "in_channels", None)
        if made != out_channels or (taken is not None and taken <= out_channels):
            raise ValueError(
                f"The network of {NAME}(network, {out_channels}) takes the channels of a state and {out_channels} "
                f"more, and makes {out_channels}, got one that takes {taken} and makes {made}."
            )
        self.network, self.out_channels = network, out_channels
        self.schedule = RefinementSchedule() if schedule is None else schedule
        if not isinstance(self.schedule, RefinementSchedule):
            raise ValueError(f"PDERefiner takes schedule=RefinementSchedule(...), got {schedule!r}.")
        count = self.schedule.num_refinements
        self.levels = tuple(range(count + 1)) if levels is None else _checked_levels(levels, count)
        if tolerance is not None and not 0 < tolerance < float("inf"):
            raise ValueError(f"PDERefiner needs a tolerance > 0, in units of the result, or None, got {tolerance}.")
        self.tolerance = None if tolerance is None else float(tolerance)

    @property
    def in_channels(self) -> int:
        """Of the state, where the network says how many channels it takes: it takes those of the result as well."""
        return self.network.in_channels - self.out_channels

    @property
    def ndim(self) -> int:
        """That of the network, where it says so."""
        return self.network.ndim

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_channels *space"]:
        if key is None:
            raise ValueError(
                "PDERefiner draws noise and needs a key: model(u, key=jax.random.key(0)), and for rollouts and "
                "evaluate key=jax.random.key(0) as well."
            )
        u = u if jnp.issubdtype(u.dtype, jnp.inexact) else u.astype(jnp.result_type(float))
        shape, dtype = (self.out_channels, *u.shape[1:]), u.dtype
        levels = jnp.asarray(self.levels)
        estimate, transitions = self.schedule.estimate, self.schedule.transitions(self.levels)
        table = jnp.asarray([*(each[list(self.levels)] for each in estimate), *transitions], dtype).T
        first_key, *keys = jax.random.split(checked_key(key, NAME), 1 + len(self.levels))
        x = jnp.asarray(self.schedule.noise[0], dtype) * jax.random.normal(first_key, shape, dtype)

        def refine(carry: tuple[Array, Array], level: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            x, _ = carry
            k, (of_x, of_predicted, y_next, x_next, noise_next), key = level
            y = of_x * x + of_predicted * self._predicted(u, x, k, parameters, domain)
            return y_next * y + x_next * x + noise_next * jax.random.normal(key, shape, dtype), y

        def step(carry: Any, level: Any) -> tuple[Any, None]:
            x, y, done = carry
            if self.tolerance is None:
                return (*refine((x, y), level), done), None
            new_x, new_y = jax.lax.cond(done, lambda: (x, y), lambda: refine((x, y), level))
            small = jnp.sqrt(jnp.mean((new_y - y) ** 2)) < self.tolerance
            # On the first level there is nothing yet that could have changed.
            return (new_x, new_y, done | (small & (level[0] > 0))), None

        start = (x, jnp.zeros(shape, dtype), jnp.asarray(False))
        return jax.lax.scan(step, start, (levels, table, jnp.stack(keys)))[0][1]

    def residual(
        self,
        u: Float[Array, "channel *space"],
        y: Float[Array, "out_channels *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray,
    ) -> Float[Array, "out_channels *space"]:
        """What the network predicts minus what it should, on a level drawn at random, for the true result `y`."""
        of_level, of_noise = jax.random.split(checked_key(key, NAME))
        k = jax.random.randint(of_level, (), 0, self.schedule.num_refinements + 1)
        parts = (self.schedule.signal, self.schedule.noise, *self.schedule.target)
        signal, noise, of_y, of_e = (jnp.asarray(part, y.dtype)[k] for part in parts)
        e = jax.random.normal(of_noise, y.shape, y.dtype)
        return self._predicted(u, signal * y + noise * e, k, parameters, domain) - (of_y * y + of_e * e)

    def _predicted(self, u: Array, x: Array, k: Array, parameters: Mapping[str, Any] | None, domain: Any) -> Array:
        told = dict(parameters or {}) | {LEVEL: 1000.0 * k / self.schedule.num_refinements}
        predicted = self.network(jnp.concatenate([u, x]), told, domain=domain)
        if predicted.shape != x.shape:
            # One channel would be broadcast to all of them, and trained so.
            raise ValueError(
                f"The network of {NAME} returns shape {predicted.shape} and has to predict {x.shape}: build it with "
                f"in_channels={u.shape[0] + x.shape[0]} and out_channels={x.shape[0]}, and give PDERefiner these."
            )
        return predicted.astype(x.dtype)


def _check_is_told(network: Any) -> None:
    """Raises `ValueError` for a network that states what it is told, and is not told the level."""
    told = getattr(network, "conditioning", LEVEL)
    if told != LEVEL and LEVEL not in (told.parameters if isinstance(told, Conditioning) else ()):
        raise ValueError(
            f'{NAME} tells its network the level as the parameter "{LEVEL}", and this {type(network).__name__} is not '
            f'told it: conditioning=pdejax.nn.Conditioning("{LEVEL}", modulation=pdejax.nn.FiLM()).'
        )


def _checked_levels(levels: Any, last: int) -> tuple[int, ...]:
    given: Any = tuple(levels) if isinstance(levels, Sequence | np.ndarray) else ()
    rises = all(isinstance(level, int | np.integer) for level in given) and all(a < b for a, b in pairwise(given))
    if given[:1] != (0,) or not rises or given[-1] > last:
        raise ValueError(f"{NAME} needs levels that rise from 0, up to {last}, got {levels}.")
    return tuple(int(level) for level in given)
