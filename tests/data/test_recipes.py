"""The recipes of datasets/: random states keep to their cards, and small data sets to their formats."""

import runpy
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest

import pdejax as pj

FOLDER = Path(__file__).resolve().parents[2] / "datasets"


@pytest.fixture(scope="module")
def shocks():
    return runpy.run_path(str(FOLDER / "pdebench_shocks.py"))


def drawn(shocks, name, count, cells, **more):
    setup = shocks["SETUPS"][name]
    grid = pj.Grid((cells,) * len(setup.cells), setup.extent, setup.periodic, setup.origin, "centres")
    keys = jax.random.split(jax.random.key(2), count)
    return grid, np.asarray(jax.jit(jax.vmap(lambda key: setup.initial(grid, key, **more)))(keys))


@pytest.mark.float64
def test_random_gases_keep_to_their_ranges(shocks):
    _, tubes = drawn(shocks, "tube-random", 200, 64)
    density, velocity, pressure = tubes.swapaxes(0, 1)
    for values, low, high in ((density, 1, 10), (pressure, 10, 100)):
        assert low <= values.min() <= 1.05 * low and 1.5 * high <= values.max() <= 2 * high
    assert 0.8 <= np.abs(velocity).max() <= 2
    # A window leaves nothing near the ends; about half of them have one.
    assert 0.35 <= np.mean(np.abs(velocity[:, 0]) < 1e-12) <= 0.65

    grid, tubes = drawn(shocks, "tube-shocks", 200, 64)
    jumps = np.abs(np.diff(tubes, axis=2)) > 0
    assert np.all(jumps.sum(axis=2) == 1)
    places = np.asarray(grid.axes[0])[np.argmax(jumps, axis=2)]
    assert -0.55 <= places.min() <= -0.45 and 0.45 <= places.max() <= 0.55
    for values, low, high in zip(tubes.swapaxes(0, 1), (1, np.exp(-0.5), 10), (10, np.exp(0.5), 100), strict=True):
        assert low <= values.min() <= 1.05 * low and 0.95 * high <= values.max() <= high

    _, planes = drawn(shocks, "plane-random", 40, 20, mach=0.3)
    density, pressure = planes[:, 0], planes[:, 3]
    assert np.all(density > 0) and np.all(pressure > 0)
    assert 0.1 <= density.mean(axis=(1, 2)).min() and density.mean(axis=(1, 2)).max() <= 10.5
    whole = np.abs(planes[:, 1, 0, 0]) > 1e-12
    speed = np.hypot(planes[:, 1], planes[:, 2]).mean(axis=(1, 2))
    # The mean density and temperature are those of the drawn gas up to what the waves change.
    sound = np.sqrt(5 / 3 * pressure.mean(axis=(1, 2)) / density.mean(axis=(1, 2)))
    assert 0.3 <= whole.mean() <= 0.7
    np.testing.assert_allclose(speed[whole] / sound[whole], 0.3, rtol=0.15)
    assert np.all(speed[~whole] / sound[~whole] < 0.27)


@pytest.mark.float64
def test_a_round_dam_of_its_radius_keeps_its_water(shocks, tmp_path):
    _, dams = drawn(shocks, "dam", 60, 50)
    assert np.all(dams[:, 1:] == 0) and set(np.unique(dams[:, 0])) == {1.0, 2.0}
    area = (dams[:, 0] - 1).sum(axis=(1, 2)) * 0.1**2
    radii = np.sqrt(area / np.pi)
    assert 0.28 <= radii.min() <= 0.36 and 0.64 <= radii.max() <= 0.72

    shocks["MakePDEBenchShocks"](setup="dam", out=tmp_path, samples=2, cells=18).run()
    with h5py.File(tmp_path / "2D_rdb_NA_NA.h5") as file:
        assert sorted(file) == ["0000", "0001"]
        data, text = np.asarray(file["0001/data"]), file["0001"].attrs["config"]
        assert data.shape == (101, 18, 18, 1) and data.dtype == np.float32
        np.testing.assert_allclose(file["0001/grid/t"], np.linspace(0, 1, 101), rtol=1e-6)
        radius = float(text.split("dam_radius: ")[1].split("\n")[0])
        x, y = np.meshgrid(file["0001/grid/x"], file["0001/grid/y"], indexing="ij")
    np.testing.assert_allclose(data[0, ..., 0], np.where(np.hypot(x, y) <= radius, 2, 1))
    # What moves has not come to the walls.
    np.testing.assert_allclose(data.sum(axis=(1, 2, 3)), data[0].sum(), rtol=2e-6)
    assert np.abs(data[-1] - data[0]).max() > 0.2


@pytest.mark.float64
def test_a_gas_in_a_periodic_plane_keeps_its_mass(shocks, tmp_path, capsys):
    make, path = shocks["MakePDEBenchShocks"], tmp_path / "2D_CFD_Rand_M0.1_Eta1e-08_Zeta1e-08_periodic_10_Train.hdf5"
    with pytest.raises(ValueError, match="--samples 0 must be at least 1"):
        make(setup="plane-random", out=tmp_path, samples=0, cells=10).run()
    assert not path.exists()
    make(setup="plane-random", out=tmp_path, samples=2, cells=10).run()
    said = capsys.readouterr().out
    assert f"{path}: 2 trajectories of plane-random, 10 x 10 cells, 21 frames to t = 1." in said
    # The published sets without friction are of this size.
    assert shocks["SETUPS"]["plane-random"].cells == (512, 512)
    with h5py.File(path) as file:
        for name in ("density", "Vx", "Vy", "pressure"):
            assert (file[name].shape, file[name].dtype) == ((2, 21, 10, 10), np.float32)
        assert len(file["t-coordinate"]) == 22 and len(file["y-coordinate"]) == 10
        assert dict(file.attrs) == {"eta": 1e-8, "zeta": 1e-8, "M": 0.1}
        density, pressure = np.asarray(file["density"], float), np.asarray(file["pressure"])
    mass = density.sum(axis=(2, 3))
    np.testing.assert_allclose(mass, np.broadcast_to(mass[:, :1], mass.shape), rtol=1e-6)
    assert density.min() > 0 and pressure.min() > 0
    assert np.abs(density[:, -1] - density[:, 0]).max() > 0.01


@pytest.mark.float64
def test_message_passing_files_hold_averages_of_averages(tmp_path):
    recipe = runpy.run_path(str(FOLDER / "message_passing.py"))
    recipe["MakeMessagePassing"](out=tmp_path, tasks=("E1",), train=0, valid=0, test=1, cells=200).run()
    with h5py.File(tmp_path / "CE_test_E1.h5") as file:
        group = file["test"]
        fine, coarse = np.asarray(group["pde_250-200"]), np.asarray(group["pde_250-50"])
        assert (fine.shape, coarse.shape, fine.dtype) == ((1, 250, 200), (1, 250, 50), np.float64)
        assert (group["alpha"][0], group["beta"][0], group["gamma"][0]) == (1.0, 0.0, 0.0)
        amplitudes, wavenumbers, phases = (group[name][0] for name in ("amplitudes", "wavenumbers", "phases"))
        x, dx = group["pde_250-50"].attrs["x"], group["pde_250-50"].attrs["dx"]
    np.testing.assert_allclose(coarse, fine.reshape(1, 250, 50, 4).mean(axis=3), atol=1e-14)
    # The initial state is the force at t = 0, its averages in closed form.
    exact = sum(
        a * np.sinc(k * dx / (2 * np.pi)) * np.sin(k * x + phi)
        for a, k, phi in zip(amplitudes, wavenumbers, phases, strict=True)
    )
    np.testing.assert_allclose(coarse[0, 0], exact, atol=1e-12)
    assert 0.05 <= np.abs(coarse[0, -1] - coarse[0, 0]).max()


@pytest.mark.float64
def test_message_passing_splits_have_draws_of_their_own_whatever_their_sizes(tmp_path):
    make = runpy.run_path(str(FOLDER / "message_passing.py"))["MakeMessagePassing"]
    common = {"tasks": ("E1",), "cells": 200}
    make(out=tmp_path / "all", train=2, valid=1, test=1, **common).run()
    for split in ("train", "valid", "test"):
        counts = {"train": 0, "valid": 0, "test": 0, split: 1}
        make(out=tmp_path / split, **counts, **common).run()

    def phases(folder, split):
        with h5py.File(tmp_path / folder / f"CE_{split}_E1.h5") as file:
            return [tuple(row) for row in np.asarray(file[split]["phases"])]

    together = [phases("all", split) for split in ("train", "valid", "test")]
    assert len({row for rows in together for row in rows}) == 4
    # Made alone, and of another size, a split begins with the same trajectory.
    for split, rows in zip(("train", "valid", "test"), together, strict=True):
        assert phases(split, split) == rows[:1]
    with pytest.raises(ValueError, match="Nothing to make"):
        make(out=tmp_path / "none", train=0, valid=0, test=0, **common).run()
