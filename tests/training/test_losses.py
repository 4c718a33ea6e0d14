"""Losses against values by hand: sines of known wavenumber, sums over points, errors planted in one band."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.training import (
    AbstractLoss,
    OneStep,
    Pairs,
    RelativeL1,
    RelativeL2,
    Sobolev,
    SpectralBands,
    Supervised,
    Windows,
)

RNG = np.random.default_rng(0)
SHAPES = [(8,), (9,), (5, 7), (6, 5), (5, 6), (4, 5, 6)]


def grid_of(shape):
    return pj.Grid(shape, extent=[1.7, 0.6, 3.0][: len(shape)], dtype=jnp.float64)


def states(shape, channels=2):
    return jnp.asarray(RNG.normal(size=(channels, *shape))), jnp.asarray(RNG.normal(size=(channels, *shape)))


def by_every_mode(e, grid, order):
    """The norm per channel by the complex transform, in which no mode stands for another."""
    axes = tuple(range(1, e.ndim))
    coefficients = np.fft.fftn(e, axes=axes, norm="forward")
    extents = np.asarray(grid.extent)
    k = np.meshgrid(
        *[2 * np.pi * np.fft.fftfreq(n, 1 / n) / side for n, side in zip(grid.shape, extents, strict=True)],
        indexing="ij",
    )
    return np.sqrt(np.sum((1 + sum(each**2 for each in k)) ** order * np.abs(coefficients) ** 2, axis=axes))


@pytest.mark.float64
@pytest.mark.parametrize("n", [12, 13])
@pytest.mark.parametrize("order", [-1.5, 0, 1, 2])
def test_the_norm_of_a_sine_is_its_formula(n, order):
    grid = grid_of((n,))
    k = 2 * np.pi * 3 / 1.7
    target = 5 + 2 * np.sin(k * np.asarray(grid.axes[0]))[None]
    error = 0.3 * np.cos(k * np.asarray(grid.axes[0]))[None]
    size = np.sqrt((1 + k**2) ** order * 0.3**2 / 2)
    prediction, target = jnp.asarray(target + error), jnp.asarray(target)
    assert float(Sobolev(order, relative=False)(prediction, target, grid, 0.1)) == pytest.approx(size / 0.1, rel=1e-12)
    whole = np.sqrt(25 + (1 + k**2) ** order * 2)
    assert float(Sobolev(order)(prediction, target, grid, 0.1)) == pytest.approx(size / whole, rel=1e-12)


@pytest.mark.float64
def test_the_highest_mode_of_an_even_grid_counts_once():
    grid = grid_of((8,))
    error = jnp.asarray((-1.0) ** np.arange(8))[None]
    k = np.pi * 8 / 1.7
    found = Sobolev(1, relative=False)(error, jnp.zeros((1, 8)), grid, 1.0)
    assert float(found) == pytest.approx(np.sqrt(1 + k**2), rel=1e-12)


@pytest.mark.float64
@pytest.mark.parametrize("shape", SHAPES)
def test_order_zero_is_the_norm_of_the_points_and_other_orders_count_every_mode(shape):
    grid, (prediction, target) = grid_of(shape), states(shape)
    assert float(Sobolev(0)(prediction, target, grid, 1.0)) == pytest.approx(
        float(RelativeL2()(prediction, target, grid, 1.0)), rel=1e-12
    )
    for order in (-1, 0.7, 2):
        errors, sizes = by_every_mode(prediction - target, grid, order), by_every_mode(target, grid, order)
        found = Sobolev(order)(prediction, target, grid, 1.0)
        assert float(found) == pytest.approx(np.mean(errors / sizes), rel=1e-12)
        found = Sobolev(order, relative=False)(prediction, target, grid, jnp.array([0.5, 4.0]))
        assert float(found) == pytest.approx(np.mean(errors / [0.5, 4.0]), rel=1e-12)


@pytest.mark.float64
def test_the_error_of_a_band_is_that_planted_there():
    grid = grid_of((7, 12))
    x, y = np.asarray(grid.coordinates())
    lowest = 2 * np.pi / 1.7
    large, small = np.cos(2 * np.pi * x / 1.7), 1e-3 * np.sin(2 * np.pi * 2 * y / 0.6)
    target = np.stack([large + small, 3 * large + 2 * small])
    prediction = np.stack([1.1 * large + 0.6 * small, 3 * large + 2 * small])
    edges = (lowest, 2 * lowest, 8 * lowest)

    def found(edges, weights=None, prediction=prediction):
        return float(SpectralBands(edges, weights)(jnp.asarray(prediction), jnp.asarray(target), grid, 1.0))

    # The first channel alone is wrong, by a tenth of the large scales and 0.4 of the small ones. An edge that is a
    # wavenumber belongs to the band above.
    assert found(edges) == pytest.approx((0.1 + 0.4) / 2 / 2, rel=1e-9)
    assert found(edges, (1, 3)) == pytest.approx((0.1 + 3 * 0.4) / 4 / 2, rel=1e-9)
    assert found(edges[1:]) == pytest.approx(0.4 / 2, rel=1e-9)
    # An error in the highest band, where the target has nothing: in units of the channel.
    empty = prediction + 0.25 * (-1.0) ** np.arange(12)
    sizes = np.sqrt(np.mean(target**2, axis=(1, 2)))
    top = (np.pi * 12 / 0.6 - 1, np.pi * 12 / 0.6 + 1)
    assert found(top, prediction=empty) == pytest.approx(np.mean(0.25 / sizes), rel=1e-9)
    # The mean is in the band that begins with zero, and in no other.
    assert found((0, lowest), prediction=prediction + 0.5) == pytest.approx(np.mean(0.5 / sizes), rel=1e-9)
    assert found(edges, prediction=prediction + 0.5) == pytest.approx(0.125, rel=1e-9)


@pytest.mark.float64
@pytest.mark.parametrize("amplitude", [3e-6, 3e-5])
def test_a_band_is_counted_as_empty_below_a_hundred_thousandth_of_its_channel(amplitude):
    grid = grid_of((16,))
    lowest = 2 * np.pi / 1.7
    large, small = (np.cos(n * lowest * np.asarray(grid.axes[0]))[None] for n in (1, 3))
    target = jnp.asarray(large + amplitude * small)
    found = SpectralBands((2 * lowest, 4 * lowest))(target + 0.1 * small, target, grid, 1.0)
    assert float(found) == pytest.approx(0.1 if amplitude < 1e-5 else 0.1 / amplitude, rel=1e-8)


def test_an_edge_that_is_a_wavenumber_belongs_to_the_band_above_however_it_is_rounded():
    grid = pj.Grid((64,), 1.7, dtype=jnp.float32)
    x, lowest = np.asarray(grid.axes[0]), 2 * np.pi / 1.7
    for n in range(1, 32):
        target = jnp.asarray(np.cos(n * lowest * x), jnp.float32)[None]
        below, above = (
            float(SpectralBands(edges)(2 * target, target, grid, 1.0))
            for edges in (((n - 0.5) * lowest, n * lowest), (n * lowest, (n + 0.5) * lowest))
        )
        assert below == pytest.approx(0, abs=1e-4) and above == pytest.approx(1, rel=1e-4)


@pytest.mark.float64
def test_one_band_of_all_modes_is_the_relative_norm():
    for shape in SHAPES:
        grid, (prediction, target) = grid_of(shape), states(shape)
        whole = RelativeL2()(prediction, target, grid, 1.0)
        assert float(SpectralBands((0, 1e4))(prediction, target, grid, 1.0)) == pytest.approx(float(whole), rel=1e-12)


def test_the_first_norm_is_a_ratio_of_sums():
    prediction, target = states((5, 7))
    ratios = np.abs(prediction - target).sum(axis=(1, 2)) / np.abs(target).sum(axis=(1, 2))
    assert float(RelativeL1()(prediction, target, None, 9.0)) == pytest.approx(ratios.mean(), rel=1e-5)


@pytest.mark.parametrize("loss", [RelativeL2(), RelativeL1(), Sobolev(0), SpectralBands((0, 1e4))], ids=repr)
def test_the_error_of_a_state_that_is_zero_is_divided_by_one(loss):
    grid = pj.Grid((5, 6), extent=(1.7, 0.6))
    assert float(loss(jnp.full((2, 5, 6), 0.3), jnp.zeros((2, 5, 6)), grid, 9.0)) == pytest.approx(0.3, rel=1e-5)


RELATIVE = [RelativeL2(), RelativeL1(), Sobolev(1), Sobolev(-2), SpectralBands((0, 4, 9, 1e4))]
ALL = [*RELATIVE, Sobolev(1, relative=False), SpectralBands((3, 9), (2,))]


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_gradients_are_finite_without_an_error_and_without_a_target(loss):
    grid = pj.Grid((5, 6), extent=(1.7, 0.6))
    _, target = (u.astype(grid.dtype) for u in states((5, 6)))
    # Both arguments: where the target comes from a solver, the gradient goes there too.
    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    silent = target.at[1].set(0)
    for true in (target, silent, jnp.zeros_like(target)):
        value, gradients = both(true, true, grid, 1.0)
        assert float(value) == 0
        for gradient in gradients:
            np.testing.assert_array_equal(gradient, 0)
    for true in (silent, jnp.zeros_like(target)):
        value, gradients = both(target, true, grid, 1.0)
        assert 0 < float(value) < 100
        assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


@pytest.mark.parametrize("loss", RELATIVE, ids=repr)
def test_relative_losses_do_not_depend_on_the_units(loss):
    grid = pj.Grid((5, 6), extent=(1.7, 0.6))
    prediction, target = (u.astype(jnp.float32) for u in states((5, 6)))
    usual = float(loss(prediction, target, grid, 1.0))
    for unit in np.float32([1e-25, 1e25]):
        assert float(loss(prediction * unit, target * unit, grid, 1.0)) == pytest.approx(usual, rel=1e-4)


@pytest.mark.float64
@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_gradients_are_those_of_differences(loss):
    grid, (prediction, target) = grid_of((5, 6)), states((5, 6))
    direction = jnp.asarray(RNG.normal(size=prediction.shape))
    step = 1e-6
    along = jax.jit(lambda s: loss(prediction + s * direction, target, grid, jnp.array([0.5, 2.0])))
    assert float(jax.grad(along)(0.0)) == pytest.approx(float(along(step) - along(-step)) / (2 * step), rel=1e-6)


def test_objectives_hand_over_the_grid_and_the_scale():
    seen = []

    class Watch(AbstractLoss):
        def __call__(self, prediction, target, domain, scale):
            seen.append((domain, scale))
            return jnp.mean(prediction - target)

    grid, (u, v) = pj.Grid((5,), 2.0), states((5,))
    std = jnp.array([2.0, 3.0])
    identity = pj.models.Normalised(
        lambda u, parameters=None, *, domain=None, key=None: u,
        pj.models.Statistics([0, 0], [1, 1]),
        pj.models.Statistics([0, 0], std),
    )
    key = jax.random.key(0)
    OneStep(Watch())(identity, Windows(jnp.stack([u, v])[None], {}, grid), key)
    Supervised(Watch(), domain=grid)(identity, Pairs(u[None], v[None]), key)
    assert [domain is grid for domain, _ in seen] == [True, True]
    # The model is told where its points are, too.
    told = pj.models.FNO(2, 2, 1, 1, 2, num_layers=1, coordinates=1, key=key)
    assert jnp.isfinite(Supervised(domain=grid)(told, Pairs(u[None], v[None]), key)[0])
    with pytest.raises(ValueError, match="domain=grid"):
        Supervised()(told, Pairs(u[None], v[None]), key)
    for _, scale in seen:
        np.testing.assert_array_equal(scale, std)
    with pytest.raises(ValueError, match=r"Sobolev needs the grid .* Supervised\(loss, domain=grid\)"):
        Supervised(Sobolev(1))(identity, Pairs(u[None], v[None]), key)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (pj.Grid((4, 6), 1.0, periodic=(True, False)), "periodic grid, got periodic=.True, False."),
        (pj.Grid((6, 4), 1.0), r"The target has shape \(2, 4, 6\)"),
    ],
)
def test_grids_without_such_modes_are_refused(grid, message):
    u, v = states((4, 6))
    for loss in (Sobolev(1), SpectralBands((0, 5))):
        with pytest.raises(ValueError, match=message):
            loss(u, v, grid, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sobolev(float("nan")), "finite number, e.g. 1, got nan"),
        (lambda: SpectralBands((1,)), "two or more edges"),
        (lambda: SpectralBands((1, 1)), "that increase"),
        (lambda: SpectralBands((-1, 1)), "from 0 on"),
        (lambda: SpectralBands((1, 2, 3), (1,)), "of 2 bands needs 2 weights"),
        (lambda: SpectralBands((1, 2), (-1,)), "none negative"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
