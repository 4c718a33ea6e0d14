"""Finite volumes as rivals: shocks between walls, a planted coarse solver, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.boundary import Dirichlet, Outflow, Reflecting
from pdejax.cli.equation import of_data
from pdejax.equations import Burgers, ShallowWater
from pdejax.evaluate import OnDataGrid, VolumeRivals, evaluate
from pdejax.solvers import SSPRK3, Hancock
from pdejax.volumes import HLL, MUSCL, WENO, remap

WATER = ShallowWater(1.0)
WALLS = pj.Grid((24, 16), (1.5, 1.0), periodic=False, points="centres")


def dam(grid, key):
    """A column of water at a random place; the averages over the cells of any grid, from those of a fine one."""
    fine = grid.with_shape((48, 32))
    x, y = fine.coordinates()
    place = jax.random.uniform(key, (2,), minval=0.4, maxval=0.7).astype(grid.dtype)
    column = (x - 1.4 * place[0]) ** 2 + (y - place[1]) ** 2 < 0.05
    u = jnp.stack([1.0 + column, 0 * x, 0 * x])
    return remap(u, fine, grid)


@pytest.fixture(scope="module")
def data():
    fine = WALLS.with_shape((48, 32))
    reading = pj.FiniteVolume(fine, MUSCL(), HLL(), Reflecting())
    stepper = pj.TimeStepper(WATER, reading, 0.1, 10)
    return pj.generate(
        stepper, dam, num_samples=3, num_steps=3, store=WALLS, key=jax.random.key(0), measure_error=0, progress=False
    )


def test_a_planted_coarse_solver_is_worth_itself(data, tmp_path):
    reading = pj.FiniteVolume(WALLS, MUSCL(), HLL(), Reflecting())
    family = VolumeRivals(reading, fractions=(1.0, 0.5), courant_numbers=(0.8,))
    planted = pj.TimeStepper(WATER, pj.FiniteVolume(WALLS.with_shape((12, 8)), MUSCL(), HLL(), Reflecting()), 0.1, 3)
    planted = OnDataGrid(planted, WALLS)
    report = evaluate({"planted": planted}, data, WATER, family=family, at=0.3, timing_seconds=0.5, progress=False)
    rivals = report.of_kind("rival")
    schemes = ("MUSCL(van_leer)+Hancock", "MUSCL(van_leer)+SSPRK3", "WENO(5)+SSPRK3")
    expected = {f"{points} {scheme}" for points in ("24x16", "12x8") for scheme in schemes}
    assert {name.split(" h=")[0] for name in rivals} == expected
    errors = {name.split(" h=")[0]: result.error for name, result in rivals.items()}
    assert errors["24x16 MUSCL(van_leer)+SSPRK3"] < errors["12x8 MUSCL(van_leer)+SSPRK3"] < 0.3
    assert report.results["planted"].error == pytest.approx(errors["12x8 MUSCL(van_leer)+SSPRK3"], rel=0.02)
    # On their own cells coarse solvers are themselves: states made finer by a whole number do not change them.
    frames = pj.rollout(planted, data.u[0, 0], 3)
    alone = pj.rollout(planted.stepper, remap(data.u[0, 0], WALLS, planted.stepper.grid), 3)
    np.testing.assert_allclose(remap(frames, WALLS, planted.stepper.grid), alone, rtol=1e-5, atol=1e-6)
    report.save(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "finite-volume solvers" in page and "the CFL number that h has" in page
    assert "dealiased" not in page + str(report)


def test_steps_follow_the_fastest_waves_at_each_resolution():
    """Of all states and of each state's own coefficients; no rival is coarser than asked for along any axis."""
    reading = pj.FiniteVolume(WALLS, MUSCL(), HLL(), Reflecting())
    schemes, numbers = ((MUSCL(), Hancock()), (MUSCL(), SSPRK3())), (0.8, 0.4)
    family = VolumeRivals(reading, schemes, (1.0, 0.5, 0.25), numbers, least_points=8)
    assert family.shapes(WALLS) == [(24, 16), (12, 8)]
    depth = np.ones((2, 24, 16), np.float32) * np.array([1.0, 2.0], np.float32)[:, None, None]
    states = np.stack([depth, 0 * depth, 0 * depth], axis=1)
    own = {"times": np.array([0.0, 0.7]), "coefficients": {"gravity": np.array([9.0, 1.0], np.float32)}}
    rivals = family.rivals(WATER, WALLS, 0.31, states, family.shapes(WALLS), **own)
    assert len(rivals) == 8
    for name, rival in rivals.items():
        n, m = rival.stepper.grid.shape
        # The shallower water has the stronger gravity: celerity 3 beside sqrt(2).
        crossings = 0.31 * 3.0 * (n / 1.5 + m / 1.0)
        allowed = {int(np.ceil(crossings / number - 1e-3)) for number in numbers}
        assert rival.stepper.substeps in allowed, name
    assert {rival.stepper.substeps for rival in rivals.values()} == {
        int(np.ceil(0.31 * 3.0 * (n / 1.5 + m) / number - 1e-3)) for n, m in ((24, 16), (12, 8)) for number in numbers
    }


def test_what_makes_no_sense_is_refused(data):
    reading = pj.FiniteVolume(WALLS, MUSCL(), HLL(), Reflecting())
    with pytest.raises(ValueError, match=r"need a periodic grid.*family=VolumeRivals"):
        evaluate({"still": OnDataGrid(pj.TimeStepper(WATER, reading, 0.1, 6), WALLS)}, data, WATER, progress=False)
    with pytest.raises(ValueError, match="takes a FiniteVolume, got"):
        VolumeRivals(WALLS)
    with pytest.raises(ValueError, match=r"fractions in \(0, 1\], got \(2.0,\)"):
        VolumeRivals(reading, fractions=(2.0,))
    with pytest.raises(ValueError, match="needs a scheme"):
        VolumeRivals(reading, schemes=())
    with pytest.raises(ValueError, match="functions, not arrays"):
        VolumeRivals(pj.FiniteVolume(WALLS, boundary={"x": Dirichlet(jnp.ones((1, 16))), "y": 0.0}))
    family = VolumeRivals(reading, ((WENO(3), SSPRK3()),), (0.5,), (0.5,))
    no_law = {"times": np.zeros(1), "coefficients": {}}
    with pytest.raises(ValueError, match="Burgers states no flux, which VolumeRivals read"):
        family.rivals(Burgers(0.1), WALLS, 0.1, np.ones((1, 3, 24, 16)), [(12, 8)], **no_law)
    with pytest.raises(ValueError, match="build them on the data's box"):
        family.rivals(WATER, pj.Grid((24, 16), 1.0, periodic=False), 0.1, np.ones((1, 3, 24, 16)), [(12, 8)], **no_law)
    with pytest.raises(ValueError, match=r"made between the walls .*Reflecting.*and these rivals have .*Outflow"):
        others = pj.FiniteVolume(WALLS, MUSCL(), HLL(), Outflow())
        still = {"still": OnDataGrid(pj.TimeStepper(WATER, reading, 0.1, 6), WALLS)}
        evaluate(still, data, WATER, family=VolumeRivals(others), progress=False)
    with pytest.raises(ValueError, match="trajectory 0 is no state of ShallowWater: its depth is as low as -2"):
        stepper = pj.TimeStepper(WATER, reading, 0.1, 6)
        pj.generate(stepper, lambda grid, key: -dam(grid, key), num_samples=1, num_steps=1, key=jax.random.key(0))
    with pytest.raises(ValueError, match="none of ShallowWater"):
        family.rivals(WATER, WALLS, 0.1, -np.ones((1, 3, 24, 16)), [(12, 8)], **no_law)


def test_a_bottom_is_not_forgotten():
    """A file cannot hold a function; that there was one it can."""
    reading = pj.FiniteVolume(WALLS, MUSCL(), HLL(), Reflecting())
    bumpy = ShallowWater(1.0, lambda x: 0.2 * x[0])
    stepper = pj.TimeStepper(bumpy, reading, 0.05, 4)
    data = pj.generate(stepper, dam, num_samples=1, num_steps=1, key=jax.random.key(0), measure_error=0, progress=False)
    assert list(data.provenance["functions"]) == ["bottom"]
    with pytest.raises(ValueError, match=r"with functions for \['bottom'\], and the rivals would have them for none"):
        evaluate({"still": OnDataGrid(stepper, WALLS)}, data, WATER, family=VolumeRivals(reading), progress=False)
    with pytest.raises(ValueError, match="bottom of ShallowWater was a function when this file was made"):
        of_data(data, None, {})
