"""Everything that is rolled out, in one shape: surrogates, rivals and the baseline."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from pdejax.data import Trajectories
from pdejax.evaluate.coefficients import stated_by_data, with_coefficients
from pdejax.evaluate.on_data_grid import OnDataGrid
from pdejax.models import InLatentSpace, NeuralStepper
from pdejax.models.latent import encoded, latent_frames
from pdejax.rollout import rollout

Kind = Literal["surrogate", "rival", "baseline"]
PERSISTENCE = "persistence"


class Persistence(eqx.Module):
    """The initial state held fixed: what anything that claims to predict must beat."""

    dt: float

    def __call__(self, u: Float[Array, "channel *space"], *, t: Any = 0.0, key: Any = None) -> Any:
        return u


class Contestant(eqx.Module):
    """A stepper, or a model that becomes one with the parameters of a trajectory.

    `for_trajectory(parameters)` is the stepper of one trajectory; `parameters` holds its scalars by name. Of the
    `coefficients` of a rival's equation every trajectory has its own.
    """

    stepper: Any
    domain: Any = None
    dt: float | None = None
    coefficients: tuple[str, ...] = eqx.field(static=True, default=())

    def for_trajectory(self, parameters: Mapping[str, Any]) -> Any:
        if self.dt is not None:
            return NeuralStepper(self.stepper, self.dt, self.domain, parameters)
        if self.coefficients:
            solver = self.stepper.stepper
            stated = stated_by_data(solver.equation, parameters, solver.grid.ndim)
            equation = with_coefficients(solver.equation, {name: stated[name] for name in self.coefficients})
            return eqx.tree_at(lambda s: s.stepper.equation, self.stepper, equation)
        return self.stepper


def surrogate(name: str, given: Any, data: Trajectories, dt: float, key: PRNGKeyArray | None = None) -> Contestant:
    """A model is wrapped with the interval of the data; what has a `dt` is a stepper and must have that interval.

    `key` is for one that draws random numbers.

    Raises `ValueError` for another interval, something that cannot be called, another number of channels, and an
    `InLatentSpace` within something else.
    """
    if not callable(given) or isinstance(given, type):
        what = f"the class {given.__name__} itself" if isinstance(given, type) else f"a {type(given).__name__}"
        raise ValueError(f"Surrogate {name!r} is {what}; give a model or a stepper, which are called.")
    parts = jax.tree.leaves(given, is_leaf=lambda part: isinstance(part, InLatentSpace))
    if type(given) is not InLatentSpace and any(isinstance(part, InLatentSpace) for part in parts):
        raise ValueError(
            f"Surrogate {name!r} is a {type(given).__name__} around InLatentSpace, which would go from state to state: "
            "InLatentSpace goes around all of it, InLatentSpace(model)."
        )
    if not hasattr(given, "dt"):
        contestant = Contestant(given, domain=data.grid, dt=dt)
    elif not np.isclose(float(given.dt), dt, rtol=1e-4):
        raise ValueError(
            f"Surrogate {name!r} advances by dt={float(given.dt):g} but the frames of the test data are {dt:g} apart: "
            "wrap it so that one call makes one interval."
        )
    else:
        contestant = Contestant(given)
    shape = (data.num_channels, *data.grid.shape)
    parameters = {key: jnp.zeros((), jnp.result_type(float)) for key in data.parameters}
    try:
        state = jax.ShapeDtypeStruct(shape, _precision(data))
        # As a rollout calls it: what draws nothing need not take a key.
        drawn = {} if key is None else {"key": key}
        out = eqx.filter_eval_shape(lambda c, p, u: c.for_trajectory(p)(u, **drawn), contestant, parameters, state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Surrogate {name!r} cannot be applied to a state of the test data, (channel, *space) = {shape} with "
            f"channels {list(data.names)}: {error}"
        ) from error
    if jnp.shape(out) != shape:
        raise ValueError(
            f"Surrogate {name!r} turns a state of shape {shape} into {jnp.shape(out)}; a rollout on the channels "
            f"{list(data.names)} needs the same shape: choose them with test.select(...)."
        )
    return contestant


def rival(stepper: OnDataGrid, coefficients: tuple[str, ...]) -> Contestant:
    return Contestant(stepper, coefficients=coefficients)


def baseline(dt: float) -> Contestant:
    return Contestant(Persistence(dt))


def _precision(data: Trajectories) -> Any:
    return jax.dtypes.canonicalize_dtype(data.u.dtype)


class Carried(NamedTuple):
    """What a rollout of a batch goes on from: the states on the data's points, and those of its own that some have.

    Own ones are of a latent space, or of a solver with more points than the data.
    """

    u: Float[Array, "sample channel *space"]
    own: Float[Array, "sample own_channel *own_space"] | None


def begin(
    contestant: Contestant,
    parameters: dict[str, Any],
    u: Float[Array, "sample channel *space"],
    keys: Shaped[Array, "sample ..."] | None,
) -> Carried:
    """What a rollout from the states `u` begins with: where they are all there is, nothing that would take time."""
    return Carried(u, _own_states(contestant, parameters, u, keys) if _has_own_states(contestant) else None)


def _has_own_states(contestant: Contestant) -> bool:
    within = contestant.stepper
    return isinstance(within, InLatentSpace) or (isinstance(within, OnDataGrid) and within.is_finer)


@eqx.filter_jit
def _own_states(contestant: Contestant, parameters: dict[str, Any], u: Array, keys: Any) -> Array:
    def one(parameters: dict[str, Any], u: Array, key: Any) -> Array:
        if isinstance(contestant.stepper, OnDataGrid):
            return contestant.stepper.entered(u)
        return encoded(contestant.stepper.model, u, parameters, contestant.domain, key)

    return jax.vmap(one, in_axes=(0, 0, None if keys is None else 0))(parameters, u, keys)


@eqx.filter_jit
def advance(
    contestant: Contestant,
    parameters: dict[str, Any],
    carried: Carried,
    t: Any,
    keys: Shaped[Array, "sample ..."] | None,
    num_steps: int,
) -> tuple[Carried, Float[Array, "sample time channel *space"]]:
    """The next `num_steps` states of a batch of trajectories, on the points of the data."""

    def one(parameters: dict[str, Any], carried: Carried, key: Any) -> tuple[Carried, Array]:
        u, own = carried
        if own is None:
            states = rollout(contestant.for_trajectory(parameters), u, num_steps, t0=t, key=key)
        elif isinstance(contestant.stepper, InLatentSpace):
            model, domain = contestant.stepper.model, contestant.domain
            own, states = latent_frames(model, own, u, parameters, domain, num_steps, 1, key)
        else:
            solver = contestant.for_trajectory(parameters)
            solved = rollout(solver.stepper, own, num_steps, t0=t)
            own, states = solved[-1], jax.vmap(solver.shown)(solved).astype(u.dtype)
        return Carried(states[-1], own), states

    return jax.vmap(one, in_axes=(0, 0, None if keys is None else 0))(parameters, carried, keys)
