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

# What is asked of weights in single precision; the precision of the process is asked of each model in its own file.
pytestmark = pytest.mark.either
KEY = jax.random.key(0)
GRID = Grid((16, 16), 2.0, dtype=jnp.float32)
TOLD = Conditioning(("viscosity", "lead_time"), "mask", FiLM())
GIVEN = {"viscosity": 0.3, "lead_time": -0.7, "mask": np.ones((16, 16), np.float32)}
MAKE = {
    "FNO": lambda **o: models.FNO(2, 3, 2, 4, 6, num_layers=2, **o),
    "FFNO": lambda **o: models.FFNO(2, 3, 2, 4, 6, num_layers=2, projection_width=8, **o),
    "ImplicitFNO": lambda **o: models.ImplicitFNO(2, 3, 2, 4, 6, num_layers=3, **o),
    "T1": lambda **o: models.T1(2, 3, 2, 4, 6, **o),
    "GFNO": lambda **o: models.GFNO(2, 3, 4, 4, num_layers=2, **o),
    "UNO": lambda **o: models.UNO(
        2, 3, 2, 6, layer_channels=(8, 8, 6), layer_modes=(4, 3, 4), scalings=(0.5, 1, 2), **o
    ),
    "UFNO": lambda **o: models.UFNO(2, 3, 2, 4, 6, num_fourier_layers=1, num_u_layers=1, projection_width=8, **o),
    "CNO": lambda **o: models.CNO(2, 3, 2, 6, num_levels=1, num_residual_coarsest=1, **o),
    "IFactFormer": lambda **o: models.IFactFormer(2, 3, 2, 8, heads=2, rank=4, harmonics=2, **o),
    "GalerkinTransformer": lambda **o: models.GalerkinTransformer(2, 3, 2, 8, heads=2, num_layers=2, **o),
    "SwinUNet": lambda **o: models.SwinUNet(2, 3, 2, 8, patch=2, window=2, num_levels=2, depth=2, **o),
    "UNet": lambda **o: models.UNet(2, 3, 2, 4, multipliers=(1, 2), depth=1, norm_groups=2, **o),
    "ClassicUNet": lambda **o: models.ClassicUNet(2, 3, 2, 4, num_levels=1, **o),
    "ConvNeXtUNet": lambda **o: models.ConvNeXtUNet(2, 3, 2, 4, num_levels=1, depth=1, points=3, scale=0.5, **o),
    "DilatedResNet": lambda **o: models.DilatedResNet(2, 3, 2, 4, num_blocks=1, dilations=(1, 2), **o),
    "SineNet": lambda **o: models.SineNet(2, 3, 2, 4, num_waves=2, num_levels=1, **o),
    "DeepONet": lambda **o: models.DeepONet(2, 3, (16, 16), 8, **o),
}


def state(dtype=jnp.float32):
    return jax.random.normal(jax.random.key(1), (2, 16, 16), dtype)


@pytest.fixture(scope="module")
def model(request):
    return eqx.filter_jit(MAKE[request.param])(conditioning=TOLD, key=KEY)


every = pytest.mark.parametrize("model", list(MAKE), indirect=True, ids=str)


def test_none_is_left_out():
    """Of what is exported as a model; what surrounds models and what is none is named here."""
    around = {"Boosted", "Corrected", "Ensemble", "Held", "InPrecision", "Integrated", "LastFrames", "NeuralStepper"}
    around |= {
        "InLatentSpace",
        "LatentEvolution",
        "LearnedReconstruction",
        "LearnedSolver",
        "Normalised",
        "PDERefiner",
        "SavedModel",
        "Statistics",
        "Summary",
    }
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


@every
def test_what_is_no_state_domain_or_mapping_is_refused(model, without_shape_checks):
    u = state()
    for call, message in (
        (lambda: model(u, GRID), "takes as parameters a mapping of names to values, got Grid"),
        (lambda: model(u, 0.3, domain=GRID), "takes as parameters a mapping"),
        (lambda: model(jax.lax.complex(u, u), GIVEN, domain=GRID), "takes real states"),
        (lambda: model(u[:1], GIVEN, domain=GRID), "takes a state of 2 channels and 2 axes"),
        (lambda: model(u[None], GIVEN, domain=GRID), "batches go through jax.vmap"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="takes a grid such as"):
        model(u, GIVEN, domain=(16, 16))


@pytest.mark.parametrize("name", list(MAKE))
def test_a_domain_that_contradicts_what_was_said_is_refused(name):
    told = Conditioning(("viscosity", "lead_time"), "mask", FiLM(), periodic=False)
    made = lambda u: MAKE[name](conditioning=told, key=KEY)(u, GIVEN, domain=GRID)  # noqa: E731
    with pytest.raises(ValueError, match="was made for periodic=.*but the domain has"):
        jax.eval_shape(made, state())


@pytest.mark.parametrize("name", list(MAKE))
def test_what_cannot_build_a_model_is_refused(name, without_shape_checks):
    for wrong, message in (
        ({"conditioning": "viscosity"}, "takes conditioning=pdejax.nn.Conditioning.*got 'viscosity'"),
        ({"activation": "gelu"}, "takes as activation a function of arrays.*got 'gelu'"),
    ):
        with pytest.raises(ValueError, match=message):
            MAKE[name](**wrong, key=KEY)


def test_sizes_are_ints_and_axes_at_most_three(without_shape_checks):
    for sizes, message in (
        ((2, 3, 4, 4, 6), "FFNO is for one, two or three dimensions, got ndim=4"),
        ((2, 3, 2, 4, 6.0), "FFNO needs width: an int of Python, got 6.0"),
        ((2, 3, 2, 4, True), "FFNO needs width: an int of Python, got True"),
        ((2, 3, 2, 4, np.int64(6)), "FFNO needs width: an int of Python, got np.int64"),
        ((0, 3, 2, 4, 6), "FFNO needs in_channels >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            models.FFNO(*sizes, num_layers=1, key=KEY)
