"""Files in The Well's layout: exact round trips, files of others, and clear words for files that are no such thing."""

import dataclasses
import importlib.util
import json

import h5py
import numpy as np
import pytest

from pdejax.data import Trajectories, WellWriter, read_well, write_well
from pdejax.grid import Grid
from pdejax.stretching import Stretched, TowardsPoint


def random_trajectories(names=("velocity_y", "p", "velocity_x"), shape=(6, 9), dtype=np.float32, **options):
    options = {
        "extent": [1.0 + a for a in range(len(shape))],
        "periodic": [a != 1 for a in range(len(shape))],
    } | options
    rng = np.random.default_rng(0)
    return Trajectories.from_arrays(
        rng.normal(size=(3, 4, len(names), *shape)).astype(dtype),
        Grid(shape, **options),
        names,
        [0.1, 0.3, 0.5, 0.7],
        units=[f"unit {c}" for c in range(len(names))],
        parameters={"viscosity": np.asarray([1e-3, 2e-3, 3e-3]), "drag": 0.1},
        provenance={"equation": "u_t = 0", "solver_error_one_interval": 1.25e-6, "long": "x" * 200_000},
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "names, shape",
    [
        (("velocity_y", "p", "velocity_x"), (6, 9)),
        (("u", "u_x"), (11,)),
        (("b", "velocity_z", "velocity_x", "velocity_y"), (3, 4, 5)),
        (("s_xx", "s_xy", "s_yx", "s_yy", "v_y", "v_x", "w_x"), (5, 4)),
    ],
)
def test_writing_and_reading_return_the_same_bits(tmp_path, names, shape, dtype):
    data = random_trajectories(names, shape, dtype)
    back = read_well(write_well(data, tmp_path / "a.hdf5"))
    assert back.u.dtype == dtype
    np.testing.assert_array_equal(back.u[:], data.u)
    np.testing.assert_array_equal(back.times, data.times)
    assert (back.names, back.units, back.provenance) == (data.names, data.units, data.provenance)
    for name, values in data.parameters.items():
        np.testing.assert_array_equal(back.parameters[name], values)
    assert (back.grid.shape, back.grid.periodic, back.grid.points) == (shape, data.grid.periodic, data.grid.points)
    np.testing.assert_array_equal(back.grid.extent, data.grid.extent)


def test_stretched_points_are_read_back_and_functions_refused(tmp_path):
    points = ("nodes", Stretched(TowardsPoint(0.3, 4.0), "centres"))
    grid = Grid((6, 9), (2.0, 3.0), (True, False), (0.5, -1.0), points, np.float32)
    data = dataclasses.replace(random_trajectories(("u",), (6, 9)), grid=grid)
    path = write_well(data, tmp_path / "a.hdf5")
    assert read_well(path).grid.points == points
    with h5py.File(path, "r") as file:
        np.testing.assert_allclose(file["dimensions/y"][()], grid.axes[1], rtol=1e-6)
    square = Stretched(lambda s: (s + s**2) / 2)
    own = dataclasses.replace(data, grid=Grid((6, 9), 1.0, (True, False), points=("nodes", square), dtype=np.float32))
    with pytest.raises(ValueError, match="stretched by a function of yours: use one of TowardsWalls"):
        write_well(own, tmp_path / "b.hdf5")
    assert [found.name for found in tmp_path.iterdir()] == ["a.hdf5"]


def test_the_layout_is_that_of_the_well(tmp_path):
    data = random_trajectories()
    with h5py.File(write_well(data, tmp_path / "flow.hdf5"), "r") as file:
        assert file.attrs["dataset_name"] == "flow"
        assert file.attrs["grid_type"] == "cartesian"
        assert (file.attrs["n_trajectories"], file.attrs["n_spatial_dims"]) == (3, 2)
        assert file.attrs["equation"] == "u_t = 0"
        assert json.loads(file.attrs["provenance"]) == data.provenance
        assert set(file.attrs["simulation_parameters"]) == set(file["scalars"].attrs["field_names"])
        assert file["dimensions/time"].attrs["time_varying"]
        assert file["scalars/drag"].shape == () and not file["scalars/drag"].attrs["sample_varying"]
        np.testing.assert_array_equal(file["scalars/viscosity"], data.parameters["viscosity"])
        assert list(file["t0_fields"].attrs["field_names"]) == ["p"]
        assert list(file["t1_fields"].attrs["field_names"]) == ["velocity"]
        assert list(file["t2_fields"].attrs["field_names"]) == []
        # Component order is x, y whatever the order of the channels.
        np.testing.assert_array_equal(file["t1_fields/velocity"][..., 0], data.u[:, :, 2])
        np.testing.assert_array_equal(file["t1_fields/velocity"][..., 1], data.u[:, :, 0])
        assert sorted(file["boundary_conditions"]) == ["x_periodic", "y_wall"]
        assert file["boundary_conditions/y_wall"].attrs["bc_type"] == "WALL"
        np.testing.assert_array_equal(np.flatnonzero(file["boundary_conditions/y_wall/mask"]), [0, 8])
        np.testing.assert_allclose(file["dimensions/y"], data.grid.axes[1], rtol=1e-6)


def test_vectors_are_named_where_the_channels_do_not_say_it(tmp_path):
    data = random_trajectories(("v", "p", "u"))
    path = write_well(data, tmp_path / "a.hdf5", vectors={"velocity": ("u", "v")})
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file["t1_fields/velocity"][..., 1], data.u[:, :, 0])
    back = read_well(path)
    assert back.names == ("v", "p", "u")
    np.testing.assert_array_equal(back.u[:], data.u)
    assert read_well(path, ["velocity"]).names == ("v", "u")
    scalars = write_well(random_trajectories(), tmp_path / "b.hdf5", vectors={})
    with h5py.File(scalars, "r") as file:
        assert list(file["t0_fields"].attrs["field_names"]) == ["velocity_y", "p", "velocity_x"]
    with pytest.raises(ValueError, match="has 3 components; a vector here has 2"):
        write_well(data, tmp_path / "c.hdf5", vectors={"velocity": ("u", "v", "p")})
    with pytest.raises(ValueError, match="names the channel 'w'"):
        write_well(data, tmp_path / "c.hdf5", vectors={"velocity": ("u", "w")})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5", "b.hdf5"]


def test_a_stored_array_reads_what_numpy_would(tmp_path):
    data = random_trajectories()
    stored = read_well(write_well(data, tmp_path / "a.hdf5"))
    for index in [0, -1, slice(1, 3), (1, 2), (slice(None), slice(3, None, -2)), (2, slice(1, 3), 1, slice(2, 5), -1)]:
        np.testing.assert_array_equal(stored.u[index], data.u[index])
    for index in [[2, 0], np.asarray([True, False, True]), (..., 3), ([1, 1, 0], slice(1, 3)), (0, ..., 2, 1)]:
        np.testing.assert_array_equal(stored.u[index], data.u[index])
    assert stored.u[3:].shape == (0, 4, 3, 6, 9)
    part = stored[[2, 0]].select("velocity_x", "p")
    np.testing.assert_array_equal(part.u[0, 1:3], data.u[2, 1:3][:, [2, 1]])
    np.testing.assert_array_equal(part.parameters["viscosity"], [3e-3, 1e-3])
    np.testing.assert_array_equal(np.asarray(stored.u), stored.load().u)
    with pytest.raises(IndexError, match="integers and slices beyond the first axis"):
        stored.u[:, [0, 1]]


def test_extents_and_times_that_vary_survive(tmp_path):
    data = Trajectories.from_arrays(
        np.ones((2, 3, 1, 4, 5), np.float32),
        Grid((4, 5), (1.0, 2.0)),
        ("a",),
        [2.0, 2.5, 3.0],
        parameters={"extent_y": [2.0, 8.0], "output_interval": [0.5, 0.1]},
    )
    path = write_well(data, tmp_path / "a.hdf5")
    back = read_well(path)
    np.testing.assert_array_equal(back.times_of(1), data.times_of(1))
    np.testing.assert_array_equal(back.grid_of(1).extent, data.grid_of(1).extent)
    with h5py.File(path, "a") as file:  # another reader has the coordinates alone
        np.testing.assert_allclose(file["dimensions/time"], [[2.0, 2.5, 3.0], [0.4, 0.5, 0.6]], rtol=1e-6)
        np.testing.assert_allclose(file["dimensions/y"][1], data.grid_of(1).axes[1], rtol=1e-6)
        for name in ("extent_y", "output_interval"):
            del file[f"scalars/{name}"], file.attrs[name]
        file["scalars"].attrs["field_names"] = np.asarray([], dtype=h5py.string_dtype())
        del file.attrs["pdejax"]
    foreign = read_well(path)
    np.testing.assert_allclose(foreign.times_of(1), [0.4, 0.5, 0.6], rtol=1e-6)
    np.testing.assert_allclose(foreign.grid_of(1).extent, [1.0, 8.0], rtol=1e-6)


def write_foreign(path, *, omit_axes, x=None, periodic=()):
    """A file as others write it: fields that vary in some axes only, a vector, a tensor, scalars of every kind."""
    rng = np.random.default_rng(1)
    fields = {
        ("t0_fields", "density"): (True, True, (True, True), ()),
        ("t0_fields", "obstacle"): (False, False, (True, True), ()),
        ("t0_fields", "inflow"): (True, False, (False, True), ()),
        ("t1_fields", "velocity"): (True, True, (True, True), (2,)),
        ("t2_fields", "stress"): (False, True, (True, False), (2, 2)),
    }
    strings = h5py.string_dtype()
    values = {}
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="other", grid_type="cartesian", n_spatial_dims=2, n_trajectories=3)
        file.attrs["simulation_parameters"] = np.asarray(["gravity"], dtype=strings)
        file.attrs["gravity"] = 9.81
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = np.asarray(["x", "y"], dtype=strings)
        axes = {"time": np.arange(4) / 2, "x": np.arange(5) / 5 if x is None else x, "y": (np.arange(8) + 0.5) / 4}
        for name, axis in axes.items():
            dataset = dimensions.create_dataset(name, data=np.asarray(axis, np.float32))
            dataset.attrs.update(sample_varying=False, time_varying=name == "time")
        boundaries = file.create_group("boundary_conditions")
        for name in periodic:
            boundary = boundaries.create_group(f"{name}_periodic")
            boundary.attrs["associated_dims"] = np.asarray([name], dtype=strings)
            boundary.attrs["associated_fields"] = np.asarray([], dtype=strings)
            boundary.attrs.update(bc_type="Periodic", sample_varying=False, time_varying=False)
            boundary["mask"] = np.ones(len(axes[name]), bool)
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = np.asarray(["gravity", "tilt", "clock"], dtype=strings)
        for name, data, flags in [
            ("gravity", 9.81, (False, False)),
            ("tilt", np.asarray([0.0, 0.5, 1.0]), (True, False)),
            ("clock", np.arange(4.0), (False, True)),
        ]:
            dataset = scalars.create_dataset(name, data=data)
            dataset.attrs.update(sample_varying=flags[0], time_varying=flags[1])
        for order in range(3):
            group = file.create_group(f"t{order}_fields")
            group.attrs["field_names"] = np.asarray([n for g, n in fields if g == group.name[1:]], dtype=strings)
        for (group, name), (in_sample, in_time, dims, tail) in fields.items():
            shape = (3 if in_sample else 1, 4 if in_time else 1, 5 if dims[0] else 1, 8 if dims[1] else 1, *tail)
            value = rng.normal(size=shape).astype(np.float32)
            values[name] = np.broadcast_to(value, (3, 4, 5, 8, *tail))
            dropped = [a for a, kept in enumerate((in_sample, in_time)) if not kept]
            dropped += [2 + a for a, kept in enumerate(dims) if not kept and omit_axes]
            dataset = file[group].create_dataset(name, data=np.squeeze(value, tuple(dropped)))
            dataset.attrs.update(sample_varying=in_sample, time_varying=in_time, dim_varying=list(dims))
    return values


@pytest.mark.parametrize("omit_axes", [True, False])
def test_fields_of_others_are_repeated_along_the_axes_they_lack(tmp_path, omit_axes):
    values = write_foreign(tmp_path / "other.h5", omit_axes=omit_axes, periodic=("x",))
    data = read_well(tmp_path / "other.h5")
    assert data.names == (
        *("density", "obstacle", "inflow", "velocity_x", "velocity_y"),
        *("stress_xx", "stress_xy", "stress_yx", "stress_yy"),
    )
    expected = [values["density"], values["obstacle"], values["inflow"]]
    expected += [values["velocity"][..., a] for a in range(2)]
    expected += [values["stress"][..., a, b] for a in range(2) for b in range(2)]
    np.testing.assert_array_equal(data.u[:], np.stack(expected, axis=2))
    np.testing.assert_array_equal(data.u[[2, 0], ::-2], np.stack(expected, axis=2)[[2, 0], ::-2])
    np.testing.assert_array_equal(data.parameters["gravity"], [9.81] * 3)
    np.testing.assert_array_equal(data.parameters["tilt"], [0.0, 0.5, 1.0])
    assert data.provenance == {"dataset_name": "other", "scalars_varying_in_time": ["clock"]}
    chosen = read_well(tmp_path / "other.h5", ["stress_yx", "velocity"])
    assert chosen.names == ("stress_yx", "velocity_x", "velocity_y")
    np.testing.assert_array_equal(chosen.u[1, 2, 0], values["stress"][1, 2, :, :, 1, 0])
    # x is periodic, N h long; y has walls, halfway beyond its points at 0 and 2.
    assert (data.grid.periodic, data.grid.points) == ((True, False), ("nodes", "centres"))
    np.testing.assert_allclose(data.grid.extent, [1.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize("kind", [np.bytes_("PERIODIC"), np.asarray([b"periodic"]), " Periodic"], ids=repr)
def test_a_boundary_type_is_read_in_every_form_of_text(tmp_path, kind):
    write_foreign(tmp_path / "other.h5", omit_axes=True, periodic=("x",))
    with h5py.File(tmp_path / "other.h5", "a") as file:
        file["boundary_conditions/x_periodic"].attrs["bc_type"] = kind
    assert read_well(tmp_path / "other.h5").grid.periodic == (True, False)


def test_a_boundary_without_a_type_is_refused(tmp_path):
    write_foreign(tmp_path / "other.h5", omit_axes=True, periodic=("x",))
    with h5py.File(tmp_path / "other.h5", "a") as file:
        del file["boundary_conditions/x_periodic"].attrs["bc_type"]
    with pytest.raises(ValueError, match="lacks attribute bc_type of boundary_conditions/x_periodic"):
        read_well(tmp_path / "other.h5")


def test_points_that_end_at_the_walls_are_nodes(tmp_path):
    write_foreign(tmp_path / "other.h5", omit_axes=True, x=np.linspace(-np.pi, np.pi, 5))
    grid = read_well(tmp_path / "other.h5").grid
    assert grid.points == ("nodes", "centres")
    np.testing.assert_allclose(grid.origin[0], -np.pi, rtol=3e-7)
    np.testing.assert_allclose(grid.extent[0], 2 * np.pi, rtol=3e-7)
    write_foreign(tmp_path / "other.h5", omit_axes=True, x=np.asarray([0.0, 0.1, 0.3, 0.6, 1.0]))
    with pytest.raises(ValueError, match=r"axis x is not uniform.*read_well\(..., grid=\)"):
        read_well(tmp_path / "other.h5")
    given = Grid((5, 8), (1.0, 2.0), periodic=False)
    assert read_well(tmp_path / "other.h5", grid=given).grid is given


def test_files_that_are_no_trajectories_say_what_is_wrong(tmp_path):
    path = write_well(random_trajectories(), tmp_path / "a.hdf5")
    with pytest.raises(ValueError, match=r"a\.hdf5 has no field 'temperature'; it has velocity_y, p, velocity_x"):
        read_well(path, ["p", "temperature"])
    with pytest.raises(ValueError, match=r"none\.hdf5: there is no such file"):
        read_well(tmp_path / "none.hdf5")
    (tmp_path / "cut.hdf5").write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"cut\.hdf5 is truncated.*[Cc]opy"):
        read_well(tmp_path / "cut.hdf5")
    (tmp_path / "text.hdf5").write_text("u = 1")
    with pytest.raises(ValueError, match=r"text\.hdf5 is no HDF5 file"):
        read_well(tmp_path / "text.hdf5")
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["tensor"] = np.zeros((2, 3))
    with pytest.raises(
        ValueError, match=r"foreign\.hdf5 .* lacks attribute n_spatial_dims.*group t0_fields.*from_arrays"
    ):
        read_well(tmp_path / "foreign.hdf5")
    with h5py.File(path, "a") as file:
        del file["t1_fields/velocity"]
    with pytest.raises(ValueError, match="lacks dataset t1_fields/velocity"):
        read_well(path)
    with pytest.raises(ValueError, match=r"name the file \*\.hdf5 or \*\.h5"):
        write_well(random_trajectories(), tmp_path / "a.nc")


def test_an_interrupted_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    data = random_trajectories()
    path = write_well(data, tmp_path / "a.hdf5")
    old = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), WellWriter(path, data.grid, data.names, data.times, num_samples=3) as writer:
        writer.write(0, data.u[:2])
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="2 of 3 samples are written"):
        with WellWriter(path, data.grid, data.names, data.times, num_samples=3) as writer:
            writer.write(0, data.u[:2])
            writer.finish()
    with pytest.raises(ValueError, match=r"cannot take .* at sample 2"):
        with WellWriter(path, data.grid, data.names, data.times, num_samples=3) as writer:
            writer.write(2, data.u[2:])
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]
    assert path.read_bytes() == old


def test_a_file_is_replaced_only_where_that_is_said(tmp_path):
    first, second = random_trajectories(("a",)), random_trajectories(("b",))
    path = write_well(first, tmp_path / "a.hdf5")
    with pytest.raises(ValueError, match=r"a\.hdf5 exists already.*overwrite=True"):
        write_well(second, path)
    assert read_well(path).names == ("a",)
    write_well(second, path, overwrite=True)
    assert read_well(path).names == ("b",)


@pytest.mark.usefixtures("without_shape_checks")
def test_what_a_file_cannot_hold_is_named(tmp_path):
    data = random_trajectories()
    noted = dataclasses.replace(data, provenance={"size": np.float32(0.5), "shape": np.arange(2)})
    assert read_well(write_well(noted, tmp_path / "a.hdf5")).provenance == {"size": 0.5, "shape": [0, 1]}
    with pytest.raises(ValueError, match="provenance holds a object, <object"):
        write_well(dataclasses.replace(data, provenance={"law": object()}), tmp_path / "b.hdf5")
    with WellWriter(tmp_path / "b.hdf5", data.grid, data.names, data.times, num_samples=3) as writer:
        writer.write(0, data.u)
        with pytest.raises(ValueError, match=r"cannot be called 3 in a file"):
            writer.finish({3: np.ones(3)})
        with pytest.raises(ValueError, match=r"'case' has shape \(3,\) and type <U1.*real numbers"):
            writer.finish({"case": np.asarray(["a", "b", "c"])})
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_the_reference_flow_is_read(reference_data):
    data = read_well(reference_data / "kolmogorov_train.hdf5")
    assert (data.u.shape, data.u.dtype, data.names) == ((32, 41, 1, 64, 64), np.float32, ("vorticity",))
    assert (data.grid.periodic, data.grid.points) == ((True, True), ("nodes", "nodes"))
    np.testing.assert_array_equal(data.grid.extent, np.asarray([2 * np.pi] * 2, data.grid.dtype))
    np.testing.assert_allclose(data.times, 0.2 * np.arange(41), rtol=1e-6)
    np.testing.assert_allclose(data.parameters["viscosity"], [0.005] * 32, rtol=1e-6)
    assert "jax-cfd" in data.provenance["solver"]
    with h5py.File(reference_data / "kolmogorov_train.hdf5", "r") as file:
        np.testing.assert_array_equal(data.u[30:, 5:7, 0], file["t0_fields/vorticity"][30:, 5:7])
    check = read_well(reference_data / "kolmogorov_check.hdf5")
    assert (check.u.shape, check.u.dtype) == ((1, 4, 1, 256, 256), np.float64)


@pytest.mark.skipif(importlib.util.find_spec("the_well") is None, reason="optional peer: the_well is not installed")
def test_the_well_reads_what_is_written(tmp_path):
    from the_well.data import WellDataset

    data = random_trajectories()
    write_well(data, tmp_path / "data" / "train" / "a.hdf5")
    dataset = WellDataset(
        path=str(tmp_path), well_split_name="train", n_steps_input=1, n_steps_output=3, use_normalization=False
    )
    assert len(dataset) == len(data)
    for i in range(len(data)):
        item = dataset[i]
        fields = np.concatenate([item["input_fields"].numpy(), item["output_fields"].numpy()])
        # Scalars come first there, then vectors, component by component.
        np.testing.assert_array_equal(np.moveaxis(fields, -1, 1), data.u[i][:, [1, 2, 0]])
