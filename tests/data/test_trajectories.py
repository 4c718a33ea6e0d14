"""Trajectories: what they refuse, and that splitting keeps fields, parameters and names together."""

import jax
import numpy as np
import pytest

from pdejax.data import Trajectories
from pdejax.grid import Grid


def numbered(num_samples=10, num_frames=3):
    """Sample i is constant i in channel `a` and -i in channel `b`, and its parameter is i / 10."""
    grid = Grid((4, 5), (1.0, 2.0))
    i = np.arange(num_samples, dtype=np.float32).reshape(-1, 1, 1, 1, 1)
    u = np.concatenate([i, -i], axis=2) * np.ones((num_samples, num_frames, 2, 4, 5), np.float32)
    times = 0.5 + 0.25 * np.arange(num_frames)
    return Trajectories.from_arrays(
        u, grid, ("a", "b"), times, units=("m", "s"), parameters={"level": i.ravel() / 10, "fixed": 2.0}
    )


def samples_of(data):
    return data.u[:, 0, 0, 0, 0].astype(int).tolist()


def test_a_split_by_counts_is_disjoint_and_carries_the_parameters():
    split = numbered().split(train=6, valid=1, test=2)
    assert [samples_of(part) for part in split] == [[0, 1, 2, 3, 4, 5], [6], [7, 8]]
    np.testing.assert_allclose(split.test.parameters["level"], [0.7, 0.8], rtol=1e-6)


@pytest.mark.parametrize("total", [7, 10, 13])
def test_fractions_that_sum_to_one_use_every_trajectory_once(total):
    split = numbered(total).split(0.7, 0.15, 0.15)
    assert [i for part in split for i in samples_of(part)] == list(range(total))
    assert min(len(part) for part in split) >= 1


def test_a_key_shuffles_trajectories_and_keeps_them_whole():
    split = numbered().split(5, 5, key=jax.random.key(1))
    assert sorted(samples_of(split.train) + samples_of(split.valid)) == list(range(10))
    assert samples_of(split.train) != [0, 1, 2, 3, 4]
    np.testing.assert_allclose(split.train.parameters["level"] * 10, samples_of(split.train), rtol=1e-6)
    np.testing.assert_array_equal(split.train.u[:, :, 1], -split.train.u[:, :, 0])


@pytest.mark.parametrize(
    "parts, complaint",
    [
        ((8, 2, 1), "11 trajectories in all; there are 10"),
        ((0.9, 0.2, 0.0), "11 trajectories in all"),
        ((8, 0.1, 0.1), "not a mixture"),
        ((0.9, 0.04, 0.06), "valid=0.04 of 10 trajectories is not even one"),
        ((0, 5, 5), "train > 0"),
    ],
)
def test_a_split_that_cannot_be_says_why(parts, complaint):
    with pytest.raises(ValueError, match=complaint):
        numbered().split(*parts)


def test_a_split_by_parameter_keeps_the_ranges_apart():
    split = numbered().split_by_parameter("level", train=(0.0, 0.45), test=(0.65, 2.0))
    assert samples_of(split.train) == [0, 1, 2, 3, 4]
    assert samples_of(split.test) == [7, 8, 9]
    assert len(split.valid) == 0
    with pytest.raises(ValueError, match="two parts of the split"):
        numbered().split_by_parameter("level", train=(0.0, 0.5), test=(0.45, 1.0))
    with pytest.raises(ValueError, match=r"run from 0 to 0\.9"):
        numbered().split_by_parameter("level", train=(0.0, 0.5), test=(3.0, 4.0))
    with pytest.raises(ValueError, match=r"no parameter 'viscosity'; the parameters are \['fixed', 'level'\]"):
        numbered().split_by_parameter("viscosity", train=(0.0, 0.5))


def test_indexing_and_selecting_keep_fields_names_and_units_together():
    data = numbered()
    assert samples_of(data[[7, 2]]) == [7, 2]
    assert samples_of(data[-1]) == [9]
    assert samples_of(data[data.parameters["level"] > 0.75]) == [8, 9]
    assert [samples_of(one) for one in data[:3]] == [[0], [1], [2]]
    swapped = data.select("b", "a")
    assert (swapped.names, swapped.units) == (("b", "a"), ("s", "m"))
    np.testing.assert_array_equal(swapped.u, data.u[:, :, ::-1])
    with pytest.raises(ValueError, match=r"no channel \['c'\]; the channels are \['a', 'b'\]"):
        data.select("a", "c")
    with pytest.raises(IndexError, match="trajectory 10 of 10"):
        data[10]
    with pytest.raises(IndexError, match="by sample alone"):
        data[0, 1]


def test_arrays_that_do_not_fit_together_are_refused():
    grid = Grid((4, 5), 1.0)
    u = np.zeros((3, 2, 1, 4, 5), np.float32)
    times = [0.0, 1.0]
    with pytest.raises(ValueError, match="one channel still has a channel axis"):
        Trajectories.from_arrays(u[:, :, 0], grid, ("a",), times)
    with pytest.raises(ValueError, match="as many distinct names"):
        Trajectories.from_arrays(u, grid, ("a", "b"), times)
    with pytest.raises(ValueError, match="say when they were taken"):
        Trajectories.from_arrays(u, grid, ("a",))
    with pytest.raises(ValueError, match="increasing"):
        Trajectories.from_arrays(u, grid, ("a",), [1.0, 1.0])
    with pytest.raises(ValueError, match=r"'nu' has shape \(2,\); 3 trajectories"):
        Trajectories.from_arrays(u, grid, ("a",), times, parameters={"nu": [1.0, 2.0]})
    u[2, 1, 0, 3, 3] = np.nan
    with pytest.raises(ValueError, match=r"u\[2\] is not finite from frame 1 \(t = 1\)"):
        Trajectories.from_arrays(u, grid, ("a",), times)


def test_one_name_and_one_unit_serve_one_channel():
    u = np.zeros((3, 2, 1, 4, 5), np.float32)
    data = Trajectories.from_arrays(u, Grid((4, 5), 1.0), "vorticity", [0.0, 1.0], units="1/s")
    assert (data.names, data.units) == (("vorticity",), ("1/s",))
    assert data.rename("w").names == ("w",)


@pytest.mark.parametrize("values", [["a", "b", "c"], "a", [None] * 3, [1j] * 3], ids=repr)
def test_parameters_are_real_numbers(values):
    u = np.zeros((3, 2, 1, 4, 5), np.float32)
    with pytest.raises(ValueError, match=r"Parameter 'case' holds .*words go into `provenance`"):
        Trajectories.from_arrays(u, Grid((4, 5), 1.0), ("a",), [0.0, 1.0], parameters={"case": values})


@pytest.mark.usefixtures("without_shape_checks")
def test_parameters_have_names():
    u = np.zeros((3, 2, 1, 4, 5), np.float32)
    with pytest.raises(ValueError, match="called by a text, got 7"):
        Trajectories.from_arrays(u, Grid((4, 5), 1.0), ("a",), [0.0, 1.0], parameters={7: 1.0})


def test_complex_values_are_refused(without_shape_checks):
    u = np.zeros((3, 2, 1, 4, 5), np.complex64)
    with pytest.raises(ValueError, match="two real channels"):
        Trajectories.from_arrays(u, Grid((4, 5), 1.0), ("a",), [0.0, 1.0])


def test_box_and_times_of_a_trajectory_follow_its_parameters():
    u = np.zeros((2, 3, 1, 4, 5), np.float32)
    data = Trajectories.from_arrays(
        u,
        Grid((4, 5), (1.0, 2.0), origin=(0.5, 0.0)),
        ("a",),
        [2.0, 2.5, 3.0],
        parameters={"extent_y": [2.0, 8.0], "output_interval": [0.5, 0.1]},
    )
    np.testing.assert_allclose(data.grid_of(1).extent, [1.0, 8.0])
    np.testing.assert_allclose(data.grid_of(1).origin, [0.5, 0.0])
    np.testing.assert_allclose(data.times_of(0), [2.0, 2.5, 3.0])
    np.testing.assert_allclose(data.times_of(1), [0.4, 0.5, 0.6])  # a burn-in of four intervals, scaled too


def test_xarray_and_text_say_what_is_there():
    data = numbered()
    exported = data.to_xarray()
    assert exported["b"].dims == ("sample", "time", "x", "y")
    np.testing.assert_array_equal(exported["b"].sel(sample=4).values, data.u[4, :, 1])
    np.testing.assert_allclose(exported["y"].values, data.grid.axes[1])
    np.testing.assert_array_equal(exported["level"].values, data.parameters["level"])
    text = repr(data)
    for words in ("10 x 3 frames", "t = 0.5 .. 1", "a [m], b [s]", "(4, 5)", "0 .. 0.9"):
        assert words in text


def test_a_shape_is_no_grid(without_shape_checks):
    with pytest.raises(TypeError, match=r"must be a pdejax.Grid\(shape, extent\), got \(8, 9\)"):
        Trajectories.from_arrays(np.ones((2, 1, 1, 8, 9)), (8, 9), "u")
