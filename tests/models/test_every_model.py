"""What is asked of all models alike; what each of them computes is in its own file."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import models
from pdejax.grid import Grid
from pdejax.models import InPrecision, load, save
from pdejax.nn import Conditioning, FiLM
from pdejax.testing import check_lowering

KEY = jax.random.key(0)
GRID = Grid((16, 16), 2.0, dtype=jnp.float32)
TOLD = Conditioning(("viscosity", "lead_time"), "mask", FiLM())
GIVEN = {"viscosity": 0.3, "lead_time": -0.7, "mask": np.ones((16, 16), np.float32)}
OPTIONS = {"conditioning": TOLD, "key": KEY}
MAKE = {
    "FNO": lambda: models.FNO(2, 3, 2, 4, 6, num_layers=2, **OPTIONS),
    "FFNO": lambda: models.FFNO(2, 3, 2, 4, 6, num_layers=2, projection_width=8, **OPTIONS),
    "ImplicitFNO": lambda: models.ImplicitFNO(2, 3, 2, 4, 6, num_layers=3, **OPTIONS),
    "T1": lambda: models.T1(2, 3, 2, 4, 6, **OPTIONS),
    "GFNO": lambda: models.GFNO(2, 3, 4, 4, num_layers=2, **OPTIONS),
    "UNO": lambda: models.UNO(
        2, 3, 2, 6, layer_channels=(8, 8, 6), layer_modes=(4, 3, 4), scalings=(0.5, 1, 2), **OPTIONS
    ),
    "UFNO": lambda: models.UFNO(2, 3, 2, 4, 6, num_fourier_layers=1, num_u_layers=1, projection_width=8, **OPTIONS),
    "CNO": lambda: models.CNO(2, 3, 2, 6, num_levels=1, num_residual_coarsest=1, **OPTIONS),
    "IFactFormer": lambda: models.IFactFormer(2, 3, 2, 8, heads=2, rank=4, harmonics=2, **OPTIONS),
    "GalerkinTransformer": lambda: models.GalerkinTransformer(2, 3, 2, 8, heads=2, num_layers=2, **OPTIONS),
    "SwinUNet": lambda: models.SwinUNet(2, 3, 2, 8, patch=2, window=2, num_levels=2, depth=2, **OPTIONS),
    "DeepONet": lambda: models.DeepONet(2, 3, (16, 16), 8, **OPTIONS),
}


def state(dtype=jnp.float32):
    return jax.random.normal(jax.random.key(1), (2, 16, 16), dtype)


@pytest.fixture(scope="module")
def model(request):
    return eqx.filter_jit(MAKE[request.param])()


every = pytest.mark.parametrize("model", list(MAKE), indirect=True, ids=str)


def test_none_is_left_out():
    """Of what is exported as a model; what surrounds models and what is none is named here."""
    around = {"Boosted", "Corrected", "Ensemble", "Held", "InPrecision", "Integrated", "LastFrames", "NeuralStepper"}
    around |= {"LearnedReconstruction", "LearnedSolver", "Normalised", "SavedModel", "Statistics", "Summary"}
    kinds = {name for name, value in vars(models).items() if isinstance(value, type)}
    assert kinds - around == set(MAKE)


@every
def test_the_gradient_lowers_for_every_platform(model):
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(arrays, u):
        return jnp.sum(jnp.sin(eqx.combine(arrays, rest)(u, GIVEN, domain=GRID)))

    check_lowering(jax.grad(loss, argnums=(0, 1)), arrays, state())


@every
def test_numbers_and_fields_are_followed_and_kept_in_a_file(model, tmp_path):
    call = eqx.filter_jit(lambda m, given: m(state(), given, domain=GRID))
    result = call(model, GIVEN)
    assert result.shape == (3, 16, 16) and result.dtype == jnp.float32
    hole = GIVEN | {"mask": np.where(np.arange(16) < 5, np.float32(0), GIVEN["mask"])}
    for other in (GIVEN | {"viscosity": -0.7, "lead_time": 0.3}, hole):
        assert float(jnp.max(jnp.abs(call(model, other) - result))) > 1e-4 * float(jnp.max(jnp.abs(result)))
    save(tmp_path / "model.pdejax", model, names=("u", "v"))
    again = load(tmp_path / "model.pdejax").model
    assert eqx.tree_equal(again, model)
    with pytest.raises(ValueError, match="needs the parameter 'viscosity'"):
        call(model, {"lead_time": 1.0, "mask": GIVEN["mask"]})


@every
def test_transforms_and_statistics_stay_in_single_precision_in_half(model):
    half = InPrecision(model, jnp.bfloat16)
    u = state()
    jaxpr = jax.make_jaxpr(lambda u: half(u, GIVEN, domain=GRID))(u)
    assert not [e for e in transforms(jaxpr.jaxpr) if e.invars[0].aval.dtype not in (jnp.float32, jnp.complex64)]
    whole, rounded = (np.asarray(eqx.filter_jit(m)(u, GIVEN, domain=GRID), np.float64) for m in (model, half))
    assert np.linalg.norm(rounded - whole) < 0.1 * np.linalg.norm(whole)


def transforms(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "fft":
            yield equation
        for value in equation.params.values():
            body = getattr(value, "jaxpr", value)
            if hasattr(body, "eqns"):
                yield from transforms(body)
