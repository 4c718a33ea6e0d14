"""The phi functions against the matrix exponential, and what single precision keeps of them."""

import itertools
from fractions import Fraction
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import pdejax as pj
from pdejax.solvers import Coupled, Diagonal, phi_functions

functions = jax.jit(lambda linear, step, count=3: linear.functions(step, count), static_argnums=2)


def exact_phi(z, order):
    """By the augmented matrix exponential: the top right entry of exp of a Jordan-like block is phi_l."""
    block = np.diag(np.ones(order, complex), 1)
    block[0, 0] = z
    return expm(block)[0, -1]


POINTS = [0.0, 1e-9, -1e-4, 0.3, -0.999, -1.001, 2.0, -30.0, 1e-3j, 0.99j, 1.01j, 7j, -3 + 4j, 40j, -0.5 + 0.1j]


@pytest.mark.float64
def test_phi_functions_near_and_far_from_zero():
    linear = Diagonal(jnp.asarray(POINTS, complex)[None])
    for order, values in enumerate(functions(linear, 1.0)):
        for z, value in zip(POINTS, values[0], strict=True):
            exact = exact_phi(z, order) if order > 0 else np.expm1(z)
            assert abs(value - exact) <= 3e-14 * abs(exact), (order, z, value)


def test_phi_functions_are_real_for_a_real_symbol_and_finite_where_it_is_huge():
    linear = Diagonal(jnp.asarray([[0.0, -1e-3, -1.0, -80.0, -1e7]]))
    for order, values in enumerate(functions(linear, 0.5)[1:], start=1):
        assert not jnp.iscomplexobj(values)
        assert bool(jnp.all(jnp.isfinite(values)))
        np.testing.assert_allclose(values[0, 0], 1 / factorial(order), rtol=1e-6)


def test_gradients_through_the_switch_are_finite():
    def total(step):
        return sum(
            jnp.sum(values) for values in functions(Diagonal(jnp.asarray([[0.0, -0.5, -1.0, -2.0, -1e6]])), step)
        )

    slope = jax.grad(total)(jnp.asarray(0.7))
    differences = (total(jnp.asarray(0.7 + 1e-2)) - total(jnp.asarray(0.7 - 1e-2))) / 2e-2
    np.testing.assert_allclose(slope, differences, rtol=1e-2)


@pytest.mark.float64
@pytest.mark.parametrize("size", [1e-8, 0.1, 3.0, 1e3, 1e6])
def test_matrix_phi_functions_agree_with_the_augmented_exponential(size):
    random = np.random.default_rng(1)
    # Stable matrices, as diffusion and rotation give; a defective one among them.
    modes = []
    for _ in range(4):
        vectors = random.normal(size=(3, 3))
        modes.append(vectors @ np.diag(-random.uniform(0, size, 3)) @ np.linalg.inv(vectors))
    modes.append(np.array([[-1.0, size / 10, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -size]]))
    symbol = np.stack(modes, axis=-1)
    phis = [np.asarray(phi) for phi in functions(Coupled(jnp.asarray(symbol)), 0.8)[1:]]
    for mode in range(symbol.shape[-1]):
        z = 0.8 * symbol[..., mode]
        augmented = np.zeros((12, 12))
        augmented[:3, :3] = z
        for block in range(3):
            augmented[3 * block : 3 * block + 3, 3 * block + 3 : 3 * block + 6] = np.eye(3)
        exact = expm(augmented)
        for order in range(1, 4):
            expected = exact[:3, 3 * order : 3 * order + 3]
            gap = np.max(np.abs(phis[order - 1][..., mode] - expected))
            # expm itself is good to about eps times the condition of the eigenvectors.
            assert gap <= 1e-10 * np.max(np.abs(expected)), (order, mode, gap)


def test_diagonal_and_coupled_agree_where_nothing_is_coupled():
    symbol = jnp.asarray([[-0.3, -4.0, -50.0], [0.0, -1e-4, -1.0]])
    matrix = jnp.zeros((2, 2, 3)).at[[0, 1], [0, 1]].set(symbol)
    for one, other in zip(functions(Diagonal(symbol), 0.5), functions(Coupled(matrix), 0.5), strict=True):
        np.testing.assert_allclose(other[[0, 1], [0, 1]], one, rtol=2e-5, atol=jnp.finfo(one.dtype).eps)
        np.testing.assert_allclose(other[0, 1], 0.0, atol=1e-12)


@pytest.mark.float64
def test_matrix_functions_of_a_very_stiff_block():
    """|Z| = 1e10 takes 35 doublings: `exp(Z)` of a rotation that decays, and phi_1 = Z^-1 (exp(Z) - 1)."""
    block = np.array([[-1.0, 1.0], [-1.0, -1.0]])
    part = Coupled(jnp.asarray(1e10 * block)[:, :, None])
    exponential, phi_1 = functions(part, 1.0, 1)
    np.testing.assert_allclose(exponential[:, :, 0], -np.eye(2), atol=1e-12)
    np.testing.assert_allclose(phi_1[:, :, 0], -np.linalg.inv(1e10 * block), rtol=1e-5)


@pytest.mark.float64
def test_a_slow_component_beside_an_extremely_stiff_one():
    """`|Z| = 1e15`: the slow one must still decay as e^-1; beyond every doubling the answer is NaN and not a guess."""
    block = lambda size: Coupled(jnp.asarray([[-size, 0.1], [0.0, -1.0]])[:, :, None])  # noqa: E731
    exponential, _ = functions(block(1e15), 1.0, 1)
    np.testing.assert_allclose(exponential[1, 1, 0], np.expm1(-1.0), rtol=1e-12)


@pytest.mark.float64
def test_a_slow_component_among_three():
    """By doubling, up to where it ends: beyond, the answer is NaN and not a guess."""

    def exponential(size):
        symbol = jnp.asarray([[-size, 0.1, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -2.0]])[:, :, None]
        return functions(Coupled(symbol), 1.0, 1)[0][..., 0]

    np.testing.assert_allclose(exponential(1e15)[1, 1], np.expm1(-1.0), rtol=1e-12)
    assert bool(jnp.all(jnp.isnan(exponential(1e25))))


functions_of_a_pair = jax.jit(lambda z: phi_functions.of_pairs(z[:, :, None], 3))


def pairs(size):
    random = np.random.default_rng(3)
    yield "random", size * random.normal(size=(2, 2))
    yield "complex", size * (random.normal(size=(2, 2)) + 1j * random.normal(size=(2, 2)))
    yield "turning", np.array([[0.0, size], [-size, 0.0]])
    yield "wave", np.array([[0.0, 1.0], [-(size**2), 0.0]])
    yield "decaying spiral", size * np.array([[-1.0, 0.7], [-0.7, -1.0]])
    yield "singular", size * np.array([[-1.0, 1.0], [1.0, -1.0]])
    yield "defective", np.array([[-size, 1.0], [0.0, -size]])
    yield "almost defective", np.array([[-size, 1.0], [1e-5, -size]])
    yield "slow beside fast", np.array([[-10 * size, 0.1], [0.2, -1.0]])
    yield "far from normal", np.array([[-size, 100.0], [1e-4, -1.1 * size]])


def exact_block_functions(block, count):
    """`exp - 1, phi_1, ..., phi_count` from one exponential of a block matrix."""
    augmented = np.zeros((2 * (count + 1),) * 2, block.dtype)
    augmented[:2, :2] = block
    for i in range(count):
        augmented[2 * i : 2 * i + 2, 2 * i + 2 : 2 * i + 4] = np.eye(2)
    exponential = expm(augmented)
    return [exponential[:2, 2 * i : 2 * i + 2] - np.eye(2) * (i == 0) for i in range(count + 1)]


@pytest.mark.float64
def test_functions_of_pairs():
    cases = [(size, *case) for size in (1e-6, 0.1, 0.4, 1.0, 1.45, 1.55, 3.0, 10.0) for case in pairs(size)]
    for size, name, block in cases:
        found = functions_of_a_pair(block)
        for order, (value, exact) in enumerate(zip(found, exact_block_functions(block, 3), strict=True)):
            gap = np.max(np.abs(value[..., 0] - exact)) / np.max(np.abs(exact))
            # What expm rounds on the largest of these, and subtracting 1 from it, are allowed.
            assert gap < (1e-9 if order == 0 and size < 1e-3 else 3e-13), (size, name, order, gap)


@pytest.mark.float64
def test_pairs_whose_eigenvalues_lie_well_apart_lose_no_digits():
    """`(1 +- r) m`: the recursion divides by `(1 - r^2) m^2` at each order, and may not be asked where r nears 1."""
    cases = itertools.product((-1.6, -1.8, -3.0, -10.0), (0.01, 1.0, 100.0), (0.3, 0.45, 0.55, 0.7, 0.8, 0.9))
    for mean, coupling, ratio in cases:
        block = np.array([[mean * (1 + ratio), coupling * abs(mean)], [0.0, mean * (1 - ratio)]])
        found = functions_of_a_pair(block)
        for order, (value, exact) in enumerate(zip(found, exact_block_functions(block, 3), strict=True)):
            gap = np.max(np.abs(value[..., 0] - exact)) / np.max(np.abs(exact))
            assert gap < 3e-14, (mean, coupling, ratio, order, gap)


@pytest.mark.float64
def test_gradients_of_functions_of_pairs():
    """Across every switch between branches, and where both eigenvalues coincide."""
    weights = np.random.default_rng(4).normal(size=(4, 2, 2, 1))

    @jax.jit
    @jax.vmap
    def total(z):
        values = phi_functions.of_pairs(z[:, :, None], 3)
        return sum(jnp.sum(w * value) for w, value in zip(weights, values, strict=True))

    cases = [(f"{name} {size}", block) for size in (1e-6, 0.4, 1.45, 10.0) for name, block in pairs(size)]
    names, blocks = zip(*[case for case in cases if not np.iscomplexobj(case[1])], strict=True)
    z = np.stack(blocks)
    slopes = jax.jit(jax.grad(lambda z: jnp.sum(total(z))))(z)
    assert bool(jnp.all(jnp.isfinite(slopes)))
    directions = np.random.default_rng(5).normal(size=z.shape) * np.maximum(np.abs(z), 1e-6)
    differences = (total(z + 1e-5 * directions) - total(z - 1e-5 * directions)) / 2e-5
    for name, slope, direction, difference in zip(names, slopes, directions, differences, strict=True):
        np.testing.assert_allclose(np.sum(slope * direction), difference, rtol=1e-6, atol=1e-9, err_msg=name)


class Schroedinger(pj.equations.Equation):
    """`i psi_t = -psi_xx / 2 + V psi` for psi = a + i b, in real components: `a_t = -b_xx / 2 + V b`, ..."""

    potential: float = 1.0

    def components(self, ndim):
        return ("a", "b")

    def linear(self, u):
        a, b = u
        return (b.laplacian() * -0.5).stack(a.laplacian() * 0.5)

    def nonlinear(self, t, u):
        a, b = u
        return (b * self.potential).stack(a * -self.potential)


@pytest.mark.either
def test_what_only_turns_keeps_its_norm_in_single_precision():
    """|h L| up to 1e5, every mode alive, 3000 steps: blocks by repeated squaring grow by a thousandth in every step."""
    grid = pj.Grid((512,), extent=2 * np.pi, dtype=jnp.float32)
    u0 = jnp.asarray(np.random.default_rng(6).normal(size=(2, 512)), grid.dtype)
    stepper = pj.TimeStepper(Schroedinger(0.01), pj.Spectral(grid), dt=30.0, solver=pj.solvers.ETDRK4(), substeps=10)
    norms = jnp.linalg.norm(pj.rollout(stepper, u0, 300).reshape(300, -1), axis=1)
    np.testing.assert_allclose(norms, jnp.linalg.norm(u0), rtol=0.01)


def taylor_phi(z, order, terms=80):
    """phi_order(z) = sum over n of z^n / (n + order)! in exact fractions; order 0 without its first term, e^z - 1."""
    a, b = Fraction(z.real), Fraction(z.imag)
    real, imaginary = Fraction(0), Fraction(0)
    for n in reversed(range(order == 0, terms)):
        # Horner: total = coefficient + z total.
        real, imaginary = a * real - b * imaginary + Fraction(1, factorial(n + order)), a * imaginary + b * real
        # A hundred digits are kept of fractions that would double in length at every product.
        real, imaginary = (Fraction(round(part * 10**100), 10**100) for part in (real, imaginary))
    if order == 0:
        real, imaginary = a * real - b * imaginary, a * imaginary + b * real
    return complex(real, imaginary)


@pytest.mark.float64
def test_phi_functions_are_exact_on_both_sides_of_every_switch():
    """Too near zero the recursion loses digits, too far from it the series does: neither may be asked there."""
    radii = [0.05, 0.2, 0.35, 0.6, 0.95, 0.999, 1.001, 1.2, 1.5, 1.9, 1.999, 2.001, 2.24, 2.26, 3.0, 4.0, 5.0]
    directions = [1, -1, 1j, -1j, np.exp(0.75j * np.pi), np.exp(-0.6j * np.pi), np.exp(0.3j * np.pi)]
    points = np.asarray([radius * direction for radius in radii for direction in directions])
    real = np.asarray([sign * radius for radius in radii for sign in (1.0, -1.0)])
    for z in (points, real):
        found = Diagonal(jnp.asarray(z)[None]).functions(jnp.asarray(1.0), 3)
        for order, values in enumerate(found):
            exact = np.asarray([taylor_phi(complex(each), order) for each in z])
            gaps = np.abs(np.asarray(values[0]) - exact) / np.abs(exact)
            worst = int(np.argmax(gaps))
            assert gaps[worst] <= 3e-15, (order, z[worst], gaps[worst])
