"""What models and what is done with them refuse, in words that name the value and the fix."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import Grid
from pdejax.models import (
    CNO,
    FFNO,
    FNO,
    GFNO,
    T1,
    UFNO,
    UNO,
    DeepONet,
    Ensemble,
    GalerkinTransformer,
    ImplicitFNO,
    Normalised,
    Statistics,
    members,
    save,
    summary,
)
from pdejax.nn import Conditioning, InstanceNorm, pod_basis
from pdejax.training.fitted import Fitted
from pdejax.training.objectives.errors import error

KEY = jax.random.key(0)
LINE, WALLS = (Grid(8, 1.0, periodic, dtype=jnp.float32) for periodic in (True, False))
FIELDS = np.random.default_rng(0).normal(size=(5, 1, 8)).astype(np.float32)
U = jnp.asarray(FIELDS[0])


def fno(**options):
    return FNO(1, 1, 1, **({"modes": 2, "width": 2, "num_layers": 1, "key": KEY} | options))


def gfno(**options):
    return GFNO(1, 1, 2, 2, num_layers=1, key=KEY, **options)


def uno(**options):
    layers = {"layer_channels": (2, 2), "layer_modes": (2, 2), "scalings": (1, 1)}
    return UNO(1, 1, 1, 2, **(layers | options), key=KEY)


def onet(**options):
    return DeepONet(1, 1, **({"sensors": 8, "num_functions": 2, "branch": (), "trunk": ()} | options), key=KEY)


def fitted():
    unread: dict = {"log": None, "state": None}
    return Fitted(fno(), **unread)


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fno(modes=4.5), "`modes` must be positive whole numbers.*4.5"),
        (lambda: FFNO(1, 1, 1, 4.5, 2, key=KEY), "FFNO needs `modes`.*4.5"),
        (lambda: T1(1, 1, 1, 4.5, 2, key=KEY), "`modes` must be positive whole numbers.*4.5"),
        (lambda: T1(1, 1, 1, 2, 2, points=0, key=KEY), "T1 needs `points` >= 1.*got 0"),
        (lambda: ImplicitFNO(1, 1, 1, (2, 2), 2, key=KEY), "`modes` has 2 entries"),
        (lambda: fno(weights="tucker"), r"FNO takes weights=pdejax.nn.Tucker\(0.1\).*got 'tucker'"),
        (lambda: fno(padding=8), "FNO takes `padding` as a fraction.*8 points of 64 are 0.125"),
        (lambda: gfno(padding=8), "GFNO takes `padding` as a fraction"),
        (lambda: UFNO(1, 1, 1, 2, 2, padding=8, key=KEY), "UFNO takes `padding` as a fraction"),
        (lambda: UFNO(1, 1, 1, 2, 2, walls="zero", key=KEY), "UFNO takes walls= one of .* got 'zero'"),
        (lambda: UFNO(1, 1, 1, 2, 2, norm="group", key=KEY), "UFNO takes as norm a kind that is built.*'group'"),
        (lambda: CNO(1, 1, 1, 2, walls="periodic", key=KEY), "CNO takes walls= one of .* got 'periodic'"),
        (lambda: CNO(1, 1, 1, 2, norm="group", key=KEY), "CNO takes as norm a kind that is built"),
        (lambda: gfno(norm="group"), "GFNO takes as norm a kind that is built"),
        (lambda: uno(norm=InstanceNorm), "UNO takes as norm a kind that is built"),
        (lambda: uno(layer_channels=4), r"UNO needs `layer_channels`: a sequence of whole numbers >= 1.* got 4"),
        (lambda: uno(layer_channels=()), r"UNO needs len\(layer_channels\) >= 1, got 0"),
        (lambda: uno(scalings=1), "UNO needs `scalings`: a sequence of one entry per layer, got 1"),
        (lambda: onet(branch=8), "DeepONet needs `branch`: a sequence of whole numbers >= 1.* got 8"),
        (lambda: onet(sensor_points="gauss"), "sensor_points as a Grid takes points, got 'gauss'"),
        (lambda: onet(pod=FIELDS), r"pod=pdejax.nn.pod_basis\(fields, rank, grid\), a PODBasis, got a ndarray"),
        (lambda: onet(pod=pod_basis(FIELDS, 2, LINE))(U, domain=WALLS), "This POD basis is of a box that is periodic"),
        (
            lambda: onet(resampled=True)(jnp.ones((1, 9)), domain=Grid(9, 1.0, False, dtype=jnp.float32)),
            r"DeepONet\(resampled=True\) resamples .*periodic=\(False,\): interpolate the input onto the sensors",
        ),
        (lambda: GalerkinTransformer(1, 1, 1, 12, key=KEY), "GalerkinTransformer needs.*width=12: .*multiple of 8"),
        (lambda: GalerkinTransformer(1, 1, 1, 8, padding=0.2, key=KEY), "without `modes` has none, got padding=0.2"),
        (lambda: fno(conditioning=Conditioning("nu"))(U, {"nu": "a"}), "FNO takes the parameter 'nu' as one number"),
        (lambda: save("model", fitted()), "save takes a model, got a Fitted: pass the model in it, fitted.model"),
        (lambda: save(fno(), "model"), r"The path comes first, save\(path, model\), got a FNO"),
        (lambda: save("model", fno(), grid=Grid((8, 8), 1.0, dtype=jnp.float32)), r"ndim=1 but the grid has shape \(8"),
        (lambda: summary(LINE, fno()), r"The model comes first, summary\(model, grid\)"),
        (lambda: summary(FNO, LINE), r"summary takes a model that is built, e.g. FNO\(...\), got the class FNO"),
        (lambda: summary(fitted(), LINE), "summary takes a model, got a Fitted: pass .*fitted.model"),
        (lambda: members(fitted()), "members takes a model, got a Fitted: pass .*fitted.model"),
        (lambda: Ensemble.of(fno()), r"Ensemble.of\(\[model, ...\]\), got a FNO; copies of one"),
        (lambda: Ensemble.of([fitted()]), "Ensemble.of takes a model, got a Fitted: pass .*fitted.model"),
        (lambda: Ensemble([fno(), fno()], 2), r"got 2 of them: Ensemble.of\(\[model, ...\]\)"),
        (
            lambda: Normalised(fno(), Statistics([0.0], [1.0]), Statistics([0.0], [1.0]))(jnp.ones((24, 1, 8))),
            r"for 1 channels but the state has 24, shape \(24, 1, 8\): .*jax.vmap\(model\)",
        ),
        (lambda: error(None, jnp.ones((1, 16)), jnp.ones((1, 8)), None, None), "the channels agree and the points do"),
        (lambda: error(None, jnp.ones((1, 8)), jnp.ones((2, 8)), None, None), "match the model's out_channels"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_what_is_no_grid_is_named():
    for call in (lambda: save("model", fno(), grid=(16,)), lambda: summary(fno(), (16,))):
        with pytest.raises(TypeError, match=r"takes a grid such as pdejax.Grid\(.*got a tuple"):
            call()


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_numbers_of_numpy_are_numbers():
    assert FFNO(1, 1, 1, np.int64(3), 2, num_layers=1, key=KEY).modes == (3,)
    assert fno(modes=np.int64(3)).modes == fno(modes=3).modes
    assert GFNO(1, 1, np.int64(2), 2, num_layers=1, key=KEY).modes == 2


@pytest.mark.either
@pytest.mark.parametrize("make", [fno, gfno])
def test_padding_leaves_periodic_axes_as_they_are(make):
    ndim = 2 if make is gfno else 1
    u = jax.random.normal(KEY, (1, *(8,) * ndim), jnp.float32)
    periodic, walls = (Grid((8,) * ndim, 1.0, each, dtype=jnp.float32) for each in (True, False))
    told = make(padding=0.25, conditioning=Conditioning(periodic=True))
    plain, padded = make(), make(padding=0.25)
    call = eqx.filter_jit(lambda model, domain: model(u, domain=domain))
    expected = call(plain, None)
    np.testing.assert_array_equal(call(padded, periodic), expected)
    np.testing.assert_array_equal(call(told, None), expected)
    # Between walls, and where nothing says what there is, zeros are added.
    between = call(padded, walls)
    assert not np.allclose(between, expected)
    np.testing.assert_array_equal(call(padded, None), between)
