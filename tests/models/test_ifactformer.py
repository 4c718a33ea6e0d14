import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import IFactFormer, load, save
from pdejax.nn import Conditioning, FiLM
from pdejax.testing import check_lowering, check_model

SMALL = {"heads": 2, "rank": 8, "harmonics": 3}
AROUND = Conditioning(periodic=True)


def waves(space, num_channels=2, dtype=np.float32):
    """The same few waves on any grid, `(num_channels, *space)`, with frequencies up to 2 along each axis."""
    x = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in space), indexing="ij")
    phases = [sum((a + c) % 3 * xa for a, xa in enumerate(x)) for c in range(num_channels)]
    return jnp.asarray(np.stack([np.sin(phase + c) + 0.5 * np.cos(x[-1]) for c, phase in enumerate(phases)]), dtype)


made = eqx.filter_jit(lambda *arguments, **options: IFactFormer(*arguments, **(SMALL | options)))
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))


@pytest.mark.parametrize("space", [(33,), (24, 33), (4, 5, 6)])
def test_unequal_channels_and_grids_in_one_two_and_three_dimensions(space):
    make = lambda u: IFactFormer(2, 5, len(space), 6, conditioning=AROUND, **SMALL, key=jax.random.key(0))(u)  # noqa: E731
    assert jax.eval_shape(make, waves(space)).shape == (5, *space)


def test_it_commutes_with_translations_and_coordinates_along_an_axis_break_only_that_one():
    told = Conditioning(coordinates=(0, 1), periodic=True)
    u = waves((8, 15)).at[0, 1, 2].add(1.0)
    batch = jnp.stack([u, jnp.roll(u, (3, -4), (1, 2)), jnp.roll(u, 3, 1)])
    for conditioning in (AROUND, told):
        model = made(2, 3, 2, 6, num_layers=2, conditioning=conditioning, key=jax.random.key(0))
        one, both, first = np.asarray(applied(jax.vmap(model), batch))
        np.testing.assert_allclose(first, np.roll(one, 3, 1), atol=1e-5)
        gap = np.max(np.abs(both - np.roll(one, (3, -4), (1, 2))))
        assert gap < 1e-5 if conditioning is AROUND else gap > 1e-2


def test_the_same_function_at_another_resolution():
    model = made(2, 3, 2, 8, num_layers=2, conditioning=AROUND, key=jax.random.key(0))
    coarse, fine = (np.asarray(applied(model, waves(space))) for space in ((30, 32), (60, 96)))
    np.testing.assert_allclose(fine[:, ::2, ::3], coarse, atol=1e-5 * np.max(np.abs(coarse)))
    assert np.max(np.abs(coarse - np.mean(coarse, (1, 2), keepdims=True))) > 0.1


def test_between_walls_the_resolution_matters_to_second_order():
    model = made(1, 1, 1, 8, num_layers=2, key=jax.random.key(0))
    results = []
    for n in (33, 65, 129):
        grid = Grid(n, 1.0, periodic=False, points="nodes", dtype=jnp.float32)
        results.append(np.asarray(applied(model, jnp.sin(2 * grid.coordinates()), domain=grid))[0, :: (n - 1) // 32])
    gaps = [np.max(np.abs(a - b)) for a, b in itertools.pairwise(results)]
    assert 1e-4 < gaps[0] < 1e-1 and 3.5 < gaps[0] / gaps[1] < 4.5, gaps


def test_walls_and_periodic_axes_are_different_places():
    model = made(1, 1, 1, 8, num_layers=1, key=jax.random.key(0))
    u = waves((12,), 1)
    results = [np.asarray(applied(model, u, domain=Grid(12, 1.0, flag, dtype=jnp.float32))) for flag in (True, False)]
    assert np.max(np.abs(results[0] - results[1])) > 1e-2
    with pytest.raises(ValueError, match="IFactFormer has to know which axes are periodic"):
        model(u)


def test_its_passes_are_steps_of_an_euler_method():
    # With the same weights twice as many passes halve the distance to the flow that they follow.
    models = [made(1, 1, 1, 8, num_layers=n, conditioning=AROUND, key=jax.random.key(0)) for n in (8, 16, 32)]
    results = [np.asarray(applied(model, waves((16,), 1))) for model in models]
    gaps = [np.max(np.abs(a - b)) for a, b in itertools.pairwise(results)]
    assert 1.7 < gaps[0] / gaps[1] < 2.4, gaps


@pytest.mark.parametrize("num_layers", [1, 7])
def test_its_weights_are_counted_by_the_formula(num_layers):
    width, heads, rank, inputs, outputs = 12, 3, 10, 4, 5
    model = eqx.filter_eval_shape(
        lambda: IFactFormer(
            2,
            outputs,
            2,
            width,
            num_layers=num_layers,
            heads=heads,
            rank=rank,
            conditioning=Conditioning(coordinates=(0, 1), periodic=True),
            key=jax.random.key(0),
        )
    )
    kernel = 2 * (width**2 + width) + 2 * (width + 1) * heads * rank
    layer = width**2 + 2 * kernel + (2 * width + 1) * width + (width + 1) * width
    ends = (inputs + 1) * width + (width + 1) * 2 * width + (2 * width + 1) * outputs
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == layer + ends


def test_it_follows_the_lead_time_and_comes_back_from_a_file(tmp_path):
    told = Conditioning(parameters="lead_time", modulation=FiLM(), fields="mask", periodic=(True, False))
    model = made(2, 3, 2, 6, num_layers=1, conditioning=told, activation=jax.nn.silu, key=jax.random.key(0))
    u, mask = waves((8, 9)), jnp.ones((8, 9), jnp.float32)
    save(tmp_path / "model", model)
    loaded = load(tmp_path / "model").model
    early, late, again = (
        np.asarray(applied(m, u, {"lead_time": t, "mask": mask}))
        for m, t in ((model, 0.1), (model, 0.9), (loaded, 0.1))
    )
    assert np.max(np.abs(early - late)) > 1e-2
    np.testing.assert_array_equal(early, again)
    assert loaded.conditioning == model.conditioning


@pytest.mark.float64
def test_it_keeps_the_contract_of_models():
    told = Conditioning(parameters="lead_time", modulation=FiLM(), periodic=(True, False))
    model = made(2, 5, 2, 6, num_layers=2, conditioning=told, dtype=jnp.float64, key=jax.random.key(0))
    check_model(model, waves((6, 9), dtype=np.float64), out_channels=5, parameters={"lead_time": 0.5})


def test_it_lowers_for_every_platform():
    make = lambda: IFactFormer(2, 5, 3, 6, conditioning=AROUND, **SMALL, key=jax.random.key(0))  # noqa: E731
    check_lowering(lambda u: make()(u), jax.ShapeDtypeStruct((2, 4, 5, 6), jnp.float32))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 4}, "heads that divide its width of 6, got 4"),
        ({"num_layers": 0}, "num_layers >= 1, got 0"),
        ({"rank": 5}, "even rank >= 2"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
        ({"conditioning": Conditioning(coordinates=(1, 2))}, "one number or 1"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        IFactFormer(
            **(
                {"in_channels": 1, "out_channels": 1, "ndim": 1, "width": 6, **SMALL, "key": jax.random.key(0)}
                | arguments
            )
        )


@pytest.mark.usefixtures("without_shape_checks")
def test_states_that_do_not_fit_are_refused():
    model = eqx.filter_eval_shape(
        lambda: IFactFormer(2, 5, 1, 6, conditioning=Conditioning(coordinates=1), **SMALL, key=jax.random.key(0))
    )
    with pytest.raises(ValueError, match=r"state of 2 channels and 1 axes.*\(1, 24\)"):
        eqx.filter_eval_shape(model, jax.ShapeDtypeStruct((1, 24), jnp.float32))
    bent = Grid(24, 1.0, False, points="chebyshev", dtype=jnp.float32)
    with pytest.raises(ValueError, match="whose coordinates count points"):
        model(jnp.zeros((2, 24)), domain=bent)
