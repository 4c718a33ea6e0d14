"""Rollouts against the truth, the persistence baseline and the classical rivals, in one report."""

import datetime
import importlib.metadata
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm.auto
from jaxtyping import Array, Float, PRNGKeyArray

from pdejax.data import Trajectories
from pdejax.equations import Equation
from pdejax.evaluate import contestants
from pdejax.evaluate.contestants import PERSISTENCE, Contestant, Kind
from pdejax.evaluate.cost import time_in_turn
from pdejax.evaluate.frontier import EQUAL, Comparison, Point, cost_at_error, error_at_cost, pareto_frontier
from pdejax.evaluate.pairs import PairReport, evaluate_pairs
from pdejax.evaluate.report import Report, Result
from pdejax.evaluate.rivals import OnDataGrid, RivalFamily, classical_rivals
from pdejax.evaluate.scores import LABELS, over_channels, scores, spectra
from pdejax.evaluate.truth import truth_shape_of
from pdejax.grid import Grid

# Beyond ten times the truth's own size a rollout has blown up, whether or not it has reached infinity yet.
BLOWN_UP = 10.0


def evaluate(
    surrogates: Mapping[str, Any],
    test: Any,
    equation: Equation | None = None,
    *,
    at: float | None = None,
    family: RivalFamily | None = None,
    truth_shape: Sequence[int] | None = None,
    batch_size: int | None = None,
    timing_seconds: float = 6.0,
    grid: Grid | None = None,
    key: PRNGKeyArray | None = None,
    progress: bool = True,
) -> Report | PairReport:
    r"""Scores surrogates on test trajectories and holds them against classical solvers at equal error and equal cost.

    Every surrogate is rolled out from the first frame of every trajectory and compared with the stored truth at every
    stored time. So are persistence (the initial state held fixed) and, where `equation` is given, a family of spectral
    solvers: several resolutions from the data's own downward, step sizes from the stability limit downward, two orders,
    with and without dealiasing. Error against cost is defined as follows.

    - Error: relative L2 at the stated time, on the modes that all rivals resolve, mean over samples and channels.
    - Cost: wall time per unit of simulated time and sample of a jitted rollout on the same device, in the same dtype
      and batch, compilation apart. It is the time from states on the data's points to states on the data's points, for
      all alike: a coarser rival pays for truncation and padding at every output. Everything is timed in turn.
    - Rivals start from the initial state truncated to their modes. The truth must be at least twice as fine as the
      finest; finer rivals are left out.

    `surrogates`: `{name: model or stepper}`; a model `model(u, parameters, domain=, key=)` is given the data's interval
    and the parameters of each trajectory, whatever has a `dt` is used as it is.

    `test`: `Trajectories` with one time interval and one box; or a pair `(inputs, targets)` of arrays
    `(sample, channel, *space)` for operator learning without time, which is scored and not timed (a `PairReport`).

    - `equation`: what the data solve. Where `test.parameters` varies a coefficient, every trajectory has its own.
    - `at`: the lead time of the comparison; by default the first stored time at which persistence has lost the
      solution (correlation below 0.5), or the last.
    - `family`: the rivals, see `RivalFamily`; a wider one takes longer.
    - `truth_shape`: the resolution that the truth was solved on, where the provenance does not say it.
    - `batch_size`: trajectories advanced together; default all, at most 32. Costs are those of this batch.
    - `timing_seconds`: spent on timing all contestants; half as much again on each surrogate with its closest rivals.
    - `grid`: where pairs live; default a periodic box of side 1.
    - `key`: for surrogates that draw random numbers.

    A surrogate that does not stay finite is reported with the time of its failure and is not averaged over the samples
    that did; a rival that blows up is listed as failed.

    Raises `ValueError` for an empty test set, names that are not usable, another number of channels, an equation that
    contradicts the data, a grid with walls together with `equation`, and trajectories of unequal boxes or intervals.
    """
    surrogates = _checked_names(surrogates)
    if isinstance(test, tuple):
        return evaluate_pairs(surrogates, test, grid, key=key)
    dt = _checked_data(test, equation)
    lead_times = np.asarray(test.times) - test.times[0]
    field = _Field(test, dt, batch_size, key)
    truth_shape = truth_shape_of(test, truth_shape)
    family = RivalFamily() if family is None else family

    entries: dict[str, tuple[Kind, Contestant]] = {PERSISTENCE: ("baseline", contestants.baseline(dt))}
    for name, given in surrogates.items():
        entries[name] = ("surrogate", contestants.surrogate(name, given, test, dt))
    rivals, left_out, common = _rivals(test, equation, dt, family, truth_shape)
    if clash := sorted(set(rivals) & set(surrogates)):
        raise ValueError(f"The surrogate name {clash[0]!r} is also that of a classical rival: choose another.")
    varied = _varied_coefficients(test, equation)
    entries |= {name: ("rival", contestants.rival(stepper, varied)) for name, stepper in rivals.items()}

    results: dict[str, Result] = {}
    stated: int | None = None
    with tqdm.auto.tqdm(total=len(entries) + 2, unit="", disable=not progress) as bar:
        for name, (kind, contestant) in entries.items():
            bar.set_description(name)
            results[name] = field.roll(kind, contestant, common, stated)
            if stated is None:
                # Persistence comes first, and says when there is something to predict.
                stated = _stated_frame(results[name], lead_times, at)
                results[name] = field.roll(kind, contestant, common, stated)
            bar.update()
        lead_time = float(lead_times[stated or 0])
        for result in results.values():
            result.judge(stated or 0, lead_times, BLOWN_UP)
        bar.set_description("timing")
        timed = [name for name, r in results.items() if r.kind != "baseline" and not r.failed_before(lead_time)]
        runs = {name: field.timed_run(entries[name][1]) for name in timed}
        for name, seconds in time_in_turn(runs, seconds=timing_seconds).items():
            results[name].costs = seconds / field.simulated_time
        bar.update()
        comparisons = _compare(results, field, runs, lead_time, timing_seconds / 2)
        bar.update()

    return Report(
        data=field.describe(),
        lead_times=lead_times,
        stated=stated or 0,
        names=tuple(test.names),
        units=tuple(test.units),
        grid=test.grid,
        results=results,
        comparisons=comparisons,
        truth=field.truth_example(),
        truth_spectra=field.truth_spectra(stated or 0),
        truth_shape=truth_shape,
        common_shape=None if common is None else common.shape,
        left_out=left_out,
        equation=None if equation is None else f"{type(equation).__name__}({_in_words(equation)})",
        provenance=dict(test.provenance),
        circumstances=_circumstances(),
        rivals=rivals,
    )


class _Field:
    """The test data on the device in fixed batches, and how a contestant is taken over it."""

    def __init__(self, test: Trajectories, dt: float, batch_size: int | None, key: PRNGKeyArray | None):
        self.test, self.dt = test, dt
        self.num_samples, self.num_steps = len(test), test.num_frames - 1
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}.")
        self.batch_size = min(self.num_samples, 32 if batch_size is None else batch_size)
        # One program of a few steps serves the rollout, segment after segment, and the timing.
        self.segment = math.ceil(self.num_steps / math.ceil(self.num_steps / 5))
        self.simulated_time = self.segment * dt * self.batch_size
        self.keys = None if key is None else jax.random.split(key, self.num_samples)

    def batch(self, first: int) -> tuple[np.ndarray, Float[Array, "sample channel *space"], dict[str, Array], Any]:
        """Indices (the last batch is filled up with its last trajectory), initial states, parameters, keys."""
        samples = np.minimum(np.arange(first, first + self.batch_size), self.num_samples - 1)
        u = jnp.asarray(np.stack([np.asarray(self.test.u[int(i), 0]) for i in samples]))
        parameters = {name: jnp.asarray(values[samples]) for name, values in self.test.parameters.items()}
        return samples, u, parameters, None if self.keys is None else self.keys[samples]

    def roll(self, kind: Kind, contestant: Contestant, common: Grid | None, stated: int | None) -> "Result":
        """Scores at every time; spectra at the stated and the last time; the states of the first sample."""
        grid, test = self.test.grid, self.test
        shape = (self.num_samples, self.num_steps + 1, test.num_channels)
        table = {name: np.full(shape, np.nan) for name in LABELS}
        finite = np.zeros(shape[:2], bool)
        example = np.full((self.num_steps + 1, test.num_channels, *grid.shape), np.nan, test.u.dtype)
        spectrum: dict[int, list[np.ndarray]] = {}
        for first in range(0, self.num_samples, self.batch_size):
            samples, u, parameters, keys = self.batch(first)
            new = slice(0, min(self.batch_size, self.num_samples - first))
            rows = samples[new]
            frame = 0
            states = u[:, None]
            while True:
                count = min(states.shape[1], self.num_steps + 1 - frame)
                truth = np.stack([np.asarray(test.u[int(i), frame : frame + count]) for i in rows])
                found = scores(states[new, :count], jnp.asarray(truth), grid, common)
                for name, values in found.items():
                    # What overflows is no number either: from here on NaN alone says that a score does not exist.
                    table[name][rows, frame : frame + count] = np.where(np.isfinite(values), values, np.nan)
                host = np.asarray(states[new, :count])
                finite[rows, frame : frame + count] = np.isfinite(host).all(axis=tuple(range(2, host.ndim)))
                if first == 0:
                    example[frame : frame + count] = host[0]
                for wanted in {stated, self.num_steps}:
                    if wanted is not None and frame <= wanted < frame + count and all(grid.periodic):
                        found_spectra = spectra(jnp.asarray(host[:, wanted - frame]), grid)
                        spectrum.setdefault(wanted, []).append(np.asarray(found_spectra))
                frame += count
                if frame > self.num_steps or (kind == "rival" and not finite[rows, frame - 1].any()):
                    break
                if kind == "baseline":
                    states = jnp.broadcast_to(u[:, None], (u.shape[0], self.segment, *u.shape[1:]))
                    continue
                t = self.time(frame - 1)
                segment_keys = None if keys is None else jax.vmap(jax.random.fold_in, (0, None))(keys, frame)
                states = contestants.advance(contestant, parameters, states[:, -1], t, segment_keys, self.segment)
        return Result(
            kind=kind,
            scores={name: values for name, values in table.items() if not np.isnan(values[:, 0]).all()},
            finite=finite,
            example=example if kind != "rival" else None,
            spectra={frame: np.concatenate(parts).mean(axis=0) for frame, parts in spectrum.items()},
        )

    def time(self, frame: int) -> Float[Array, ""]:
        # An array: a Python number would be a constant of the program, which every segment would then compile anew.
        return jnp.asarray(self.test.times[0] + frame * self.dt, jnp.result_type(float))

    def timed_run(self, contestant: Contestant) -> Any:
        _, u, parameters, keys = self.batch(0)
        t = self.time(0)
        return lambda: contestants.advance(contestant, parameters, u, t, keys, self.segment)

    def truth_example(self) -> np.ndarray:
        return np.asarray(self.test.u[0])

    def truth_spectra(self, stated: int) -> dict[int, np.ndarray]:
        if not all(self.test.grid.periodic):
            return {}
        found = {}
        for frame in {stated, self.num_steps}:
            states = np.stack([np.asarray(self.test.u[i, frame]) for i in range(self.num_samples)])
            found[frame] = np.asarray(spectra(jnp.asarray(states), self.test.grid)).mean(axis=0)
        return found

    def describe(self) -> dict[str, Any]:
        test = self.test
        return {
            "trajectories": self.num_samples,
            "frames": test.num_frames,
            "interval": self.dt,
            "grid": list(test.grid.shape),
            "extent": [float(f"{side:.6g}") for side in np.asarray(test.grid.extent)],
            "dtype": str(jax.dtypes.canonicalize_dtype(test.u.dtype)),
            "batch": self.batch_size,
            "parameters": {name: [float(v.min()), float(v.max())] for name, v in test.parameters.items()},
        }


def _compare(
    results: Mapping[str, Result], field: _Field, runs: Mapping[str, Any], lead_time: float, seconds: float
) -> list[Comparison]:
    """Every surrogate against the frontier; what decides is timed once more, in turn with the surrogate."""
    points = {name: Point(result.cost, result.error) for name, result in results.items() if result.stands}
    found = []
    for name, result in results.items():
        if result.kind != "surrogate" or not points:
            continue
        if not (np.isfinite(result.error) and np.isfinite(result.cost)):
            nothing = (np.nan, np.nan, np.nan, "", (), np.nan, "", ())
            found.append(Comparison(name, lead_time, result.error, result.cost, *nothing))
            continue
        paired = time_in_turn(
            {n: runs[n] for n in (name, *_deciding(result.error, result.cost, points))},
            seconds=seconds,
            least_rounds=9,
            most_rounds=400,
        )
        per_round = {n: values / paired[name] for n, values in paired.items() if n != name}
        # The same rivals at the costs that they have in the surrogate's company.
        own_cost = float(np.median(paired[name])) / field.simulated_time
        nearby = {n: Point(own_cost * float(np.median(ratio)), points[n].error) for n, ratio in per_round.items()}
        by_error, by_cost = cost_at_error(result.error, nearby), error_at_cost(own_cost, nearby)
        ratios = np.exp(sum(w * np.log(per_round[n]) for n, w in by_error.weights.items()))
        found.append(
            Comparison(
                surrogate=name,
                lead_time=lead_time,
                error=result.error,
                cost=own_cost,
                speed_up=float(np.median(ratios)),
                speed_up_low=float(np.quantile(ratios, 0.1)),
                speed_up_high=float(np.quantile(ratios, 0.9)),
                speed_up_bound=by_error.bound,
                faster_rivals=tuple(by_error.weights),
                rival_error=by_cost.value,
                rival_error_bound=by_cost.bound,
                better_rivals=tuple(by_cost.weights),
            )
        )
    return found


def _deciding(error: float, cost: float, points: Mapping[str, Point]) -> list[str]:
    """The rivals that can set either figure, given what noise does to a first timing.

    Those that set it by that timing, the ends of the frontier (they say whether a figure is only a bound), and up to
    four more that are as accurate at less than half as much again.
    """
    by_error, by_cost = cost_at_error(error, points), error_at_cost(cost, points)
    frontier = pareto_frontier(points)
    as_good = [
        name
        for name in sorted(points, key=lambda name: points[name].cost)
        if points[name].error <= error * (1 + EQUAL) and points[name].cost <= 1.5 * by_error.value
    ]
    return list(dict.fromkeys([*by_error.weights, *by_cost.weights, frontier[0], frontier[-1], *as_good[:4]]))


def _rivals(
    test: Trajectories,
    equation: Equation | None,
    dt: float,
    family: RivalFamily,
    truth_shape: tuple[int, ...] | None,
) -> tuple[dict[str, OnDataGrid], list[str], Grid | None]:
    """The rivals, what was left out and why, and the grid of the modes common to all."""
    if equation is None:
        return {}, [], None
    grid = test.grid.with_dtype(jax.dtypes.canonicalize_dtype(test.u.dtype))
    finest = None if truth_shape is None else tuple(n // 2 for n in truth_shape)
    frames = np.unique(np.linspace(0, test.num_frames - 1, 3).astype(int))
    states = np.stack([np.asarray(test.u[i, int(j)]) for i in range(min(4, len(test))) for j in frames])
    rivals = classical_rivals(equation, grid, dt, states, family, t=float(test.times[0]), finest=finest)
    shapes = [stepper.stepper.grid.shape for stepper in rivals.values()]
    left_out = [
        f"{'x'.join(map(str, shape))}: the truth, solved on {'x'.join(map(str, truth_shape or ()))} points, is not "
        "twice as fine"
        for shape in family.shapes(grid)
        if shape not in shapes
    ]
    if not shapes:
        return {}, left_out, None
    return rivals, left_out, test.grid.with_shape(tuple(min(sizes) for sizes in zip(*shapes, strict=True)))


def _stated_frame(persistence: Result, lead_times: Float[np.ndarray, " time"], at: float | None) -> int:
    last = len(lead_times) - 1
    if at is None:
        lost = over_channels(persistence.scores["correlation"]).mean(axis=0) < 0.5
        return int(np.argmax(lost)) if lost.any() else last
    frame = int(np.argmin(np.abs(lead_times - at)))
    if frame == 0 or abs(lead_times[frame] - at) > 0.51 * (lead_times[1] - lead_times[0]):
        raise ValueError(
            f"at={at:g} is not a lead time of the test data, which has {lead_times[1]:g} .. {lead_times[last]:g}."
        )
    return frame


def _checked_names(surrogates: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(surrogates, Mapping) or not surrogates:
        raise ValueError('evaluate needs at least one surrogate by name, e.g. evaluate({"FNO": model}, test).')
    for name in surrogates:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"A surrogate needs a name that can be printed, got {name!r}.")
        if name in (PERSISTENCE, "truth", "error"):
            raise ValueError(f"The name {name!r} is taken in every report: choose another for the surrogate.")
    return dict(surrogates)


def _checked_data(test: Any, equation: Equation | None) -> float:
    """The interval between frames."""
    if not isinstance(test, Trajectories):
        raise ValueError(
            f"evaluate scores Trajectories or a pair (inputs, targets) of arrays, got {type(test).__name__}; arrays "
            "through time become trajectories with Trajectories.from_arrays(u, grid, names, times)."
        )
    if len(test) == 0:
        raise ValueError("The test set is empty: give at least one trajectory.")
    if test.num_frames < 2:
        raise ValueError("The test trajectories have one frame each: a rollout is compared with later ones.")
    intervals = np.diff(test.times)
    if not np.allclose(intervals, intervals[0], rtol=1e-3):
        raise ValueError(
            f"The frames must be equally spaced, got intervals from {intervals.min():g} to {intervals.max():g}."
        )
    for name, values in test.parameters.items():
        if name.startswith(("extent_", "output_interval")) and np.any(values != values[0]):
            raise ValueError(
                f"{name} varies from {values.min():g} to {values.max():g} over the trajectories; evaluate those of one "
                "box and one interval at a time, e.g. test[test.parameters[name] == value]."
            )
    dt = float(intervals.mean())
    if equation is None:
        return dt
    components = equation.components(test.grid.ndim)
    if len(components) != test.num_channels:
        raise ValueError(
            f"{type(equation).__name__} has {len(components)} components {components} but the test data has "
            f"{test.num_channels} channels {tuple(test.names)}: choose them with test.select(...)."
        )
    if set(components) == set(test.names) and tuple(components) != tuple(test.names):
        raise ValueError(
            f"{type(equation).__name__} orders its components {components} but the test data {tuple(test.names)}: "
            f"use test.select{components}."
        )
    for name, values in _shared_coefficients(test, equation).items():
        own = float(getattr(equation, name))
        if np.all(values == values[0]) and not np.isclose(own, values[0], rtol=1e-4, atol=1e-12):
            raise ValueError(
                f"The equation has {name}={own:g} but the test data was solved with {name}={values[0]:g}; the rivals "
                "would solve another problem."
            )
    return dt


def _shared_coefficients(test: Trajectories, equation: Equation) -> dict[str, np.ndarray]:
    """Parameters of the data that are scalar coefficients of the equation."""
    scalars = {name for name in equation.coefficients() if jnp.ndim(getattr(equation, name)) == 0}
    return {name: values for name, values in test.parameters.items() if name in scalars}


def _varied_coefficients(test: Trajectories, equation: Equation | None) -> tuple[str, ...]:
    if equation is None:
        return ()
    return tuple(name for name, v in _shared_coefficients(test, equation).items() if np.any(v != v[0]))


def _in_words(equation: Equation) -> str:
    return ", ".join(f"{name}={np.round(value, 8)}" for name, value in equation.coefficients().items())


def _circumstances() -> dict[str, str]:
    device = jax.devices()[0]
    processor = platform.processor() or platform.machine()
    packages = ("jax", "jaxlib", "equinox", "numpy")
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        models = [line.split(":", 1)[1].strip() for line in named]
        processor = models[0] if models else processor
    return {
        "device": f"{device.platform} ({device.device_kind})",
        "processor": f"{processor}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
