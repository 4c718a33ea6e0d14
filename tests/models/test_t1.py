import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.initial import BandLimited
from pdejax.models import T1, load, save
from pdejax.nn import Conditioning, FiLM, Modes
from pdejax.testing import check_model

KEY = jax.random.key(0)
made = eqx.filter_jit(lambda *arguments, **options: T1(*arguments, **options))
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))


def field(space, channels=2, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(1), (channels, *space), dtype)


@pytest.mark.float64
@pytest.mark.parametrize(("space", "modes"), [((17,), 5), ((6, 5, 7), 2)])
def test_it_keeps_the_contract(space, modes):
    told = Conditioning(("a", "b"), "mask", FiLM())
    model = made(2, 5, len(space), modes, 4, num_layers=2, conditioning=told, dtype=jnp.float64, key=KEY)
    values = {"a": 0.3, "b": -1.0, "mask": field(space, 1, jnp.float64)[0]}
    check_model(model, field(space, dtype=jnp.float64), out_channels=5, parameters=values)


@pytest.mark.float64
def test_a_linear_equation_is_its_diagonal():
    # u_t = nu u_xx - c u_x: every wave is multiplied, so D alone is the exact solution operator, for every state.
    modes, nu, c, t = 6, 0.03, 0.7, 0.4
    k = np.arange(modes)
    factor = np.exp((-nu * k**2 - 1j * c * k) * t)[:, None, None]
    model = made(1, 1, 1, modes, 4, num_layers=1, dtype=jnp.float64, key=KEY)
    parts = (jnp.asarray(factor.real), jnp.asarray(factor.imag))
    model = eqx.tree_at(lambda m: m.diagonal, model, parts)
    model = eqx.tree_at(lambda m: m.projection, model, jax.tree.map(jnp.zeros_like, model.projection))
    for points in (16, 31):
        x = 2 * np.pi * np.arange(points) / points
        u = np.sin(x) + 0.3 * np.cos(5 * x) + 2
        moved = x - c * t
        exact = np.exp(-nu * t) * np.sin(moved) + 0.3 * np.exp(-25 * nu * t) * np.cos(5 * moved) + 2
        np.testing.assert_allclose(model(jnp.asarray(u[None]))[0], exact, atol=1e-12)


def test_the_same_function_at_every_resolution():
    # The network sees kept coefficients alone, so that aliasing is all that could differ.
    model = made(2, 5, 2, (3, 4), 6, key=KEY)
    x, y = (2 * np.pi * np.arange(n) / n for n in (24, 30))
    wave = np.stack([np.sin(2 * x[:, None] - 3 * y), np.cos(x[:, None]) + np.sin(y)]).astype(np.float32)
    fine, coarse = applied(model, jnp.asarray(wave)), applied(model, jnp.asarray(wave[:, ::2, ::3]))
    np.testing.assert_allclose(fine[:, ::2, ::3], coarse, atol=2e-5)


@pytest.mark.parametrize(("ndim", "modes", "resolutions"), [(1, 8, (32, 63, 128)), (2, 6, (24, 33, 48))])
@pytest.mark.parametrize("white", [False, True])
def test_variance_is_kept_at_every_resolution(ndim, modes, resolutions, white):
    @eqx.filter_jit
    def ratio(points, key):
        keys = jax.random.split(key, 2)
        space = (points,) * ndim
        model = T1(1, 1, ndim, modes, 12, points=points if white else None, key=keys[0])
        if white:
            u = jax.random.normal(keys[1], (1, *space), jnp.float32)
        else:
            u = BandLimited(peak=3, cutoff=modes - 1)(Grid(space, 1.0, dtype=jnp.float32), key=keys[1])
        return jnp.var(model(u)) / jnp.var(u)

    for points in resolutions:
        keys = jax.random.split(jax.random.key(points), 16)
        assert 0.5 < np.mean(jax.vmap(lambda key, n=points: ratio(n, key))(keys)) < 2


def test_the_law_for_white_noise_belongs_to_its_resolution():
    # Truncation takes half of the noise on 32 points and 7 of 8 parts on 128.
    of = [made(1, 1, 1, 8, 4, points=n, key=KEY) for n in (32, 128)]
    np.testing.assert_allclose(of[1].diagonal[0] / of[0].diagonal[0], 2.0, rtol=1e-5)


def test_products_of_waves_can_be_learned():
    """One layer that mixes frequencies reaches the square of a wave, and the diagonal part alone does not."""
    model = made(1, 1, 1, 8, 6, num_layers=1, activation=jnp.square, key=KEY)
    x = 2 * np.pi * np.arange(24, dtype=np.float32) / 24
    still = eqx.tree_at(lambda m: m.projection, model, jax.tree.map(jnp.zeros_like, model.projection))
    spectrum = [np.abs(np.fft.rfft(np.asarray(applied(m, jnp.sin(2 * x)[None]))[0])) for m in (model, still)]
    others = [k for k in range(8) if k != 2]
    assert np.min(spectrum[0][others]) > 1e-3 and np.max(spectrum[1][others]) < 1e-4


def test_a_model_file_keeps_it(tmp_path):
    told = Conditioning("a", modulation=FiLM())
    model = made(2, 5, 2, (3, 4), 6, points=(16, 24), conditioning=told, key=KEY)
    save(tmp_path / "model.pdejax", model, names=("u", "v"))
    assert eqx.tree_equal(load(tmp_path / "model.pdejax").model, model)


@pytest.mark.either
def test_mistakes_are_named():
    with pytest.raises(ValueError, match="T1 needs width >= 1, got 0"):
        T1(1, 1, 2, 3, 0, key=KEY)
    with pytest.raises(ValueError, match="T1 has ndim=1 but `modes` has 2 axes"):
        T1(1, 1, 1, Modes.classic((3, 4), 2), 4, key=KEY)
    with pytest.raises(ValueError, match="T1 keeps 9 modes along axis 1, whose 9 points resolve 5"):
        made(2, 1, 2, (3, 9), 4, key=KEY)(field((8, 9)))
