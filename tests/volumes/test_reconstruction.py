"""Values at edges from averages: orders, polynomials, limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.testing import observed_orders
from pdejax.volumes import MUSCL, WENO, PiecewiseConstant, minmod, monotonized_central, superbee, van_leer

LIMITERS = (minmod, van_leer, monotonized_central, superbee)


def averages_of(antiderivative, edges):
    return np.diff(antiderivative(edges)) / np.diff(edges)


def stencils(averages, reach):
    n = len(averages)
    return [jnp.asarray(averages[start : n - 2 * reach + start]) for start in range(2 * reach + 1)]


@pytest.mark.float64
@pytest.mark.parametrize(
    ("reconstruction", "order"), [(PiecewiseConstant(), 1), (MUSCL(), 2), (WENO(3), 3), (WENO(5), 5)], ids=str
)
def test_edges_converge_with_their_order(reconstruction, order):
    """Of a monotone function without critical points, both edges; and WENO 5 through critical points, too."""

    def gap(n, low, high):
        edges = np.linspace(low, high, n + 1)
        averages, reach = averages_of(lambda x: -np.cos(x) + 0.1 * x**2, edges), reconstruction.reach
        read = jax.jit(lambda *parts: reconstruction.at_edge(parts, jnp.asarray(1 / n)))
        upper, lower = read(*stencils(averages, reach)), read(*stencils(averages, reach)[::-1])
        inner = edges[reach : n + 1 - reach]
        exact = np.sin(inner) + 0.2 * inner
        return max(np.max(np.abs(upper - exact[1:])), np.max(np.abs(lower - exact[:-1])))

    (observed,) = observed_orders([gap(60, -0.8, 1.0), gap(91, -0.8, 1.0)], [1 / 60, 1 / 91])
    assert abs(observed - order) <= 0.2
    if order == 5:
        (observed,) = observed_orders([gap(120, 0.0, 6.0), gap(181, 0.0, 6.0)], [1 / 120, 1 / 181])
        assert observed >= 4.8


@pytest.mark.float64
def test_polynomials_are_met_whatever_the_weights():
    """Every sub-stencil holds them: lines with order 3, parabolas with order 5, whose pieces are all alike."""
    edges = np.array([0.3, 0.5, 0.7, 0.9, 1.1, 1.3])
    for order, antiderivative, value in (
        (3, lambda x: x - 2.5 * x**2, lambda x: 1 - 5 * x),
        (5, lambda x: x - x**2 + 3 * x**3, lambda x: 1 - 2 * x + 9 * x**2),
    ):
        averages = averages_of(antiderivative, edges)
        middle, reach = 2, order // 2
        parts = [jnp.asarray(a) for a in averages[middle - reach : middle + reach + 1]]
        weno = WENO(order)
        np.testing.assert_allclose(weno.at_edge(parts, jnp.asarray(0.2)), value(edges[3]), rtol=1e-14)
        np.testing.assert_allclose(weno.at_edge(parts[::-1], jnp.asarray(0.2)), value(edges[2]), rtol=1e-14)


def test_limited_slopes_make_no_new_extremum():
    """Zero where differences disagree, the difference itself where they are one, and never more than twice the smaller;
    the more dissipative the smaller."""
    random = np.random.default_rng(0)
    backward, forward = jnp.asarray(random.normal(size=(2, 400)))
    found = [limiter(backward, forward) for limiter in LIMITERS]
    agree = np.asarray(backward * forward > 0)
    least = np.minimum(np.abs(backward), np.abs(forward))
    for slope, limiter in zip(found, LIMITERS, strict=True):
        assert np.all(np.asarray(slope)[~agree] == 0)
        assert np.all(np.abs(slope)[agree] <= 2 * least[agree] * (1 + 1e-6))
        assert np.all(np.asarray(slope * forward)[agree] > 0)
        np.testing.assert_allclose(limiter(forward, forward), forward, rtol=1e-6)
        np.testing.assert_allclose(limiter(forward, backward), slope, rtol=1e-5, atol=1e-7)
    smallest, harmonic, central, largest = (np.abs(slope) for slope in found)
    assert np.all(smallest <= harmonic * (1 + 1e-5)) and np.all(harmonic <= central * (1 + 1e-5))
    assert np.all(smallest <= largest * (1 + 1e-5))
    np.testing.assert_allclose(minmod(jnp.array([1.0, 3.0]), jnp.array([2.0, 1.0])), [1.0, 1.0])
    np.testing.assert_allclose(van_leer(jnp.array([1.0]), jnp.array([3.0])), [1.5])
    np.testing.assert_allclose(monotonized_central(jnp.array([1.0, 1.0]), jnp.array([2.0, 9.0])), [1.5, 2.0])
    np.testing.assert_allclose(superbee(jnp.array([1.0, 1.0]), jnp.array([1.5, 9.0])), [1.5, 2.0])


@pytest.mark.float64
def test_weights_know_no_units_and_avoid_jumps():
    step = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    for order in (3, 5):
        weno, reach = WENO(order), order // 2
        parts = stencils(step, reach)
        edges = np.asarray(weno.at_edge(parts, jnp.asarray(0.01)))
        # No cell looks across the jump: its edges are those of a constant, but for weights of 1e-4.
        expected = step[reach : len(step) - reach]
        np.testing.assert_allclose(edges, expected, atol=2e-4)
        scaled = weno.at_edge([1e-9 * part for part in parts], jnp.asarray(0.01))
        np.testing.assert_allclose(scaled, 1e-9 * edges, rtol=1e-9, atol=1e-22)
        nothing = weno.at_edge([0 * part for part in parts], jnp.asarray(0.01))
        assert np.all(np.asarray(nothing) == 0)


def test_orders_that_are_none_are_refused():
    with pytest.raises(ValueError, match="order 3 or 5, got 4"):
        WENO(4)
