"""Solves that go on where another one ended, bit for bit."""

import functools
import os

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.equations import Burgers, Diffusion
from pdejax.solvers import (
    ETDRK4,
    CourantLimited,
    ExponentialAdamsBashforth3,
    KenCarp4,
    NotFinite,
    load_restart,
    save_restart,
)
from pdejax.solvers.restart import described

GRID = pj.Grid(24, 2 * np.pi)
U0 = (jnp.sin(GRID.axes[0]) + 0.3)[None]
# A start that is no round number, and a cut that no step would end on by itself.
TIMES = [0.1, 0.37, 1.3]


def solve(ts, u0=U0, equation=None, reading=None, **options):
    equation = Burgers(0.2) if equation is None else equation
    return pj.solve(equation, pj.Spectral(GRID) if reading is None else reading, u0, ts, **options)


@pytest.mark.float64
@pytest.mark.parametrize(
    "options",
    [
        {"solver": ETDRK4(), "rtol": 1e-5},
        {"solver": KenCarp4(), "rtol": 1e-5},
        {"solver": diffrax.Tsit5(), "rtol": 1e-4},
        {"solver": diffrax.Tsit5(), "dt": 0.01},
        {"solver": ExponentialAdamsBashforth3(), "dt": 0.02},
        {"solver": ETDRK4(), "dt": CourantLimited(0.3)},
    ],
    ids=["ETDRK4", "KenCarp4", "Tsit5", "Tsit5, fixed", "multistep", "Courant"],
)
def test_two_solves_give_the_bits_of_one(options, tmp_path):
    whole = solve(TIMES, **options)
    first = solve(TIMES[:2], **options)
    save_restart(tmp_path / "restart", first.resume)
    second = solve(TIMES[1:], None, resume=load_restart(tmp_path / "restart"), **options)
    np.testing.assert_array_equal(first.u, whole.u[:2])
    np.testing.assert_array_equal(second.u, whole.u[1:])
    assert int(first.num_steps) + int(second.num_steps) == int(whole.num_steps)


@pytest.mark.float64
def test_a_restart_of_another_problem_is_refused_with_both_named():
    first = solve(TIMES[:2], dt=0.02)
    on = lambda ts=TIMES[1:], resume=first.resume, **options: solve(ts, None, resume=resume, **options)  # noqa: E731
    for options, match in (
        ({"dt": 0.02, "equation": Burgers(0.3)}, r"another equation: .*viscosity=0.2.*viscosity=0.3"),
        ({"dt": 0.02, "reading": pj.Spectral(pj.Grid(24, 5.0))}, r"another grid: .*6.28.*5.0"),
        ({"dt": 0.02, "reading": pj.Spectral(GRID, 0.5)}, r"another discretisation: .*auto.*0.5"),
        ({"dt": 0.02, "solver": KenCarp4()}, r"another solver: .*ETDRK4.*KenCarp4"),
        ({"rtol": 1e-3}, r"another kind of steps: .*fixed.*adaptive"),
        ({"dt": 0.02, "ts": [0.4, 0.6]}, r"restart is at t = 0.37, but ts begins at 0.4"),
    ):
        with pytest.raises(ValueError, match=match):
            on(**options)
    with pytest.raises(ValueError, match="give one of the two"):
        solve(TIMES[1:], U0, resume=first.resume, dt=0.02)
    stopped = solve(TIMES, dt=0.02, until=[NotFinite(), lambda t, u: t > 0.5])
    with pytest.raises(ValueError, match="ended before its last time"):
        on([0.6, 1.2], stopped.resume, dt=0.02)


@pytest.mark.float64
def test_functions_are_compared_by_what_they_were_compiled_to():
    grid = pj.Grid(12, 1.0, periodic=False)
    at = lambda rate: lambda x, t: jnp.sin(rate * t)  # noqa: E731
    reading = lambda wall: pj.FiniteDifference(grid, 2, {"x-": wall, "x+": 0.0})  # noqa: E731
    solve = lambda wall, u, ts, **options: pj.solve(Diffusion(0.1), reading(wall), u, ts, dt=0.01, **options)  # noqa: E731
    first = solve(at(1.0), jnp.zeros((1, 12)), [0.0, 0.02])
    for other in (at(2.0), lambda x, t: jnp.cos(t)):
        with pytest.raises(ValueError, match="another discretisation"):
            solve(other, None, [0.02, 0.04], resume=first.resume)
    assert solve(at(1.0), None, [0.02, 0.04], resume=first.resume).u.shape == (2, 1, 12)


def test_functions_are_described_by_all_that_they_hold():
    """Arguments of a partial, defaults, what a method is bound to, numbers in functions inside."""

    class Wall:
        def __init__(self, height):
            self.height = height

        def __call__(self, x, t):
            return self.height * t

        def method(self, x, t):
            return self.height * t

        def __repr__(self):
            return f"Wall({self.height})"

    def scaled(factor, x, t):
        return factor * t

    pairs = [
        [functools.partial(scaled, factor) for factor in (1.0, 50.0)],
        [functools.partial(scaled, factor=factor) for factor in (1.0, 50.0)],
        [lambda x, t, factor=factor: factor * t for factor in (1.0, 50.0)],
        [Wall(height).method for height in (1.0, 50.0)],
        [lambda x, t: (lambda: 1.0 * t)(), lambda x, t: (lambda: 50.0 * t)()],
    ]
    for one, other in pairs:
        assert described(one) != described(other)
    assert described(functools.partial(scaled, 1.0)) == described(functools.partial(scaled, 1.0))


def test_files_that_are_none_are_refused_and_an_interrupted_write_leaves_none(tmp_path, monkeypatch):
    path = tmp_path / "restart"
    restart = solve(TIMES[:2], dt=0.02).resume
    save_restart(path, restart)
    content = path.read_bytes()
    for damaged, match in (
        (b"something else", "is not a pdejax restart file"),
        (content[:20], "is truncated"),
        (content[:-8], "is truncated"),
        (content[:-1] + bytes([content[-1] ^ 1]), "do not match their checksum"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=match):
            load_restart(path)
    path.unlink()
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_restart(path, restart)
    assert list(tmp_path.iterdir()) == []
