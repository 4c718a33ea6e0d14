"""What comes back from layers, against the same waves in a box so large that nothing has come back yet."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import Grid, yee
from pdejax.yee import Conductor, Maxwell, PerfectlyMatchedLayer, YeeStepper
from pdejax.yee.walls import stretching

pytestmark = pytest.mark.float64
H = (1.0, 0.8, 1.1)
SPACE = ("Ez", "Hx", "Hy", "Ex", "Ey", "Hz")


def frames_in_a_box(cells, below, above, boundary, periodic, components, middle, duration, waist, num_frames, **media):
    """The fields at `cells` inner cells, below and above which lie others; a pulse of current there starts them."""
    ndim = len(cells)
    shape = [sum(parts) for parts in zip(below, cells, above, strict=True)]
    grid = Grid(shape, np.array(shape) * H[:ndim], periodic=periodic, origin=-np.array(below) * H[:ndim])

    def current(x, t):
        s = (t - 4.5 * duration) / duration
        place = sum((x[a] - middle[a]) ** 2 for a in range(ndim) if not periodic[a])
        return -2 * s * jnp.exp(-(s**2)) * jnp.exp(-place / waist**2)

    @eqx.filter_jit
    def run():
        maxwell = Maxwell(grid, boundary=boundary, current={"Ez": current}, components=components, **media)
        return yee.rollout(YeeStepper(maxwell, 3.0, substeps=6), maxwell.initial(), num_frames)[0]

    inner = tuple(slice(b, b + n) for b, n in zip(below, cells, strict=True))
    return np.asarray(run())[(slice(None), slice(None), *inner)]


def reflection(fields, reference):
    """The largest error of all components over what Ez was at an edge of the inner cells, on its way out."""
    return np.abs(fields - reference).max() / np.abs(reference[:, 0, 1]).max()


def test_a_line_reflects_less_the_thicker_its_layers_are():
    def pulse(thickness, shift):
        n, layers = 80, PerfectlyMatchedLayer(thickness, shift=shift)

        @jax.jit
        def run():
            # H = 0: two pulses of half the height, one to each end.
            maxwell = Maxwell(Grid(n, 80.0, periodic=False), 2.0, 0.5, boundary=layers, components=("Ey", "Hz"))
            state = maxwell.initial(Ey=lambda x: jnp.exp(-(((x[0] - 38) / 5) ** 2)))
            return YeeStepper(maxwell, 200.0, 400)(state).fields

        return np.abs(run()[:, thickness : n - thickness]).max() / 0.5

    reflections = [pulse(thickness, 0.0) for thickness in (8, 12, 16)]
    assert reflections[0] < 1e-7 and reflections[1] < 1e-9 and reflections[2] < 1e-11, reflections
    # A pulse with a mean: what hardly changes is not absorbed where alpha is positive.
    assert 1e-9 < pulse(12, 0.1) < 1e-5


def test_a_point_source_in_the_plane():
    cells, common = (24, 20), ((False, False), yee.TM, (9.0, 8.0), 5.0, 0.1, 24)
    reference = frames_in_a_box(cells, (36, 45), (36, 45), None, *common)
    reflections = []
    for thickness in (8, 12, 16):
        layers = (thickness, thickness)
        fields = frames_in_a_box(cells, layers, layers, PerfectlyMatchedLayer(thickness), *common)
        reflections.append(reflection(fields, reference))
    assert reflections[0] < 5e-4 and reflections[1] < 5e-5 and reflections[2] < 1e-5, reflections
    bounded = frames_in_a_box(cells, (12, 12), (0, 12), {"x+": Conductor(), "*": PerfectlyMatchedLayer(12)}, *common)
    assert reflection(bounded, reference) > 0.5


def test_materials_reach_into_stretched_layers():
    # A guide of glass along x, in a medium that conducts.
    cells, common = (24, 20), ((False, False), yee.TM, (9.0, 8.0), 5.0, 0.1, 24)
    media = {"permittivity": lambda x: jnp.where(jnp.abs(x[1] - 8) < 2.5, 2.25, 1.0), "conductivity": 0.02}
    reference = frames_in_a_box(cells, (36, 45), (36, 45), None, *common, **media)
    layers = PerfectlyMatchedLayer(14, stretching=2.0)
    fields = frames_in_a_box(cells, (14, 14), (14, 14), layers, *common, **media)
    assert reflection(fields, reference) < 1e-4, reflection(fields, reference)


def test_a_source_in_space():
    cells, pad, layers = (14, 15, 12), (18, 22, 17), (12, 12, 12)
    common = ((False,) * 3, SPACE, (6.5, 6.2, 6.3), 3.2, 1.5, 13)
    reference = frames_in_a_box(cells, pad, pad, None, *common)
    fields = frames_in_a_box(cells, layers, layers, PerfectlyMatchedLayer(12), *common)
    assert reflection(fields, reference) < 1e-4, reflection(fields, reference)


def test_layers_beside_a_conductor_and_a_periodic_axis():
    # Layers of unequal thickness along x, a conductor below and a layer above along y, and around along z.
    cells, boundary = (18, 16, 4), {"x-": PerfectlyMatchedLayer(9), "x+": PerfectlyMatchedLayer(12)}
    common = ((False, False, True), SPACE, (9.0, 5.2, 0.0), 4.0, 1.5, 17)
    reference = frames_in_a_box(cells, (26, 0, 0), (26, 34, 0), None, *common)
    layers = {**boundary, "y+": PerfectlyMatchedLayer(10)}
    fields = frames_in_a_box(cells, (9, 0, 0), (12, 10, 0), layers, *common)
    assert reflection(fields, reference) < 1e-4, reflection(fields, reference)


def test_oblique_waves_around_a_periodic_axis():
    # A packet of waves 16 cells long, at 60 degrees to the layers' normal.
    n, length, angle = 120, 16.0, np.pi / 3
    kx, ky = 2 * np.pi / length * np.cos(angle), 2 * np.pi / length * np.sin(angle)

    def frames(more, boundary):
        grid = Grid((n + 2 * more, 8), (n + 2.0 * more, 2 * np.pi / ky), periodic=(False, True), origin=(-more, 0.0))

        @jax.jit
        def run():
            maxwell = Maxwell(grid, boundary=boundary, components=yee.TM)
            packet = maxwell.initial(
                Ez=lambda x: jnp.exp(-(((x[0] - 60) / 14) ** 2)) * jnp.cos(kx * (x[0] - 60)) * jnp.cos(ky * x[1])
            )
            return yee.rollout(YeeStepper(maxwell, 40.0, 60), packet, 7)[0]

        return np.asarray(run())[:, :, more : more + n]

    error = np.abs(frames(12, PerfectlyMatchedLayer(12)) - frames(130, None)).max() / 0.5
    assert 1e-6 < error < 1e-4, error


def test_layers_at_both_walls_are_mirror_images_and_as_the_formulas_say():
    """In the middle of cells, where place a of n is met by n - 1 - a, and on their edges, where it is met by n - a."""
    n, thickness, h, speed, dt = 13, 4, 0.7, 1.3, 0.2
    grid, layer = Grid(n, n * h, periodic=False), PerfectlyMatchedLayer(thickness, stretching=2.0, shift=0.3)
    for name, half in (("Ey", 0.0), ("Hz", 0.5)):
        at_both = stretching(((layer, layer),), grid, name, 0, speed, dt)
        kappa, decay, gain = at_both.kappa, np.ones(n), np.zeros(n)
        for whole, part in ((decay, at_both.decay), (gain, at_both.gain)):
            whole[:thickness], whole[-thickness:] = part[:thickness], part[thickness:]
        for whole in (kappa, decay, gain):
            # The edge at the upper wall, n, is not stored: a conductor holds it.
            ours, mirrored = (whole, whole[::-1]) if half else (whole[1:], whole[:0:-1])
            deep = slice(thickness) if half else slice(thickness - 1)
            np.testing.assert_allclose(ours[deep], mirrored[deep], rtol=1e-13, atol=1e-15)
        depth = (thickness - np.arange(thickness) - half) / thickness
        sigma = 4.5 * speed / h * depth**3.5
        alpha = 0.3 * speed / (thickness * h) * (1 - depth)
        stretched = 1 + depth**3.5
        np.testing.assert_allclose(kappa[:thickness], stretched, rtol=1e-13)
        np.testing.assert_array_equal(kappa[thickness:-thickness], 1)
        np.testing.assert_allclose(decay[:thickness], np.exp(-(sigma / stretched + alpha) * dt), rtol=1e-13)
        expected = sigma * (decay[:thickness] - 1) / (stretched * (sigma + stretched * alpha))
        np.testing.assert_allclose(gain[:thickness], expected, rtol=1e-12)


def test_layers_follow_the_fastest_material():
    """Where light is slow in half of the box, the layers are those of the other half."""
    grid, layer = Grid(20, 20.0, periodic=False), PerfectlyMatchedLayer(5)
    common = {"boundary": layer, "components": ("Ey", "Hz")}
    mixed = Maxwell(grid, lambda x: jnp.where(x[0] < 10, 1.0, 9.0), **common).stretchings(0.1)
    for key, one in Maxwell(grid, 1.0, **common).stretchings(0.1).items():
        np.testing.assert_allclose(mixed[key].decay, one.decay, rtol=1e-13)
        assert np.min(one.decay) < 0.9
