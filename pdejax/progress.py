"""Progress bars: they move in a terminal and in a notebook, and leave a few lines in a log."""

import sys
from typing import Any

import tqdm.auto

# Where nobody watches, a line a minute says that the work goes on.
SECONDS_BETWEEN_LINES = 60.0


class ProgressBar(tqdm.auto.tqdm):
    """A bar of tqdm. Without a terminal, what it says beside the bar waits for the next line.

    A line is written at the start, at the end, and at most once a minute in between.
    """

    def __init__(self, total: int, *, unit: str, description: str = "", shown: bool = True):
        rare: dict[str, Any] = {"mininterval": SECONDS_BETWEEN_LINES, "maxinterval": SECONDS_BETWEEN_LINES}
        often: dict[str, Any] = {"dynamic_ncols": True}
        # Before the rest: what tqdm sets up may already describe and draw.
        self.live = is_watched()
        super().__init__(
            total=total, unit=unit, desc=description or None, disable=not shown, **(often if self.live else rare)
        )

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        super().set_description(desc, refresh=bool(refresh) and self.live)

    def set_postfix(self, ordered_dict: Any = None, refresh: bool | None = True, **kwargs: Any) -> None:
        super().set_postfix(ordered_dict, refresh=bool(refresh) and self.live, **kwargs)


def is_watched() -> bool:
    """Whether what is written to stderr moves before somebody's eyes: in a terminal, or in a notebook."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
