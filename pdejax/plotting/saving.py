"""Writing figures and animations so that a file under its final name is always whole."""

import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pdejax.plotting.animation import Animation


def save(figure: Figure | Animation, path: str | Path, *, frames_per_second: float | int = 10.0) -> Path:
    """Writes the figure (png, pdf, svg, ..., by the ending of `path`) or the animation (gif), and returns the path.

    The file is written under a temporary name beside it and renamed when it is whole; missing folders are made.

    Raises `ValueError` for an ending that does not fit, and for `frames_per_second` that is not positive.
    """
    path = Path(path)
    ending = path.suffix.lower().removeprefix(".")
    formats = ["gif"] if isinstance(figure, Animation) else sorted(figure.canvas.get_supported_filetypes())
    if ending not in formats:
        raise ValueError(f"{type(figure).__name__} is saved as one of {', '.join(formats)}, got {path.name!r}.")
    if not frames_per_second > 0:
        raise ValueError(f"frames_per_second must be positive, got {frames_per_second}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        if isinstance(figure, Animation):
            _write_gif(figure, unfinished, frames_per_second)
        else:
            figure.savefig(unfinished, format=ending, dpi=150)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _write_gif(animation: Animation, path: Path, frames_per_second: float | int) -> None:
    frames = [Image.fromarray(animation.frame(i)) for i in range(animation.num_frames)]
    # One palette for all frames: with one each, colours flicker.
    sampled = np.concatenate([np.asarray(frame)[::2, ::2] for frame in frames[:: max(1, len(frames) // 8)]])
    palette = Image.fromarray(sampled).quantize(256, method=Image.Quantize.MEDIANCUT)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    duration = round(1000 / frames_per_second)
    indexed[0].save(path, format="GIF", save_all=True, append_images=indexed[1:], duration=duration, loop=0)
