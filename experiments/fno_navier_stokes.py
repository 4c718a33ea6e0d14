"""The Fourier neural operator on a driven flow in a periodic square, frame by frame.

Hypotheses; the script says for how many seeds each of them held:

1. Rolled out for ten frames from t = 10, the network errs at most 2 % (relative L2) at t = 20.
2. On twice as many points per axis as it was trained on the same network errs at most 1.2 times as much.
3. At equal error a spectral solver is cheaper.

Flow: the vorticity of Li et al. (ICLR 2021, section 5.3), `w_t + u w_x + v w_y = nu Lap w + f` on the unit torus with
`f = 0.1 (sin(2 pi (x + y)) + cos(2 pi (x + y)))` and nu = 1e-3, from random fields at t = 0
(`pdejax.initial.GaussianRandomField`), solved by our own exponential integrator in double precision on four times as
many points per axis as are trained on. The network takes one frame, for the flow has no memory, and the first harmonics
of the position, for the force stands still; it is trained on single steps between true frames, 1 apart.

The published networks were given ten frames and other times: their numbers are none to compare with.

    python experiments/fno_navier_stokes.py                     # 32 x 32 points, some minutes on two cores
    python experiments/fno_navier_stokes.py --preset gpu        # 64 x 64 points, 1000 trajectories
    python experiments/fno_navier_stokes.py --preset tiny       # a minute; learns nothing

Writes RESULTS/fno_navier_stokes.json, .md and .png, and to OUT the report and what it is made of.
"""

import dataclasses
import sys
import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
from _experiment import Experiment, Outcome, in_single_precision, settings_of
from _fourier_operator import FINER, Training, asked, page, trained, verdicts

import pdejax as pj
from pdejax.cli import run_script
from pdejax.equations.wrapped import Wrapped
from pdejax.evaluate import RivalFamily, Variant
from pdejax.models import FNO
from pdejax.progress import is_watched
from pdejax.training import OneStep, RelativeL2

NAME = "fno_navier_stokes"
VISCOSITY, AMPLITUDE, LIMIT = 1e-3, 0.1, 0.02
SPUN_UP, FRAMES, SOLVED, TIMES_FINER = 10, 10, 4, 2
CLAIMS = {
    "accurate": f"an error of at most {100 * LIMIT:g} % after ten frames",
    "same_on_finer": f"on twice as many points per axis at most {FINER:g} times the error",
    "solver_is_cheaper": "at equal error a spectral solver is cheaper",
}
FAMILY = RivalFamily(fractions=(1.0, 0.5, 0.25), variants=(Variant(), Variant(order=4, dealiasing=None)))
TINY_FAMILY = RivalFamily(fractions=(0.5,), variants=(Variant(),))


@dataclasses.dataclass(frozen=True)
class Preset:
    """Data and training; `substeps` are those of the truth in one frame."""

    trajectories: int
    held_out: int
    points: int
    substeps: int
    training: Training
    at: float = float(FRAMES)
    timing_seconds: float = 6.0


PRESETS = {
    "cpu": Preset(200, 32, 32, 40, Training(8, 20, steps=4000, batch=16)),
    "gpu": Preset(1000, 200, 64, 80, Training(12, 20, steps=50_000, batch=20)),
    "tiny": Preset(2, 2, 12, 10, Training(3, 4, layers=2, steps=6, batch=4), timing_seconds=0.1),
}


class DiagonallyForced(Wrapped):
    """`equation` for the vorticity with `amplitude (sin(2 pi (x + y)) + cos(2 pi (x + y)))` on its right."""

    amplitude: float = AMPLITUDE

    def nonlinear(self, t: Any, u: Any) -> Any:
        x, y = u.coordinates
        phase = 2 * jnp.pi * (x + y)
        force = phase.map(lambda p: self.amplitude * (jnp.sin(p) + jnp.cos(p)))
        return self.equation.nonlinear(t, u) + force


@dataclasses.dataclass(frozen=True, kw_only=True)
class FNOOnNavierStokes(Experiment):
    """Train an FNO from frame to frame of a driven flow in two dimensions, and test three hypotheses."""

    name = NAME

    preset: Literal["cpu", "gpu", "tiny"] = "cpu"
    """How large all of it is."""

    def outcome(self) -> Outcome:
        preset, began = PRESETS[self.preset], time.perf_counter()
        train = data_of(preset, preset.trajectories, seed=0)
        finer = data_of(preset, preset.held_out, seed=1, times=TIMES_FINER)
        t = preset.training

        def network(key: Any) -> FNO:
            return FNO(1, 1, 2, t.modes, t.width, num_layers=t.layers, coordinates=1, key=key)

        models, took = trained(network, OneStep(RelativeL2()), train, t, self.seeds)
        family = TINY_FAMILY if self.preset == "tiny" else FAMILY
        rows, report = asked(models, self.seeds, finer, TIMES_FINER, equation(), preset, family)
        found = {"rows": rows, "held": verdicts(rows, LIMIT), "training": took}
        found["persistence"] = float(report.results["persistence"].mean("relative_l2")[report.stated])
        found |= {"minutes": (time.perf_counter() - began) / 60, "circumstances": report.circumstances}
        found["settings"] = settings_of(self, preset)
        remark = (
            f"Relative L2 at lead time {preset.at:g}, means over {preset.held_out} held-out flows; holding the first "
            f"state errs {found['persistence']:.3g}. ![error against cost]({NAME}.png)"
        )
        text = page("An FNO on a driven flow in the plane", NAME, CLAIMS, found, remark)
        return Outcome(found, text, {"": report.plots()["error_against_cost"]}, report)


def equation() -> DiagonallyForced:
    return DiagonallyForced(pj.equations.NavierStokesVorticity(VISCOSITY))


def data_of(preset: Preset, count: int, *, seed: int, times: int = 1) -> pj.Trajectories:
    """Frames at t = 10, 11, ..., 20, on `times` as many points per axis as are trained on."""
    with jax.enable_x64(True):
        n = preset.points
        solved, stored = (pj.Grid((m, m), 1.0, dtype="float64") for m in (SOLVED * n, times * n))
        made = pj.generate(
            pj.TimeStepper(equation(), pj.Spectral(solved), dt=1.0, substeps=preset.substeps),
            pj.initial.GaussianRandomField(alpha=2.5, tau=7.0),
            num_samples=count,
            num_steps=FRAMES,
            burn_in=SPUN_UP,
            store=stored,
            chunk_size=min(count, 8),
            key=jax.random.key(seed),
            progress=is_watched(),
            measure_error=2 if seed == 1 else 0,
        )
    return in_single_precision(made)


if __name__ == "__main__":
    sys.exit(run_script(FNOOnNavierStokes))
