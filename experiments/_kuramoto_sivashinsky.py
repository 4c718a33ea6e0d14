"""Trajectories on the attractor of the Kuramoto-Sivashinsky equation, for the experiments that follow it."""

from collections.abc import Sequence

import jax
from _experiment import in_single_precision

import pdejax as pj
from pdejax.evaluate import RivalFamily, Variant
from pdejax.progress import is_watched

PERIOD = 64.0
# The flow needs few points: half the usual resolutions, and fewer variants of each.
FAMILY = RivalFamily(
    fractions=(1.0, 0.5, 0.375, 0.25), variants=(Variant(), Variant(order=4, dealiasing=None), Variant(2, "auto", 4.0))
)
TINY_FAMILY = RivalFamily(fractions=(0.5,), variants=(Variant(),))


def on_the_attractor(
    points: int, interval: float, splits: Sequence[tuple[int, int, int]]
) -> tuple[pj.Trajectories, ...]:
    """For every `(trajectories, frames, seed)` that many, frames `interval` apart, in single precision.

    `u_t + u u_x + u_xx + u_xxxx = 0` with period 64, solved by an exponential integrator on twice as many points in
    double precision, steps of 0.05.
    """
    with jax.enable_x64(True):
        solved, stored = (pj.Grid((n,), PERIOD, dtype="float64") for n in (2 * points, points))
        stepper = pj.TimeStepper(
            pj.equations.KuramotoSivashinsky(), pj.Spectral(solved), dt=interval, substeps=round(interval / 0.05)
        )
        made = [
            pj.generate(
                stepper,
                pj.initial.BandLimited(peak=6),
                num_samples=count,
                num_steps=frames,
                burn_in=round(150 / interval),
                store=stored,
                chunk_size=min(count, 64),
                key=jax.random.key(seed),
                progress=is_watched(),
            )
            for count, frames, seed in splits
        ]
    return tuple(map(in_single_precision, made))
