"""The losses of a fit as a figure that grows in a notebook."""

import io
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pdejax.plotting import plot_training

# Of the time that passes, drawing takes about this share and no more.
_SHARE = 0.05


class LivePlot:
    """Draws losses against the step, as they come, below the cell of a notebook that runs `fit`.

    - `names`: of the columns that are drawn where they exist.

    Drawing takes about 5 % of the time at most, and the last rows are always drawn. Outside a notebook it shows
    nothing; `figure` is the picture so far in any case.
    """

    def __init__(self, *names: str):
        self.names = names or ("loss", "valid_loss")
        self._rows: dict[str, list[np.ndarray]] = {}
        self._length, self._wait_until, self._handle = 0, 0.0, None

    def __call__(self, rows: Mapping[str, np.ndarray]) -> None:
        count = len(rows["step"])
        for name in ("step", *self.names):
            earlier = self._rows.setdefault(name, [np.full(self._length, np.nan)])
            earlier.append(np.asarray(rows.get(name, np.full(count, np.nan)), np.float64))
        self._length += count
        if time.perf_counter() >= self._wait_until:
            self._draw()

    def finish(self) -> None:
        """Draws what is not drawn yet; `fit` calls it at its end."""
        if self._length:
            self._draw()

    @property
    def figure(self) -> Figure:
        """The losses so far."""
        columns = {name: np.concatenate(parts) for name, parts in self._rows.items()}
        curves = {}
        for name in self.names:
            # A logarithmic axis has no place for a loss that is zero or not finite.
            drawn = np.isfinite(columns[name]) & (columns[name] > 0)
            if drawn.any():
                curves[name] = columns["step"][drawn], columns[name][drawn]
        return plot_training(curves)

    def _draw(self) -> None:
        display = _notebook()
        if display is None:
            return
        began = time.perf_counter()
        image = io.BytesIO()
        self.figure.savefig(image, format="png", dpi=100)
        picture = display.Image(image.getvalue())
        if self._handle is None:
            self._handle = display.display(picture, display_id=True)
        else:
            self._handle.update(picture)
        now = time.perf_counter()
        self._wait_until = now + (now - began) / _SHARE


def _notebook() -> Any:
    """IPython's display where there is a notebook to draw in, else None."""
    try:
        from IPython import display, get_ipython
    except ImportError:
        return None
    return display if getattr(get_ipython(), "kernel", None) is not None else None
