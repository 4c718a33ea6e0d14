"""The log of a fit, told to others as it comes."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from pdejax.training import Supervised, TrainingDiverged, fit
from pdejax.training.loggers import LivePlot, TensorBoard, Wandb, scalars
from tests.training.test_fit import options, pairs, small


def run(*loggers, **given):
    data = pairs()
    asked = options(num_steps=7, valid=data, valid_every=3, steps_per_call=2, loggers=loggers) | given
    return fit(small(), Supervised(), data, **asked)


def test_a_logger_is_told_every_row_once_and_in_order():
    calls = []
    fitted = run(lambda rows: calls.append(rows))
    assert len(calls) == 5  # 2, 3 (scored), 5, 6 (scored), 7
    for name in fitted.log.columns:
        told = np.concatenate([rows.get(name, np.full(len(rows["step"]), np.nan)) for rows in calls])
        np.testing.assert_array_equal(told, fitted.log[name], err_msg=name)


def test_a_resumed_fit_tells_only_what_is_new():
    first = run()
    steps = []
    run(lambda rows: steps.extend(rows["step"]), resume=first.state, num_steps=4)
    assert steps == [8, 9, 10, 11]


def test_a_fit_that_fails_has_told_its_last_step_and_finishes_its_loggers():
    class Telling:
        def __init__(self):
            self.steps, self.finished = [], False

        def __call__(self, rows):
            self.steps.extend(rows["step"])

        def finish(self):
            self.finished = True

    logger = Telling()
    import optax

    with pytest.raises(TrainingDiverged):
        run(logger, optimiser=optax.sgd(1e30), normalise=False)
    assert logger.finished
    assert logger.steps == list(range(1, len(logger.steps) + 1)) and len(logger.steps) >= 2


def test_what_was_not_measured_is_not_written():
    rows = {"step": np.array([4, 5]), "loss": np.array([1.0, math.inf]), "valid_loss": np.array([np.nan, 2.0])}
    assert list(scalars(rows)) == [(4, {"loss": 1.0}), (5, {"loss": math.inf, "valid_loss": 2.0})]


def test_tensorboard_reads_what_was_written(tmp_path):
    tensorboardx = pytest.importorskip("tensorboardX")
    with tensorboardx.SummaryWriter(str(tmp_path)) as writer:
        fitted = run(TensorBoard(writer, prefix="train/"))
    read = events(next(tmp_path.iterdir()))
    for name in ("loss", "valid_loss"):
        measured = np.isfinite(fitted.log[name])
        found = read[f"train/{name}"]
        assert [step for step, _ in found] == list(fitted.log["step"][measured])
        np.testing.assert_allclose([value for _, value in found], fitted.log[name][measured], rtol=1e-6)


def events(path):
    """`{tag: [(step, value)]}` of an event file: records of length, checksum, message, checksum."""
    from tensorboardX.proto import event_pb2

    read, content, at = {}, path.read_bytes(), 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 8], "little")
        event = event_pb2.Event.FromString(content[at + 12 : at + 12 + length])
        for value in event.summary.value:
            read.setdefault(value.tag, []).append((event.step, value.simple_value))
        at += 16 + length
    return read


def test_wandb_is_given_steps_and_values():
    logged = []
    fitted = run(Wandb(SimpleNamespace(log=lambda values, step: logged.append((step, values))), prefix="a/"))
    assert [step for step, _ in logged] == list(range(1, 8))
    assert logged[2][1]["a/valid_loss"] == pytest.approx(fitted.log["valid_loss"][2])
    assert "a/valid_loss" not in logged[0][1]


def test_a_live_plot_grows_in_a_notebook_and_ends_with_all_rows(monkeypatch):
    shown = []
    handle = SimpleNamespace(update=shown.append)
    display = SimpleNamespace(Image=bytes, display=lambda picture, display_id: shown.append(picture) or handle)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(
        sys.modules, "IPython", SimpleNamespace(display=display, get_ipython=lambda: shell, version_info=(9, 0))
    )
    plot = LivePlot()
    fitted = run(plot)
    assert len(shown) >= 2 and all(picture.startswith(b"\x89PNG") for picture in shown)
    drawn = {line.get_label(): line.get_xydata() for line in plot.figure.axes[0].get_lines()}
    np.testing.assert_allclose(drawn["loss"], np.stack([fitted.log["step"], fitted.log["loss"]], 1))
    np.testing.assert_array_equal(drawn["valid_loss"][:, 0], [3, 6, 7])


def test_without_a_notebook_a_live_plot_shows_nothing():
    plot = LivePlot("loss")
    run(plot)
    assert len(plot.figure.axes[0].get_lines()) == 1


def test_what_is_no_logger_is_refused():
    with pytest.raises(ValueError, match="the class LivePlot"):
        run(LivePlot)
    with pytest.raises(ValueError, match=r"add_scalar\(tag, value, step\), got a dict"):
        TensorBoard({})
    with pytest.raises(ValueError, match=r"got a module: pass wandb.init"):
        Wandb(math)
