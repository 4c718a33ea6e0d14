"""Rollouts against the truth, the persistence baseline and the classical rivals, in one report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from pdejax.data.coefficients import coefficient_leaves
from pdejax.equations import Equation
from pdejax.evaluate import contestants
from pdejax.evaluate.agreement import (
    check_equation_is_one,
    check_pairs_alone,
    checked_data,
    checked_lead_time,
    checked_names,
    lead_times_of,
)
from pdejax.evaluate.circumstances import circumstances
from pdejax.evaluate.coefficients import unmatched, varied, with_coefficients
from pdejax.evaluate.comparison import compare
from pdejax.evaluate.contestants import PERSISTENCE, Contestant, Kind
from pdejax.evaluate.cost import time_in_turn
from pdejax.evaluate.pairs import PairReport, evaluate_pairs
from pdejax.evaluate.report import Report, Result
from pdejax.evaluate.rivals import RivalFamily, rivals_of_data
from pdejax.evaluate.rollouts import Rollouts
from pdejax.evaluate.scores import over_channels
from pdejax.evaluate.truth import sizes_of, truth_shape_of
from pdejax.evaluate.volume_rivals import VolumeRivals
from pdejax.grid import Grid
from pdejax.progress import ProgressBar

# Beyond ten times the truth's own size a rollout has blown up, whether or not it has reached infinity yet.
BLOWN_UP = 10.0


def evaluate(
    surrogates: Mapping[str, Any],
    test: Any,
    equation: Equation | None = None,
    *,
    at: float | int | None = None,
    family: RivalFamily | VolumeRivals | None = None,
    truth_shape: Sequence[int] | None = None,
    batch_size: int | None = None,
    timing_seconds: float | int = 6.0,
    grid: Grid | None = None,
    key: PRNGKeyArray | None = None,
    progress: bool = True,
) -> Report | PairReport:
    r"""Scores surrogates on test trajectories and holds them against classical solvers at equal error and equal cost.

    Every surrogate is rolled out from the first frame of every trajectory and compared with the stored truth at every
    stored time. So are persistence (the initial state held fixed) and, where `equation` is given, a family of spectral
    solvers: several resolutions from the data's own downward, step sizes from the stability limit downward, two orders,
    with and without dealiasing. Error against cost is defined as follows.

    - Error: relative L2 at the stated time, on the modes that all rivals resolve, mean over samples and channels. Of a
      channel that is all but zero at that time, the root mean square error over the channel's size in all of the truth
      (see `pdejax.evaluate.scores`).
    - Cost: wall time per unit of simulated time and sample of a jitted rollout on the same device, in the same dtype
      and batch, compilation apart. It is the time from states on the data's points to states on the data's points, for
      all alike: a coarser rival pays for truncation and padding at every output, one with more points than the data
      for padding at the beginning and truncation at every output. Everything is timed in turn.
    - Rivals start from the initial state truncated to their modes. The truth must be at least twice as fine as the
      finest; finer rivals are left out.

    `surrogates`: `{name: model or stepper}`; a model `model(u, parameters, domain=, key=)` is given the data's interval
    and the parameters of each trajectory, whatever has a `dt` is used as it is.

    `test`: `Trajectories` with one time interval and one box; or a pair `(inputs, targets)` of arrays
    `(sample, channel, *space)` for operator learning without time, which is scored and not timed (a `PairReport`), with
    what the models are told of each sample as a third entry.

    - `equation`: what the data solve. Where `test.parameters` varies a coefficient, every trajectory has its own; one
      of a vector is named by its entries, `velocity_x`, `velocity_y` (see `pdejax.data.coefficients.spellings`). A
      parameter that names none of its coefficients is said in the report's notes.
    - `at`: the lead time of the comparison, one of those stored after the first frame; by default the first at which
      persistence has lost the solution (correlation below 0.5), or the last.
    - `family`: the rivals, see `RivalFamily`; a wider one takes longer. `VolumeRivals(FiniteVolume(...))` for
      conservation laws with shocks or walls: then errors are those of averages over the data's cells.
    - `truth_shape`: the resolution that the truth was solved on, where the provenance does not say it.
    - `batch_size`: trajectories advanced together; default all, at most 32. Costs are those of this batch.
    - `timing_seconds`: spent on timing all contestants; half as much again on each surrogate with its closest rivals.
    - `grid`: where pairs live, which the models are told; without it errors are those of a periodic box of side 1.
    - `key`: for surrogates that draw random numbers.

    A surrogate that does not stay finite is reported with the time of its failure and is not averaged over the samples
    that did; a rival that blows up is listed as failed.

    Raises `ValueError` for an empty test set, a truth that is not finite or nothing but zero, names that are not
    usable, another number of channels, an equation that contradicts the data (its class, components or coefficients),
    a grid with walls together with `equation` and spectral rivals, a lead time that is not stored, a float64 grid while
    double precision is off, trajectories of unequal boxes or intervals, and `equation`, `at`, `family` or `truth_shape`
    beside a pair; `TypeError` for an equation that is none, such as a class in place of its instance.
    """
    surrogates = checked_names(surrogates)
    check_equation_is_one(equation)
    if isinstance(test, tuple):
        check_pairs_alone({"equation": equation, "at": at, "family": family, "truth_shape": truth_shape})
        return evaluate_pairs(surrogates, test, grid, key=key, batch=64 if batch_size is None else batch_size)
    if grid is not None:
        raise ValueError("`grid` is where a pair of arrays lives; trajectories have a grid of their own: leave it out.")
    dt = checked_data(test, equation)
    own = varied(test, equation)
    if equation is not None:
        # Numbers of Python are constants of a program; those that every trajectory has another of cannot be.
        equation = with_coefficients(equation, {n: v for n, v in coefficient_leaves(equation).items() if n in own})
    truth_shape = truth_shape_of(test, truth_shape)
    lead_times = lead_times_of(np.asarray(test.times))
    if at is not None:
        checked_lead_time(at, lead_times)
    field = Rollouts(test, dt, sizes_of(test), batch_size, key)
    family = RivalFamily() if family is None else family

    entries: dict[str, tuple[Kind, Contestant]] = {PERSISTENCE: ("baseline", contestants.baseline(dt))}
    for name, given in surrogates.items():
        entries[name] = ("surrogate", contestants.surrogate(name, given, test, dt, key))
    rivals, left_out, common = rivals_of_data(test, equation, dt, family, truth_shape)
    if clash := sorted(set(rivals) & set(surrogates)):
        raise ValueError(f"The surrogate name {clash[0]!r} is also that of a classical rival: choose another.")
    entries |= {name: ("rival", contestants.rival(stepper, tuple(own))) for name, stepper in rivals.items()}

    results: dict[str, Result] = {}
    stated, because = None, ""
    with ProgressBar(len(entries) + 2, unit="", shown=progress) as bar:
        for name, (kind, contestant) in entries.items():
            bar.set_description(name)
            results[name] = field.roll(kind, contestant, common, stated)
            if stated is None:
                # Persistence comes first, and says when there is something to predict.
                stated, because = _stated_frame(results[name], lead_times, at)
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
        comparisons = compare(results, runs, lead_time, timing_seconds / 2)
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
        equation=None if equation is None else f"{type(equation).__name__}({_in_words(equation, tuple(own))})",
        provenance=dict(test.provenance),
        circumstances=circumstances(),
        rivals=rivals,
        rivals_described=family.described,
        rivals_named=family.named,
        unmatched=unmatched(test, equation),
        stated_because=because,
    )


def _stated_frame(
    persistence: Result, lead_times: Float[np.ndarray, " time"], at: float | int | None
) -> tuple[int, str]:
    """As asked for, or the first frame after the initial one at which persistence has lost the solution; and why."""
    if at is not None:
        return checked_lead_time(at, lead_times), ""
    lost = over_channels(persistence.scores["correlation"]).mean(axis=0)[1:] < 0.5
    if lost.any():
        return 1 + int(np.argmax(lost)), "the first at which the correlation of persistence is below 0.5"
    return len(lead_times) - 1, "the last: the correlation of persistence never falls below 0.5"


def _in_words(equation: Equation, own: tuple[str, ...]) -> str:
    """The coefficients; of those in `own` every trajectory has another."""
    numbers = equation.coefficients() | {n: np.asarray(v).tolist() for n, v in coefficient_leaves(equation).items()}
    stated = {name: str(np.round(value, 8)) for name, value in numbers.items()}
    return ", ".join(f"{name}={value}" for name, value in (stated | dict.fromkeys(own, "by trajectory")).items())
