import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import FNO, GFNO, InPrecision, load, save
from pdejax.nn import Addition, ChannelAttention, Conditioning, FiLM, GridEmbedding, GroupNorm, InstanceNorm
from pdejax.testing import check_model

made = eqx.filter_jit(lambda *arguments, **options: GFNO(*arguments, **options))
applied = eqx.filter_jit(lambda model, *arguments, **options: model(*arguments, **options))


def random_state(points, channels=2, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(channels, points, points)).astype(dtype)


def turned(u):
    """The array turned by 90 degrees about its middle."""
    return jnp.asarray(np.rot90(u, axes=(-2, -1)))


def turned_about_a_node(u):
    """Turned by 90 degrees about the point (0, 0) of a periodic grid, which turns it about the centre of the box."""
    return jnp.roll(turned(u), 1, -2)


def mirrored(u):
    return jnp.asarray(np.flip(u, -1))


def gap(a, b):
    """The largest difference, in units of the largest value."""
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))) / np.max(np.abs(np.asarray(b))))


def test_the_turn_about_a_node_takes_i_j_to_minus_j_i():
    u = random_state(5)
    i, j = np.meshgrid(*(np.arange(5),) * 2, indexing="ij")
    np.testing.assert_array_equal(turned_about_a_node(u)[:, -j % 5, i], u)


@pytest.mark.parametrize("points", [24, 33])
@pytest.mark.parametrize("group", ["p4", "p4m"])
def test_it_commutes_with_turns_and_p4m_alone_with_reflections(group, points):
    # 12 modes are all that lie below half of 24 points.
    model = made(2, 5, 12, 3, group=group, num_layers=2, key=jax.random.key(0))
    u = random_state(points)
    result = applied(model, u)
    assert result.shape == (5, points, points)
    for act in (turned, turned_about_a_node, lambda v: jnp.roll(jnp.asarray(v), (5, -3), (1, 2))):
        assert gap(applied(model, act(u)), act(result)) < 1e-5
    for act in (mirrored, lambda v: jnp.swapaxes(jnp.asarray(v), 1, 2)):
        off = gap(applied(model, act(u)), act(result))
        assert off < 1e-5 if group == "p4m" else off > 0.01


@pytest.mark.parametrize("make", [lambda **o: FNO(2, 5, 2, 6, 4, **o), lambda **o: GFNO(2, 5, 6, 4, group="p1", **o)])
def test_without_turns_in_the_group_it_does_not_commute_with_them(make):
    model = eqx.filter_jit(make)(
        num_layers=2, conditioning=Conditioning(coordinates=1, periodic=True), key=jax.random.key(0)
    )
    u = random_state(24)
    assert gap(applied(model, turned(u)), turned(applied(model, u))) > 0.01


def test_pseudoscalars_change_their_sign_with_the_state():
    told = Conditioning(parameters="a", fields="mask")
    model = made(2, 5, 4, 3, group="p4m", num_layers=2, pseudoscalar=True, conditioning=told, key=jax.random.key(0))
    # First weights have biases of zero, which would hide one where there must be none.
    model = jax.tree.map(lambda leaf: leaf + 0.1 if eqx.is_array(leaf) else leaf, model)
    u, mask = random_state(9), random_state(9, 1)[0] > 0
    result = applied(model, u, {"a": 0.7, "mask": mask})
    for act, sign in ((turned, 1), (mirrored, -1)):
        assert gap(applied(model, sign * act(u), {"a": 0.7, "mask": act(mask)}), sign * act(result)) < 1e-5
    assert gap(applied(model, mirrored(u), {"a": 0.7, "mask": mirrored(mask)}), mirrored(result)) > 0.01


@pytest.mark.parametrize("modulation", [None, Addition(), FiLM()])
def test_what_is_told_beside_the_state_turns_with_it(modulation):
    told = Conditioning(parameters=("a", "b"), fields="mask", modulation=modulation)
    model = made(2, 5, 4, 3, num_layers=2, conditioning=told, norm=GroupNorm(), key=jax.random.key(0))
    u, mask = random_state(9), random_state(9, 3)[2]
    result = applied(model, u, {"a": 0.7, "b": 2.0, "mask": mask})
    assert gap(applied(model, turned(u), {"a": 0.7, "b": 2.0, "mask": turned(mask)}), turned(result)) < 1e-5
    assert gap(applied(model, u, {"a": 2.0, "b": 0.7, "mask": mask}), result) > 1e-3
    assert gap(applied(model, turned(u), {"a": 0.7, "b": 2.0, "mask": mask}), turned(result)) > 1e-3


@pytest.mark.parametrize("points", [12, 13])
@pytest.mark.parametrize(
    ("options", "turn", "other"),
    [
        ({"periodic": True}, turned_about_a_node, turned),
        ({"points": "centres"}, turned, turned_about_a_node),
        ({"periodic": False, "points": "nodes"}, turned, turned_about_a_node),
    ],
)
def test_the_radius_channel_turns_about_the_centre_of_the_box(options, turn, other, points):
    model = made(2, 5, 4, 3, num_layers=1, radius_channel=True, key=jax.random.key(0))
    u, domain = random_state(points), Grid((points, points), 3.0, dtype=jnp.float32, **options)
    result = applied(model, u, domain=domain)
    assert gap(applied(model, turn(u), domain=domain), turn(result)) < 1e-5
    assert gap(applied(model, other(u), domain=domain), other(result)) > 1e-3
    moved = jnp.roll(jnp.asarray(u), 3, 1)
    assert gap(applied(model, moved, domain=domain), jnp.roll(result, 3, 1)) > 1e-3


def test_the_domain_may_be_an_argument_of_the_compiled_call():
    # The sides of the box are then not known when it is compiled, nor whether they are equal.
    model = made(2, 5, 4, 3, group="p4", num_layers=1, radius_channel=True, key=jax.random.key(0))
    u, traces = jnp.asarray(random_state(9)), []

    @jax.jit
    def call(u, domain):
        traces.append(1)
        return model(u, domain=domain)

    results = [call(u, Grid((9, 9), side, dtype=jnp.float32)) for side in (1.0, 3.0)]
    held = Grid((9, 9), 3.0, dtype=jnp.float32)
    expected = eqx.filter_jit(lambda u: model(u, domain=held))(u)
    for result in results:
        np.testing.assert_allclose(result, expected, atol=1e-6)
    assert len(traces) == 1


def waves(points):
    """The same few sines on any grid, with frequencies up to 3 along each axis."""
    x, y = np.meshgrid(*(2 * np.pi * np.arange(points) / points,) * 2, indexing="ij")
    return jnp.asarray(np.stack([np.sin(3 * x - y), np.cos(2 * y) + np.sin(x)]).astype(np.float32))


@pytest.mark.parametrize("points", [36, 48])
def test_the_same_function_at_another_resolution(points):
    # What couples the points is K and the norms, which see frequencies up to 3 and their squares: no aliasing.
    model = made(2, 5, 6, 3, num_layers=1, key=jax.random.key(0))
    coarse, fine = (np.asarray(applied(model, waves(n))) for n in (12, points))
    assert gap(fine[:, :: points // 12, :: points // 12], coarse) < 1e-5


def test_the_radius_is_the_same_at_another_resolution():
    model = made(2, 5, 2, 3, num_layers=1, radius_channel=True, key=jax.random.key(0))
    # Without K, which sees the kinks of the radius, it acts point by point.
    model = eqx.tree_at(lambda m: m.convolutions[0].weight, model, replace_fn=jnp.zeros_like)
    coarse, fine = (np.asarray(applied(model, waves(n), domain=Grid((n, n), 2.0, dtype="float32"))) for n in (12, 36))
    assert gap(fine[:, ::3, ::3], coarse) < 1e-5


@pytest.mark.either
@pytest.mark.parametrize(("group", "width", "count"), [("p4", 10, 853_121), ("p4m", 7, 835_969)])
def test_parameters_are_those_of_the_published_models(group, width, count):
    # Ten frames in, one out, and the radius; a complex number counts as two.
    options = {"group": group, "radius_channel": True}
    model = eqx.filter_eval_shape(lambda: GFNO(10, 1, 12, width, **options, key=jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size")) == count


@pytest.mark.float64
@pytest.mark.parametrize("group", ["p4", "p4m"])
def test_it_keeps_the_contract_of_models(group):
    told = Conditioning(fields="mask", periodic=True) if group == "p4m" else Conditioning("a", modulation=FiLM())
    of_p4m = {"pseudoscalar": True, "radius_channel": True, "norm": None} if group == "p4m" else {}
    options = {"group": group, "num_layers": 1, "conditioning": told, "dtype": jnp.float64}
    model = made(2, 5, 3, 2, **options, **of_p4m, key=jax.random.key(0))
    u = jnp.asarray(random_state(7, dtype=np.float64))
    check_model(model, u, out_channels=5, parameters={"a": 0.7, "mask": u[0]})


@pytest.mark.float64
def test_it_casts_at_its_own_boundary():
    u = random_state(9, dtype=np.float64)
    single = made(2, 5, 4, 3, num_layers=1, key=jax.random.key(0))
    result, of_single = (np.asarray(applied(single, jnp.asarray(v))) for v in (u, u.astype(np.float32)))
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, of_single.astype(np.float64))
    double = made(2, 5, 4, 3, num_layers=1, dtype=jnp.float64, key=jax.random.key(0))
    assert gap(applied(double, turned(u)), turned(applied(double, u))) < 1e-13


def test_it_computes_in_half_precision_on_request():
    told = Conditioning(periodic=True)
    model = made(2, 5, 4, 3, num_layers=1, radius_channel=True, conditioning=told, key=jax.random.key(0))
    u = random_state(9)
    rounded = applied(InPrecision(model), u)
    assert rounded.dtype == jnp.float32 and 1e-5 < gap(rounded, applied(model, u)) < 0.05


def test_padding_leaves_turns_and_takes_translations():
    model = made(2, 5, 4, 3, num_layers=1, padding=0.2, key=jax.random.key(0))
    u = random_state(12)
    result = applied(model, u)
    assert gap(applied(model, turned(u)), turned(result)) < 1e-5
    assert gap(applied(model, jnp.roll(jnp.asarray(u), 3, 1)), jnp.roll(result, 3, 1)) > 1e-3


def test_it_comes_back_from_its_file(tmp_path):
    told = Conditioning(parameters="a", modulation=FiLM(), periodic=True)
    options = {"group": "p4m", "pseudoscalar": True, "radius_channel": True, "padding": 0.1, "conditioning": told}
    model = made(2, 5, 4, 3, num_layers=1, norm=InstanceNorm(affine=True), **options, key=jax.random.key(3))
    save(tmp_path / "model.pdejax", model)
    loaded = load(tmp_path / "model.pdejax").model
    u = random_state(9)
    np.testing.assert_array_equal(applied(loaded, u, {"a": 0.7}), applied(model, u, {"a": 0.7}))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("shape", "domain", "message"),
    [
        ((1, 24, 24), None, r"state of 2 channels and 2 axes.*\(1, 24, 24\)"),
        ((2, 24), None, r"\(2, 24\); batches go through jax.vmap"),
        ((2, 24, 33), None, "equal numbers of points, and the axes have 24 and 33"),
        ((2, 22, 22), None, r"below modes=12, and 22 points per axis resolve those below 11"),
        ((2, 24, 24), {"extent": (1.0, 2.0)}, r"sides of the domain are \[1.0, 2.0\]"),
        ((2, 24, 24), {"extent": 1.0, "periodic": (True, False)}, r"axes of the domain differ: periodic=\(True, False"),
        ((2, 24, 24), {"extent": 1.0, "points": ("nodes", "centres")}, r"differ: points=\('nodes', 'centres'\)"),
    ],
)
def test_states_that_do_not_fit_are_refused(shape, domain, message):
    model = eqx.filter_eval_shape(lambda: GFNO(2, 5, 12, 3, num_layers=1, key=jax.random.key(0)))
    domain = None if domain is None else Grid(shape[1:], **domain, dtype=jnp.float32)
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda m, u: m(u, domain=domain), model, jax.ShapeDtypeStruct(shape, jnp.float32))


def test_a_radius_needs_to_know_where_the_points_are():
    model = eqx.filter_eval_shape(lambda: GFNO(2, 5, 4, 3, radius_channel=True, key=jax.random.key(0)))
    with pytest.raises(ValueError, match="which axes are periodic: pass domain=grid"):
        eqx.filter_eval_shape(model, jax.ShapeDtypeStruct((2, 9, 9), jnp.float32))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width >= 1, got 0"),
        ({"modes": 0}, "modes >= 1, got 0"),
        ({"group": "p6"}, r"one of \('p1', 'p4', 'p4m'\), got 'p6'"),
        ({"padding": -0.1}, "`padding` >= 0, the same fraction of both axes, got -0.1"),
        ({"norm": InstanceNorm}, r"kind that is built, e.g. pdejax.nn.InstanceNorm\(\)"),
        ({"pseudoscalar": True}, "group='p4' has none"),
        (
            {"conditioning": Conditioning(coordinates=(0, 1))},
            r"no `coordinates` in its conditioning, got \(0, 1\)",
        ),
        ({"conditioning": Conditioning(coordinates=GridEmbedding())}, "GridEmbedding.*radius_channel=True"),
        ({"conditioning": Conditioning("a", modulation=ChannelAttention())}, r"FiLM\(\).*got ChannelAttention"),
        ({"key": 7}, r"key=jax.random.key\(7\), got key=7"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    sizes = {"in_channels": 2, "out_channels": 5, "modes": 4, "width": 3, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match=message):
        GFNO(**(sizes | arguments))
