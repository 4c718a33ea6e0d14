"""Progress bars: what they leave in a log, and that a terminal sees them move."""

import sys
from types import SimpleNamespace
from typing import cast

import pytest
from tqdm._monitor import TMonitor

from pdejax import progress
from pdejax.progress import ProgressBar


def drawn(capsys) -> list[str]:
    """What the bar wrote, one entry per time that it was drawn."""
    return [line for line in capsys.readouterr().err.replace("\n", "").split("\r") if line]


@pytest.fixture
def work(monkeypatch):
    """A bar under which much happens, on a clock by which all of it takes so many seconds."""

    def run(seconds: float) -> None:
        now = [0.0]
        with ProgressBar(100, unit="step", description="fit") as bar:
            monkeypatch.setattr(bar, "_time", lambda: now[0])
            bar.start_t = bar.last_print_t = 0.0
            for i in range(100):
                now[0] += seconds / 100
                bar.set_description("solver error" if i % 2 else "fit")
                bar.update()
                bar.set_postfix({"loss": i})

    return run


def test_a_log_gets_the_first_and_the_last_line(work, capsys):
    work(50.0)
    first, last = drawn(capsys)
    assert "0/100" in first
    assert "100/100" in last and "loss=99" in last


def test_a_log_of_long_work_gets_a_line_a_minute(work, capsys):
    work(300.0)
    assert 5 <= len(drawn(capsys)) <= 7


def test_a_terminal_sees_every_change(work, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    work(50.0)
    assert len(drawn(capsys)) > 100


def test_a_notebook_is_watched(monkeypatch):
    assert not progress.is_watched()
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    assert progress.is_watched()


def test_a_bar_that_is_not_shown_says_nothing(capsys):
    with ProgressBar(2, unit="step", shown=False) as bar:
        bar.set_description("fit")
        bar.set_postfix({"loss": 1.0})
        bar.update(2)
    assert not drawn(capsys)


def test_nobody_wakes_a_log_within_the_minute(capsys, monkeypatch):
    """tqdm looks after its bars from a thread, and redraws those that it finds silent for too long."""
    now = [0.0]
    with ProgressBar(10_000, unit="step") as bar:
        monkeypatch.setattr(bar, "_time", lambda: now[0])
        bar.start_t = bar.last_print_t = 0.0
        for _ in range(700):
            now[0] += 0.1
            bar.update()
        assert bar.last_print_t == pytest.approx(60.0) and bar.miniters > 1
        capsys.readouterr()
        for seconds, lines in ((75.0, 0), (119.0, 0), (121.0, 1)):
            now[0] = seconds
            look_once(bar)
            assert len(drawn(capsys)) == lines, seconds


def look_once(bar):
    """One round of tqdm's monitor, by the clock of the bar."""
    stopped = iter([False, False, True])
    killed = SimpleNamespace(wait=lambda seconds: None, is_set=lambda: next(stopped))
    monitor = SimpleNamespace(
        _time=bar._time, was_killed=killed, sleep_interval=0, tqdm_cls=ProgressBar, get_instances=lambda: [bar]
    )
    TMonitor.run(cast(TMonitor, monitor))
