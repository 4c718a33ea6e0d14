"""PDE-Refiner: a prediction, and then corrections of what is smaller and smaller in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.nn import RefinementSchedule
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

    Raises `ValueError` for a network that is not built, levels that do not rise from 0, and a tolerance that is not
    positive; at trace time for a call without a key.
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
        self.network, self.out_channels = network, out_channels
        self.schedule = RefinementSchedule() if schedule is None else schedule
        if not isinstance(self.schedule, RefinementSchedule):
            raise ValueError(f"PDERefiner takes schedule=RefinementSchedule(...), got {schedule!r}.")
        count = self.schedule.num_refinements
        self.levels = tuple(range(count + 1)) if levels is None else tuple(levels)
        rises = all(a < b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if self.levels[:1] != (0,) or not rises or self.levels[-1] > count:
            raise ValueError(f"PDERefiner needs levels that rise from 0, up to {count}, got {levels}.")
        if tolerance is not None and not 0 < tolerance < float("inf"):
            raise ValueError(f"PDERefiner needs a tolerance > 0, in units of the result, or None, got {tolerance}.")
        self.tolerance = None if tolerance is None else float(tolerance)

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
        shape, dtype = (self.out_channels, *u.shape[1:]), u.dtype
        levels = jnp.asarray(self.levels)
        estimate, transitions = self.schedule.estimate, self.schedule.transitions(self.levels)
        table = jnp.asarray([*(each[list(self.levels)] for each in estimate), *transitions], dtype).T
        first_key, *keys = jax.random.split(key, 1 + len(self.levels))
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
        of_level, of_noise = jax.random.split(key)
        k = jax.random.randint(of_level, (), 0, self.schedule.num_refinements + 1)
        parts = (self.schedule.signal, self.schedule.noise, *self.schedule.target)
        signal, noise, of_y, of_e = (jnp.asarray(part, y.dtype)[k] for part in parts)
        e = jax.random.normal(of_noise, y.shape, y.dtype)
        return self._predicted(u, signal * y + noise * e, k, parameters, domain) - (of_y * y + of_e * e)

    def _predicted(self, u: Array, x: Array, k: Array, parameters: Mapping[str, Any] | None, domain: Any) -> Array:
        told = dict(parameters or {}) | {LEVEL: 1000.0 * k / self.schedule.num_refinements}
        return self.network(jnp.concatenate([u, x]), told, domain=domain)
