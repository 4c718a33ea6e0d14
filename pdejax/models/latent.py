"""Steps in a latent space: encode once, evolve as often as one likes, decode what one wants to see."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.counts import count_of
from pdejax.grid import Grid
from pdejax.nn.checks import check_is_model
from pdejax.rollout import warn_of_blow_up

NAME = "LatentEvolution"


class LatentEvolution(eqx.Module):
    r"""A stepper whose state is a latent one, of three models E, g and D:

        z = E(u),   z <- z + g(z)  (or g(z), with `residual=False`),   D(z)

    `model(u, parameters=None, *, domain=None, key=None)`: `(channel, *space) -> (channel, *space)`, one step from
    states to states as any other model. `latent_rollout` takes n steps at the price of one E and n g, with a D wherever
    a state is wanted: that is what the model is for, and what `pdejax.objectives.Latent` trains. (`rollout` and
    `evaluate` step from state to state, with D and E in every step, `evaluate` of an `InLatentSpace` does not.)

    - `encoder`: E, e.g. a `pdejax.nn.StridedEncoder`: to a vector `(latent,)`, or to a coarse grid,
      `(latent, *coarse)`.
    - `dynamics`: g, from latent states to such of the same shape: a `pdejax.nn.LatentMLP` for vectors, for coarse grids
      any network with as many channels out as in, e.g. an `FNO`.
    - `decoder`: D, e.g. a `pdejax.nn.StridedDecoder`; from what the encoder makes to the points of the `domain`.

    All three are called as models are, with the same `parameters`. E and D are given the `domain` of the states, g the
    same box with the points of a latent state that has as many axes, and None where it has not.

    The decoder makes states, and no increments, for what is added to a state is not known in the latent space. So
    `fit` surrounds the model by the statistics of the states alone.

    Raises `ValueError` for a part that cannot be called; at trace time where g changes the shape, and where the result
    is not on the points of the state.
    Source: Wu, Maruyama & Leskovec, Learning to Accelerate Partial Differential Equations via Latent Global Evolution
    (NeurIPS 2022).
    """

    encoder: Any
    dynamics: Any
    decoder: Any
    residual: bool = eqx.field(static=True)

    def __init__(self, encoder: Any, dynamics: Any, decoder: Any, residual: bool = True):
        for name, part in (("encoder", encoder), ("dynamics", dynamics), ("decoder", decoder)):
            check_is_model(part, f"{NAME}({name}=...)")
        self.encoder, self.dynamics, self.decoder, self.residual = encoder, dynamics, decoder, bool(residual)

    @property
    def in_channels(self) -> int:
        """That of the encoder, where it says so."""
        return self.encoder.in_channels

    @property
    def out_channels(self) -> int:
        """That of the decoder, where it says so."""
        return self.decoder.out_channels

    @property
    def ndim(self) -> int:
        """That of the encoder, where it says so."""
        return self.encoder.ndim

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel_out *space"]:
        of_encoder, of_dynamics, of_decoder = keys_of_parts(key)
        z = self.encode(u, parameters, domain=domain, key=of_encoder)
        z = self.evolve(z, parameters, domain=domain, key=of_dynamics)
        result = self.decode(z, parameters, domain=domain, key=of_decoder)
        _check_points(result, u)
        return result

    def encode(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "latent *coarse"]:
        """E(u)."""
        return self.encoder(u, parameters, domain=domain, key=key)

    def evolve(
        self,
        z: Float[Array, "latent *coarse"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "latent *coarse"]:
        """The latent state one step later; `domain` is that of the states."""
        made = self.dynamics(z, parameters, domain=_domain_of(z, domain), key=key)
        if made.shape != z.shape:
            raise ValueError(
                f"The dynamics of {NAME} turns a latent state of shape {z.shape} into {made.shape}: build it with as "
                "many channels out as in."
            )
        # In a loop no dtype may change.
        return (z + made if self.residual else made).astype(z.dtype)

    def decode(
        self,
        z: Float[Array, "latent *coarse"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel *space"]:
        """D(z); `domain` is that of the states."""
        return self.decoder(z, parameters, domain=domain, key=key)


def latent_rollout(
    stepper: Any,
    u0: Float[Array | np.ndarray, "channel *space"],
    num_steps: int | np.integer,
    *,
    every: int | np.integer = 1,
    key: PRNGKeyArray | None = None,
    include_initial: bool = False,
) -> Float[Array, "time channel *space"]:
    """Encodes u0, takes `num_steps` steps in the latent space and decodes every `every`-th of them:
    `(num_steps / every, channel, *space)`.

        latent_rollout(NeuralStepper(fitted.model, dt, grid), u0, 1000, every=10)

    `stepper` is a `NeuralStepper` of a `LatentEvolution`, with or without the statistics around it that `fit` puts
    there. The states are in physical units, as those of `rollout`. `include_initial` puts u0 in front, as it is. With a
    key, every step draws what it would draw in `rollout`, and as there a `RuntimeWarning` names the step from which on
    states are not finite.

    Raises `ValueError` for a stepper of another model, counts below one, a number of steps that is no multiple of
    `every`, and statistics of increments.
    """
    model: Any = getattr(stepper, "model", None)
    if model is None or not hasattr(stepper, "parameters") or not hasattr(stepper, "domain"):
        raise ValueError(
            f"latent_rollout takes NeuralStepper(model, dt, grid) first, got a {type(stepper).__name__}: "
            f"put the {NAME} into one."
        )
    count, every = count_of("num_steps", num_steps), count_of("every", every)
    if count % every:
        raise ValueError(f"{count} steps are no multiple of every={every}: the last ones would not be decoded.")
    u0 = jnp.asarray(u0)
    u0 = u0 if jnp.issubdtype(u0.dtype, jnp.inexact) else u0.astype(jnp.result_type(float))
    states = _latent_rollout(model, u0, stepper.parameters, stepper.domain, count, every, key, include_initial)
    if not isinstance(states, Tracer):
        warn_of_blow_up(stepper, states, int(include_initial), every)
    return states


@eqx.filter_jit
def _latent_rollout(
    model: Any, u0: Array, parameters: Any, domain: Any, count: int, every: int, key: Any, include_initial: bool
) -> Array:
    z = encoded(model, u0, parameters, domain, key)
    _, states = latent_frames(model, z, u0, parameters, domain, count, every, key)
    if not include_initial:
        return states
    if states.shape[1:] != u0.shape:
        raise ValueError(f"The decoder makes states of shape {states.shape[1:]}, and u0 has {u0.shape}: leave it out.")
    dtype = jnp.promote_types(u0.dtype, states.dtype)
    return jnp.concatenate([u0[None].astype(dtype), states.astype(dtype)])


def encoded(
    model: Any, u: Float[Array, "channel *space"], parameters: Any, domain: Any, key: PRNGKeyArray | None
) -> Float[Array, "latent *coarse"]:
    """The latent state that a rollout from `u` begins with."""
    inside, seen, told, _ = in_latent_space(model, u, parameters)
    return inside.encode(seen, told, domain=domain, key=_keys_of_step(key, 0)[0])


def latent_frames(
    model: Any,
    z: Float[Array, "latent *coarse"],
    u: Float[Array, "channel *space"],
    parameters: Any,
    domain: Any,
    num_steps: int,
    every: int,
    key: PRNGKeyArray | None,
) -> tuple[Float[Array, "latent *coarse"], Float[Array, "time channel *space"]]:
    """`num_steps` steps from the latent state z: that at their end, and every `every`-th of them decoded, in the units
    and the precision of the state `u`."""
    inside, _, told, restore = in_latent_space(model, u, parameters)

    def frame(z: Array, first: Array) -> tuple[Array, Array]:
        def step(n: Any, z: Array) -> Array:
            return inside.evolve(z, told, domain=domain, key=_keys_of_step(key, first + n)[1])

        z = jax.lax.fori_loop(0, every, step, z)
        decoded = inside.decode(z, told, domain=domain, key=_keys_of_step(key, first + every - 1)[2])
        _check_points(decoded, u)
        return z, restore(decoded)

    return jax.lax.scan(frame, z, jnp.arange(0, num_steps, every))


def _check_points(decoded: Array, u: Array) -> None:
    if decoded.shape[1:] != u.shape[1:]:
        raise ValueError(
            f"The decoder turns the latent state of a state of shape {u.shape} into {decoded.shape}, other points: "
            "pass domain=grid to the call, or build it for these points."
        )


def _keys_of_step(key: PRNGKeyArray | None, n: Any) -> Any:
    return keys_of_parts(None if key is None else jax.random.fold_in(key, n))


class InLatentSpace(eqx.Module):
    """For `pdejax.evaluate`: a model whose rollouts stay in its latent space, as those of `latent_rollout` do.

        evaluate({"latent": InLatentSpace(fitted.model), "from state to state": fitted.model}, ...)

    Every frame of the data is decoded and scored. The cost is that of the first few frames, at most five: one encoding,
    and a step and a decoding for every frame; of a longer rollout it is less. Called by itself it is the model.

    Raises `ValueError` for a model that is no `LatentEvolution`, with or without the statistics of `fit` around it.
    """

    model: Any

    def __init__(self, model: Any):
        check_is_model(model, "InLatentSpace")
        check_has_latent_space(model)
        self.model = model

    def __call__(
        self,
        u: Float[Array, "channel *space"],
        parameters: Mapping[str, Any] | None = None,
        *,
        domain: Any = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "channel_out *space"]:
        return self.model(u, parameters, domain=domain, key=key)


def in_latent_space(
    model: Any, u: Float[Array, "channel *space"], parameters: Mapping[str, Any] | None
) -> tuple[LatentEvolution, Float[Array, "channel *space"], Mapping[str, Any] | None, Callable[[Array], Array]]:
    """The `LatentEvolution` inside `model`; the state and the parameters in its units; and the function that takes what
    it decodes back to those of `u`.

    Raises `ValueError` for another model, and for statistics of increments around it.
    """
    check_has_latent_space(model)
    if isinstance(model, LatentEvolution):
        return model, u, parameters, lambda decoded: decoded
    return model.model, *model.seen(u, parameters), model.output.restore


def check_has_latent_space(model: Any) -> None:
    """Raises `ValueError` for a model without one, and for statistics of increments around it."""
    # Statistics around a model are known by what they do: models do not know each other.
    inside, has_statistics = getattr(model, "model", model), hasattr(model, "seen")
    if not isinstance(inside, LatentEvolution) or (inside is not model and not has_statistics):
        found = inside if has_statistics else model
        raise ValueError(
            f"There is no latent space in a {type(found).__name__}: {NAME}(encoder, dynamics, decoder) has one, with "
            "or without statistics around it; what changes the parts, e.g. InPrecision, belongs around each of them."
        )
    if has_statistics and model.residual:
        raise ValueError(
            f"{NAME} makes states, and these statistics (residual=True) are of increments: "
            "Normalised(model, Statistics of the states, the same), or leave them to fit."
        )


def keys_of_parts(key: PRNGKeyArray | None) -> Any:
    """What encoder, dynamics and decoder draw with in one step."""
    return (None, None, None) if key is None else jax.random.split(key, 3)


def _domain_of(z: Array, domain: Any) -> Any:
    if not isinstance(domain, Grid) or z.ndim != domain.ndim + 1:
        return None
    return domain if z.shape[1:] == domain.shape else domain.with_shape(z.shape[1:])
