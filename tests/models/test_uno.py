import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import UNO, InPrecision, load, save
from pdejax.nn import Conditioning, FiLM, GridEmbedding, IdentityShortcut, InstanceNorm, Modes, resampled
from pdejax.resample import resample
from pdejax.testing import check_model

SMALL: dict = {"layer_channels": (3, 4), "scalings": (0.5, 2)}
PERIODIC = Conditioning(periodic=True)
LAYERS = {"layer_channels": (6, 7, 8, 5), "scalings": (0.5, 0.5, 2, 2)}

made = eqx.filter_jit(lambda *arguments, **options: UNO(*arguments, **options))
applied = eqx.filter_jit(lambda model, u, *arguments, **options: model(u, *arguments, **options))


def network(ndim, modes=2, **options):
    options = {**LAYERS, "conditioning": PERIODIC, **options}
    options.setdefault("layer_modes", (modes,) * len(options["scalings"]))
    return made(2, 5, ndim, 4, **options, key=jax.random.key(0))


def waves(space, dtype=np.float32, shift=0.0):
    """Frequencies up to 3 along each axis, moved by a part of each period."""
    x = np.meshgrid(*(2 * np.pi * (np.arange(n) / n - shift) for n in space), indexing="ij")
    one = np.sin(sum((a + 1) * xa for a, xa in enumerate(x)) + 0.3) + 0.5 * np.cos(2 * x[-1] - x[0])
    return jnp.asarray(np.stack([one, np.cos(3 * x[0]) + np.sin(x[-1])]).astype(dtype))


def number_of_weights(model):
    """Real numbers: the two of a complex weight are two arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "shape"))


@pytest.mark.float64
def test_the_contract_in_three_dimensions():
    options = {"norm": InstanceNorm(affine=True), "lift_skip": True, "resampling": "bicubic"}
    model = network(3, (1, 1, 2), **SMALL | options, dtype=jnp.float64)
    check_model(model, waves((8, 8, 9), np.float64), out_channels=5)


@pytest.mark.float64
def test_the_contract_in_two_with_numbers_and_a_field_and_walls():
    told = Conditioning(parameters="viscosity", fields="mask", modulation=FiLM(), coordinates=(1, 2))
    model = network(2, **SMALL, conditioning=told, dtype=jnp.float64)
    u = waves((17, 16), np.float64)
    given = {"viscosity": 0.3, "mask": u[0] > 0}
    grid = Grid((17, 16), 2.0, periodic=(False, True), points=("nodes", "centres"))
    check_model(model, u, out_channels=5, domain=grid, parameters=given)


@pytest.mark.parametrize("resampling", ["fourier", "bicubic"])
def test_it_commutes_with_translations(resampling):
    model, u = network(2, **SMALL, resampling=resampling, norm=InstanceNorm()), waves((16, 24))
    result, moved = applied(model, u), applied(model, jnp.roll(u, (2, -6), (1, 2)))
    np.testing.assert_allclose(moved, np.roll(result, (2, -6), (1, 2)), atol=2e-5)


@pytest.mark.parametrize("kind", ["nodes", "centres"])
def test_the_same_function_at_another_resolution(kind):
    # What coarser grids lose of smooth layers falls exponentially; points at a wrong place would leave 0.1 and more.
    model, results = network(1, 3, **SMALL, conditioning=None), {}
    for points in (64, 128, 192):
        grid = Grid(points, 1.0, points=kind, dtype=jnp.float32)
        u = waves((points,), shift=-0.5 / points if kind == "centres" else 0.0)
        results[points] = np.asarray(resample(applied(model, u, domain=grid), grid, grid.with_shape((192,))))
    gaps = [np.linalg.norm(results[n] - results[192]) / np.linalg.norm(results[192]) for n in (64, 128)]
    assert gaps[0] < 0.05 and gaps[1] < 1e-3


@pytest.mark.parametrize("kind", ["nodes", "centres"])
def test_points_between_walls_stay_where_they_are(kind):
    # Without K and activations every layer takes cosines to cosines.
    model, results = network(1, **SMALL, activation=lambda v: v, conditioning=None), []
    model = eqx.tree_at(lambda m: m.convolutions, model, replace_fn=_zeroed)
    for points in (25, 49):
        grid = Grid(points, 1.0, periodic=False, points=kind, dtype=jnp.float32)
        cosines = jnp.cos(jnp.pi * jnp.arange(2, 8)[:, None] * grid.axes[0]).reshape(2, 3, points).sum(1)
        results.append(applied(model, cosines, domain=grid))
    finer = resampled(results[0], (49,), (False,), (kind,))
    np.testing.assert_allclose(finer, results[1], atol=2e-5 * np.max(np.abs(finer)))


def test_bicubic_resampling_is_not_that_of_k():
    u = waves((24,))
    of_k = [
        eqx.tree_at(lambda m: [s.weight for s in m.shortcuts], network(1, **SMALL, resampling=kind), replace_fn=_zeroed)
        for kind in ("fourier", "bicubic")
    ]
    np.testing.assert_allclose(*(applied(model, u) for model in of_k), atol=1e-6)


def test_the_layout_of_pdearena_has_as_many_weights():
    # Three fields at four times in, three out; a complex weight counts as two numbers.
    model = eqx.filter_eval_shape(lambda: UNO.of_pdearena(12, 3, key=jax.random.key(0)))
    assert number_of_weights(model) == 110_116_451


def test_the_layout_of_pdearena_computes():
    layout = lambda **options: UNO.of_pdearena(2, 5, 4, key=jax.random.key(0), **options)  # noqa: E731
    shape = jax.ShapeDtypeStruct((2, 64, 72), jnp.float32)
    model = eqx.filter_eval_shape(layout, conditioning=PERIODIC)
    assert eqx.filter_eval_shape(model, shape).shape == (5, 64, 72)
    with pytest.raises(ValueError, match="Layer 1 of UNO keeps 14 modes along axis 0, whose 24 points resolve 12"):
        eqx.filter_eval_shape(model, jax.ShapeDtypeStruct((2, 48, 64), jnp.float32))
    with pytest.raises(ValueError, match="even width, got 5"):
        UNO.of_pdearena(2, 5, 5, key=jax.random.key(0))


def test_skips_lead_where_they_say():
    # The first layer makes nothing but what it hands across, so the last one sees it or sees the middle ones alone.
    for skips, sees in (({3: 0}, True), ({2: 1}, False)):
        model = network(1, skips=skips)
        cut = eqx.tree_at(lambda m: [m.convolutions[1], m.shortcuts[1].weight], model, replace_fn=_zeroed)
        u = waves((24,))
        gap = np.max(np.abs(np.asarray(applied(cut, u)) - np.asarray(applied(cut, 2 * u))))
        assert bool(gap > 1e-2) is sees, gap
    default = eqx.filter_eval_shape(lambda: UNO(2, 5, 1, 4, **LAYERS, layer_modes=(2,) * 4, key=jax.random.key(0)))
    assert default.skips == ((2, 1), (3, 0))


def _zeroed(part):
    return jax.tree.map(lambda leaf: 0 * leaf if eqx.is_array(leaf) else leaf, part)


def test_it_computes_in_half_precision():
    model = InPrecision(network(2, **SMALL), jnp.bfloat16)
    lowered = eqx.filter_make_jaxpr(model)(jax.ShapeDtypeStruct((2, *(16, 20)), jnp.float32))
    assert lowered[1].shape == (5, *(16, 20)) and lowered[1].dtype == jnp.float32


def test_it_is_saved_and_loaded(tmp_path):
    told = Conditioning(periodic=False, parameters="viscosity", modulation=FiLM(), coordinates=GridEmbedding())
    model = network(
        1,
        layer_channels=(3, 4, 3),
        layer_modes=(Modes.neuraloperator((4,)), (3,), 1),
        scalings=(0.5, (1,), 2.0),
        conditioning=told,
        skips={2: 0},
        skip=IdentityShortcut(),
        lift_skip=True,
        norm=InstanceNorm(),
        activation=jax.nn.silu,
    )
    save(tmp_path / "model", model)
    u, given = waves((17,)), {"viscosity": 0.2}
    np.testing.assert_array_equal(*(applied(m, u, given) for m in (model, load(tmp_path / "model").model)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scalings": (0.5, 2, 2, 2)}, r"scalings multiply to \[4.0, 4.0\]"),
        (
            {"scalings": (0.5, 2)},
            "layer_channels, layer_modes and scalings, got 4, 4 and 2",
        ),
        ({"skips": {1: 2}}, r"UNO has 4 layers, and skips .* lead to later ones, got \{1: 2\}"),
        ({"skip": "linear"}, "got 'linear'"),
        ({"layer_modes": (2, 2, (2, 2, 2), 2)}, "`modes` has 3 entries"),
        ({"layer_channels": (6, 7, 0, 5)}, "`layer_channels`: a sequence of whole numbers >= 1"),
        ({"resampling": "linear"}, "got 'linear'"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_arguments_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(
            lambda: UNO(2, 5, 2, 4, **(LAYERS | {"layer_modes": (2,) * 4} | options), key=jax.random.key(0))
        )


@pytest.mark.usefixtures("without_shape_checks")
def test_states_that_do_not_fit_are_refused():
    model = eqx.filter_eval_shape(
        lambda: UNO(2, 5, 1, 4, layer_channels=(3, 4), layer_modes=(3, 3), scalings=(0.5, 2), key=jax.random.key(0))
    )
    for shape, domain, message in (
        ((1, 24), None, r"2 channels and 1 axes.*\(1, 24\)"),
        ((2, 24), None, "UNO has to know which axes are periodic"),
        ((2, 4), Grid(4, 1.0), "Layer 0 of UNO keeps 3 modes along axis 0, whose 2 points"),
        ((2, 24), Grid(24, 1.0, periodic=False, points="chebyshev"), "UNO needs points at equal distances"),
    ):
        with pytest.raises(ValueError, match=message):
            eqx.filter_eval_shape(eqx.Partial(model, domain=domain), jax.ShapeDtypeStruct(shape, jnp.float32))
