"""Figures show the right numbers in the right place, and files are whole or absent."""

import matplotlib
import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from pdejax import plotting
from pdejax.grid import Grid
from pdejax.metrics import bootstrap_interval
from pdejax.plotting.style import colour_limits
from pdejax.stretching import Stretched, TowardsWalls


@pytest.fixture(autouse=True)
def nothing_global_changes():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    assert not Gcf.get_all_fig_managers()


def images(figure):
    """The image of every panel that has one, by title."""
    return [panel.get_images()[0] for panel in figure.axes if panel.get_images()]


def value_at(image, x, y):
    """What a reader sees at the coordinates x, y."""
    left, right, bottom, top = image.get_extent()
    rows, columns = image.get_array().shape
    row, column = int((y - bottom) / (top - bottom) * rows), int((x - left) / (right - left) * columns)
    return float(image.get_array()[row, column])


@pytest.mark.parametrize("points", ["nodes", "centres"])
def test_a_plane_field_is_drawn_at_its_coordinates(points):
    grid = Grid((12, 7), (2.0, 5.0), origin=(-1.0, 10.0), points=points)
    x, y = (np.asarray(c) for c in grid.coordinates())
    u = np.stack([x + 100 * y, -x - 100 * y])
    figure = plotting.plot_field(u, grid, names=["a", "b"], units=["m", ""], length_unit="km")
    first, second = images(figure)
    for i, j in [(0, 0), (3, 5), (11, 6)]:
        place = float(grid.axes[0][i]), float(grid.axes[1][j])
        assert value_at(first, *place) == pytest.approx(u[0, i, j])
        assert value_at(second, *place) == pytest.approx(u[1, i, j])
    panel = first.axes
    assert panel.get_aspect() == 1 and panel.get_xlabel() == "x [km]" and panel.get_ylabel() == "y [km]"
    assert {"a [m]", "b"} <= {other.get_ylabel() for other in figure.axes}


@pytest.mark.parametrize("points", ["chebyshev", Stretched(TowardsWalls(2.0)), Stretched(TowardsWalls(2.0), "centres")])
def test_unequal_cells_are_drawn_in_their_sizes(points):
    """From wall to wall, each around its point; in an animation too."""
    grid = Grid((5, 9), (2.0, 3.0), (True, False), (-1.0, 0.5), ("nodes", points))
    x, y = (np.asarray(c) for c in grid.coordinates())
    figure = plotting.plot_field((x + 10 * y)[None], grid)
    (mesh,) = figure.axes[0].collections
    edges = mesh.get_coordinates()
    np.testing.assert_allclose(mesh.get_array(), (x + 10 * y).T)
    np.testing.assert_allclose(edges[[0, -1], 0, 1], [0.5, 3.5], rtol=1e-6)
    np.testing.assert_allclose(edges[1:-1, 0, 1], (y[0, 1:] + y[0, :-1]) / 2, rtol=1e-6)
    np.testing.assert_allclose(edges[0, [0, -1], 0], [-1.2, 0.8], rtol=1e-5)
    frames = np.stack([x + y, x - y])
    animation = plotting.animate_triptych(frames, frames, grid, np.arange(2.0))
    animation.frame(1)
    np.testing.assert_allclose(animation.figure.axes[0].collections[0].get_array(), (x - y).T)
    plotting.plot_space_time({"u": np.ones((3, 9))}, Grid(9, 1.0, False, points=points), np.arange(3.0))


def test_slices_of_a_volume_go_through_its_middle():
    grid = Grid((4, 6, 5), (2.0, 3.0, 1.5))
    x, y, z = (np.asarray(c) for c in grid.coordinates())
    u = (x + 10 * y + 100 * z)[None]
    xy, xz, yz = images(plotting.plot_field(u, grid))
    assert value_at(xy, 0.5, 2.0) == pytest.approx(0.5 + 20 + 100 * 0.6)
    assert value_at(xz, 0.5, 0.3) == pytest.approx(0.5 + 15 + 30)
    assert value_at(yz, 2.5, 0.3) == pytest.approx(1.0 + 25 + 30)


def test_colours_are_centred_at_zero_for_signed_fields_only():
    assert colour_limits(np.array([-1.0, 3.0, np.nan]), np.array([-5.0])) == (-5.0, 5.0, "RdBu_r")
    assert colour_limits(np.array([2.0, 3.0, np.inf])) == (2.0, 3.0, "viridis")
    assert colour_limits(np.array([-0.001, 2.0])) == (-0.001, 2.0, "viridis")
    low, high, _ = colour_limits(np.full(3, 4.0))
    assert low < 4.0 < high
    assert colour_limits(np.full(2, np.nan))[:2] == (-0.5, 0.5)


def test_space_time_has_time_upwards_and_one_scale():
    grid, times = Grid(8, 4.0), np.linspace(1.0, 3.0, 5)
    truth = np.asarray(grid.axes[0])[None] + 10 * times[:, None]
    figure = plotting.plot_space_time({"truth": truth, "half": truth / 2}, grid, times)
    first, second = images(figure)
    assert value_at(first, 1.5, 2.5) == pytest.approx(26.5) and value_at(second, 3.5, 1.0) == pytest.approx(6.75)
    assert first.get_clim() == second.get_clim() == (pytest.approx(truth.min() / 2), pytest.approx(truth.max()))


def test_metric_curves_are_means_in_their_bootstrap_band():
    times = np.linspace(0.5, 4, 8)
    scores = np.random.default_rng(0).uniform(size=(6, 8))
    figure = plotting.plot_metric(
        times, {"FNO": scores}, {"spectral": scores[0], "persistence": scores[1]}, threshold=0.8
    )
    panel = figure.axes[0]
    lines = {line.get_label(): line for line in panel.get_lines()}
    np.testing.assert_allclose(lines["FNO"].get_ydata(), scores.mean(axis=0))
    np.testing.assert_allclose(lines["spectral"].get_ydata(), scores[0])
    (band,) = panel.collections
    low, high = bootstrap_interval(scores)
    corners = band.get_paths()[0].vertices
    for t, least, most in zip(times, low, high, strict=True):
        here = corners[np.isclose(corners[:, 0], t), 1]
        assert here.min() == pytest.approx(least) and here.max() == pytest.approx(most)


def test_error_against_cost_joins_by_cost_and_leaves_out_what_diverged():
    point = plotting.CostPoint
    family = [point(4.0, 0.1, "64²"), point(1.0, 0.5, "32²"), point(2.0, np.nan, "48²"), point(8.0, np.inf)]
    figure = plotting.plot_error_against_cost({"spectral": family}, {"FNO": point(0.5, 0.2), "bad": point(1.0, np.nan)})
    panel = figure.axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in panel.get_lines()}
    assert lines == {"spectral": [[1.0, 0.5], [4.0, 0.1]], "FNO": [[0.5, 0.2]]}
    assert panel.get_xscale() == panel.get_yscale() == "log"
    assert {text.get_text() for text in panel.texts} == {"32²", "64²"}


def test_labels_of_neighbours_cover_neither_each_other_nor_a_marker():
    point = plotting.CostPoint
    # Within a few millimetres of each other on paper, in a figure of a decade and more.
    family = [point(1.0 + 0.03 * i, 0.5 - 0.01 * i, f"64x64 ETDRK4 h=0.0{i}") for i in range(4)]
    named = {family[2].label: "#123456"}
    figure = plotting.plot_error_against_cost({"spectral": family}, {"FNO": point(1.1, 0.45)}, colours=named)
    figure.draw_without_rendering()
    panel, renderer = figure.axes[0], figure.canvas.get_renderer()
    boxes = {text.get_text(): Text.get_window_extent(text, renderer) for text in panel.texts}
    assert set(boxes) == {p.label for p in family}
    markers = panel.transData.transform([(p.cost, p.error) for p in [*family, point(1.1, 0.45)]])
    for label, box in boxes.items():
        assert not any(box.overlaps(other) for name, other in boxes.items() if name != label), label
        assert not any(box.contains(*marker) for marker in markers), label
        assert panel.bbox.fully_containsx(box.x0) and panel.bbox.fully_containsx(box.x1)
    assert {text.get_text() for text in panel.texts if text.get_color() == "#123456"} == set(named)
    for low, high in (panel.get_xlim(), panel.get_ylim()):
        assert high > 10 * low


def test_surrogates_of_one_colour_have_other_marks():
    times, names = np.arange(3.0), [f"model {i}" for i in range(13)]
    curves = plotting.plot_metric(times, {name: times for name in names}, {"spectral": times})
    points = plotting.plot_error_against_cost(
        {}, {name: plotting.CostPoint(1 + i, 0.1) for i, name in enumerate(names)}
    )
    for figure in (curves, points):
        looks = {
            line.get_label(): (line.get_color(), line.get_marker())
            for line in figure.axes[0].get_lines()
            if line.get_label() in names
        }
        assert set(looks) == set(names) and len(set(looks.values())) == len(names)
    # However long the legend, the panel keeps its height, and the name of its axis.
    few = plotting.plot_error_against_cost({}, {"FNO": plotting.CostPoint(1.0, 0.1)})
    for figure in (few, points):
        figure.draw_without_rendering()
        panel = figure.axes[0]
        name = Text.get_window_extent(panel.yaxis.label, figure.canvas.get_renderer())
        assert panel.bbox.height > 3 * figure.dpi and name.y0 >= 0 and name.y1 <= figure.bbox.height


def test_curves_take_the_colours_that_they_are_given():
    times, colours = np.arange(3.0), {"FNO": "#111111", "spectral": "#222222"}
    curves = plotting.plot_metric(times, {"FNO": times}, {"spectral": times}, colours=colours)
    spectra = plotting.plot_spectra({"FNO": 1 + times, "spectral": 1 + times}, colours=colours, dashed=["spectral"])
    for figure in (curves, spectra):
        lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
        assert {name: line.get_color() for name, line in lines.items()} == colours
        assert lines["FNO"].get_linestyle() == "-" and lines["spectral"].get_linestyle() == "--"


def test_spectra_and_training_curves():
    figure = plotting.plot_spectra({"truth": 10.0 ** -np.arange(6), "FNO": np.array([5.0, 1, 0.1, 0, 1e-30, 0.2])})
    truth, model = figure.axes[0].get_lines()
    np.testing.assert_allclose(truth.get_xydata(), [[s, 10.0**-s] for s in range(1, 6)])
    assert truth.get_color() == "black" and np.isnan(model.get_ydata()[2])
    assert figure.axes[0].get_ylim()[0] >= 1e-13

    steps = np.arange(1000)
    figure = plotting.plot_training({"loss": (steps, 1.0 + steps), "validation": ([0, 999], [1.0, 2.0])})
    raw, smooth, validation = figure.axes[0].get_lines()
    # The running median of a straight line is the line.
    np.testing.assert_allclose(smooth.get_ydata(), 1.0 + smooth.get_xdata())
    assert smooth.get_label() == "loss" and len(raw.get_xdata()) == 1000 and len(validation.get_xdata()) == 2


@pytest.mark.parametrize("shape", [(16,), (12, 9), (6, 5, 4)])
def test_triptych_shows_each_time_and_survives_a_diverged_prediction(shape, tmp_path):
    grid = Grid(shape, 1.0)
    times = np.array([0.0, 0.25, 0.5])
    truth = np.random.default_rng(0).normal(size=(3, *shape))
    prediction = truth + 0.1
    prediction[2] = np.nan
    animation = plotting.animate_triptych(prediction, truth, grid, times, name="w", unit="1/s", time_unit="s")
    if len(shape) > 1:
        shown = images(animation.figure)[:3]
        seen = truth if len(shape) == 2 else truth[..., 2]
        assert {image.get_clim() for image in shown} == {(-np.abs(seen).max(), np.abs(seen).max())}
        animation.show(1)
        np.testing.assert_allclose(shown[0].get_array(), seen[1].T)
        np.testing.assert_allclose(shown[2].get_array(), 0.1)
    animation.show(1)
    assert animation.figure.get_suptitle().startswith("t = 0.2")

    path = plotting.save(animation, tmp_path / "new" / "rollout.gif", frames_per_second=5)
    with Image.open(path) as gif:
        assert gif.n_frames == 3 and gif.info["duration"] == 200
        first = np.asarray(gif.convert("RGB"), int)
        gif.seek(1)
        assert np.abs(np.asarray(gif.convert("RGB"), int) - first).max() > 50
    assert [file.name for file in path.parent.iterdir()] == ["rollout.gif"]


def test_triptych_of_a_positive_field_has_an_error_scale_about_zero():
    grid = Grid((4, 5), 1.0)
    truth = np.linspace(2.0, 3.0, 40).reshape(2, 4, 5)
    animation = plotting.animate_triptych(truth - 0.1, truth, grid, np.array([0.0, 1.0]))
    limits = [image.get_clim() for image in images(animation.figure)[:3]]
    assert limits == [(2.0, 3.0), (2.0, 3.0), (-1.0, 1.0)]


def test_the_error_of_a_line_has_an_axis_of_its_own():
    grid, times = Grid(16, 1.0), np.array([0.0, 1.0])
    truth = 3 + np.sin(2 * np.pi * np.asarray(grid.axes[0])) * np.ones((2, 1))
    small = truth + 1e-3 * times[:, None]
    field, prediction, error = plotting.animate_triptych(small, truth, grid, times, name="u", unit="m").figure.axes
    np.testing.assert_allclose(error.get_ylim(), (-1.08e-3, 1.08e-3), rtol=1e-6)
    assert error.get_ylabel() == "error of u [m]"
    assert field.get_ylim() == prediction.get_ylim() and 1.5 < field.get_ylim()[0] < 2
    # One that has blown up does not flatten what came before.
    diverged = np.stack([small[0], np.full(16, 1e9)])
    error = plotting.animate_triptych(diverged, truth, grid, times).figure.axes[2]
    np.testing.assert_allclose(error.get_ylim(), (-1.08 * 4, 1.08 * 4), rtol=1e-6)
    exact = plotting.animate_triptych(truth, truth, grid, times).figure.axes[2]
    assert exact.get_ylim()[0] < 0 < exact.get_ylim()[1]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    grid = Grid(8, 1.0)
    path = tmp_path / "field.png"
    plotting.save(plotting.plot_field(np.ones((1, 8)), grid), path)
    before = path.read_bytes()
    with Image.open(path) as image:
        assert image.size == (900, 450)

    def interrupted(self, target, **options):
        target.write_bytes(b"half a fi")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(OSError, match="disk full"):
        plotting.save(plotting.plot_field(np.zeros((1, 8)), grid), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="gif"):
        plotting.save(plotting.plot_field(np.zeros((1, 8)), grid), tmp_path / "field.hdf5")


@pytest.mark.usefixtures("without_shape_checks")
def test_refuses_what_does_not_fit():
    grid = Grid((4, 5), 1.0)
    with pytest.raises(ValueError, match="channel"):
        plotting.plot_field(np.ones((1, 5, 4)), grid)
    with pytest.raises(ValueError, match=r"add a channel axis, u\[None\], for \(1, 64\)"):
        plotting.plot_field(np.ones(64), Grid(64, 1.0))
    with pytest.raises(ValueError, match=r"\(1, 64\) = \(channel, \*grid.shape\) is needed"):
        plotting.plot_field(np.ones((3, 1, 64)), Grid(64, 1.0))
    with pytest.raises(ValueError, match="names"):
        plotting.plot_field(np.ones((2, 4, 5)), grid, names=["u"])
    with pytest.raises(ValueError, match="pick one channel"):
        plotting.animate_triptych(np.ones((3, 1, 4, 5)), np.ones((3, 1, 4, 5)), grid, np.arange(3.0))
    with pytest.raises(ValueError, match="truth"):
        plotting.plot_space_time({"truth": np.ones((4, 3))}, Grid(4, 1.0), np.arange(3.0))
    with pytest.raises(ValueError, match="FNO"):
        plotting.plot_metric(np.arange(3.0), {"FNO": np.ones((3, 4))}, {})
