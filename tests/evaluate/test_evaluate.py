"""Planted surrogates whose worth is known, and inputs that must be refused."""

import dataclasses
import itertools
import json
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.evaluate import OnDataGrid, RivalFamily, Variant, evaluate
from pdejax.evaluate.cost import time_in_turn
from pdejax.evaluate.pairs import PairReport
from pdejax.evaluate.report import Result
from pdejax.evaluate.rivals import classical_rivals
from pdejax.resample import resample

EQUATION = pj.equations.KolmogorovFlow(viscosity=2e-2, drag=0.1, wavenumber=2)
# One that is worth its price, one that takes small steps of low order, and one that is unstable.
FAMILY = RivalFamily((1.0, 0.5), (Variant(), Variant(2, "auto", 4.0), Variant(4, None, 0.2)))


class HalfResolution(eqx.Module):
    """A solver on half the points, dressed as a surrogate."""

    solver: pj.TimeStepper
    grid: pj.Grid
    dt: float

    def __call__(self, u, *, t=0.0, key=None):
        return resample(self.solver(resample(u, self.grid, self.solver.grid), t=t), self.solver.grid, self.grid)


class Zero(eqx.Module):
    """Wrong, and slow about it: the worst surrogate there is."""

    dt: float

    def __call__(self, u, *, t=0.0, key=None):
        slow = jax.lax.fori_loop(0, 300, lambda i, v: jnp.fft.irfft2(jnp.fft.rfft2(v), s=v.shape[-2:]), u)
        return 0 * slow


class Explodes(eqx.Module):
    """Doubles its exponent at every step, from the third time on."""

    dt: float

    def __call__(self, u, *, t=0.0, key=None):
        return jnp.where(t > 1.35, jnp.inf, 1.0) * u


class Draws(eqx.Module):
    """The state, on which it puts a constant that it draws: it needs a key, as `PDERefiner` does."""

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        if key is None:
            raise ValueError("Draws needs a key.")
        return u + jax.random.normal(key, (), u.dtype)


def test_every_trajectory_and_step_of_a_surrogate_that_draws_has_a_key_of_its_own():
    grid = pj.Grid((12,), 1.0, dtype="float32")
    data = pj.Trajectories.from_arrays(np.ones((3, 9, 1, 12), np.float32), grid, ("u",), 0.2 * np.arange(9))
    options = {"timing_seconds": 0.01, "progress": False}
    with pytest.raises(ValueError, match=r"cannot be applied .* Draws needs a key"):
        evaluate({"s": Draws()}, data, **options)
    found, again, other = (
        evaluate({"s": Draws()}, data, key=jax.random.key(k), **options).results["s"].scores["relative_l2"]
        for k in (0, 0, 1)
    )
    assert found.shape == (3, 9, 1) and np.all(found == again) and not np.any(found[:, 1:] == other[:, 1:])
    # The error is what was drawn so far; no two draws are alike, beyond a segment of the rollout neither.
    drawn = np.abs(np.diff(found[..., 0], axis=1)).ravel()
    assert len(np.unique(np.round(drawn, 5))) == drawn.size == 24


@pytest.fixture(scope="module")
def flow():
    """Six trajectories, solved on 64 x 96 points and stored on 32 x 48, from absolute time 0.8 on."""
    fine = pj.Grid((64, 96), 2 * jnp.pi)
    stepper = pj.TimeStepper(EQUATION, pj.Spectral(fine), dt=0.2, substeps=8)
    return pj.generate(
        stepper,
        pj.initial.BandLimited(peak=4, rms=3.0),
        num_samples=6,
        num_steps=6,
        burn_in=4,
        store=fine.with_shape((32, 48)),
        key=jax.random.key(0),
        measure_error=0,
        progress=False,
    )


def half(flow, report=None):
    grid = flow.grid.with_shape((16, 24))
    names = [] if report is None else [n for n in report.frontier if n.startswith("16x24 ETDRK4")]
    solver = report.rivals[names[0]].stepper if names else pj.TimeStepper(EQUATION, pj.Spectral(grid), 0.2, 2)
    return HalfResolution(solver, flow.grid, 0.2)


@pytest.fixture(scope="module")
def report(flow):
    surrogates = {"planted": half(flow), "zero": Zero(0.2), "explodes": Explodes(0.2)}
    return evaluate(surrogates, flow, EQUATION, family=FAMILY, at=1.0, timing_seconds=1.0, progress=False)


def test_half_resolution_solver_is_worth_exactly_itself(flow, report):
    # The settings are those of the frontier, the call is another program.
    settings = half(flow, report)
    again = evaluate({"planted": settings}, flow, EQUATION, family=FAMILY, at=1.0, timing_seconds=10.0, progress=False)
    (found,) = again.comparisons
    assert settings.solver.grid.shape == (16, 24)
    assert found.speed_up == pytest.approx(1.0, rel=0.1)
    # The finer rival costs little more, so a slightly dearer moment may buy a good deal of its accuracy.
    assert 0.3 * found.error < found.rival_error < 1.05 * found.error
    assert found.outcome == "draws"
    assert any(name.startswith("16x24") for name in found.faster_rivals)


def test_rival_equals_the_solver_by_itself(flow):
    """Padding to the data's points and truncating again at every output changes nothing."""
    solver = pj.TimeStepper(EQUATION, pj.Spectral(flow.grid.with_shape((16, 24))), 0.2, 2)

    @jax.jit
    def both(u):
        through_data = pj.rollout(OnDataGrid(solver, flow.grid), u, 4)
        alone = pj.rollout(solver, resample(u, flow.grid, solver.grid), 4)
        return through_data, jax.vmap(lambda v: resample(v, solver.grid, flow.grid))(alone)

    through_data, alone = both(flow.u[0, 0])
    assert np.allclose(through_data, alone, atol=2e-4 * np.abs(flow.u[0, 0]).max())


@pytest.mark.float64
def test_exact_solver_has_no_error():
    """A linear equation is solved to rounding by every rival and by a surrogate that knows the solution."""
    grid = pj.Grid((24,), 2 * jnp.pi, dtype=jnp.float64)
    rates, times = np.array([0.1, 0.2]), 0.5 * np.arange(4)
    modes = np.sin(2 * np.asarray(grid.axes[0]))
    u = 3 * np.exp(-4 * rates[:, None] * times)[:, :, None, None] * modes
    data = pj.Trajectories.from_arrays(u, grid, ("u",), times, parameters={"diffusivity": rates})

    def decay(v, parameters, *, domain=None, key=None):
        return v * jnp.exp(-4 * parameters["diffusivity"] * 0.5)

    equation = pj.equations.Diffusion(diffusivity=0.7)
    found = evaluate({"decay": decay}, data, equation, timing_seconds=0.1, progress=False)
    # Each trajectory has the diffusivity of its parameters, in model and rivals alike.
    assert found.results["decay"].error < 1e-13
    assert len(found.of_kind("rival")) == 4
    assert all(result.error < 1e-13 for result in found.of_kind("rival").values())
    # Persistence by hand: |e^(-4 D t) - 1| / e^(-4 D t), the mean over both trajectories.
    expected = np.mean(np.exp(4 * rates[:, None] * times) - 1, axis=0)
    assert np.allclose(found.results["persistence"].mean("relative_l2"), expected, rtol=1e-12)
    assert np.allclose(found.results["persistence"].mean("correlation"), 1.0)
    assert found.correlation_time("persistence") == (1.5, False)


def test_truth_must_be_twice_as_fine_as_every_rival(flow):
    family = RivalFamily(FAMILY.fractions, FAMILY.variants[:1])
    kept = evaluate({"zero": Zero(0.2)}, flow[:2], EQUATION, family=family, timing_seconds=0.0, truth_shape=(60, 96),
                    progress=False)  # fmt: skip
    assert {stepper.stepper.grid.shape for stepper in kept.rivals.values()} == {(16, 24)}
    assert "32x48" in kept.left_out[0] and "60x96" in kept.summary()


def test_without_a_resolution_left_for_rivals_the_evaluation_goes_on(flow):
    """The truth is as fine as the data: no resolution above half of the data's own is left in the family."""
    options = {"family": RivalFamily((1.0, 0.75), FAMILY.variants[:1]), "timing_seconds": 0.0, "progress": False}
    alone = evaluate({"zero": Zero(0.2)}, flow[:2], EQUATION, truth_shape=(32, 48), **options)
    assert (alone.rivals, alone.comparisons, alone.common_shape) == ({}, [], None)
    said = " ".join(alone.summary().split())
    assert "every resolution of the classical solvers was left out, so none was run" in said
    for points in ("32x48", "24x36"):
        assert f"Rival left out: {points}: the truth, solved on 32x48 points, is not twice as fine" in said
    assert "worth their price" not in said
    assert np.isfinite(alone.results["zero"].error)


@pytest.mark.parametrize(
    ("frames", "options", "stated", "because"),
    [
        (5, {}, 1.5, "the first at which the correlation of persistence is below 0.5"),
        (3, {}, 1.0, "the last: the correlation of persistence never falls below 0.5"),
        (5, {"at": 1.0}, 1.0, ""),
    ],
)
def test_the_choice_of_a_lead_time_is_explained(frames, options, stated, because):
    """Of a wave that travels by t the correlation with its beginning is cos t."""
    grid, times = pj.Grid((24,), 2 * np.pi), 0.5 * np.arange(frames)
    u = np.cos(np.asarray(grid.axes[0]) - times[:, None]).astype(np.float32)[None, :, None]
    data = pj.Trajectories.from_arrays(u, grid, ("u",), times)
    found = evaluate({"still": lambda v, parameters, domain=None, key=None: v}, data, progress=False, **options)
    assert (found.lead_time, found.stated_because) == (stated, because)


def test_a_truth_is_not_coarser_than_its_data(flow):
    with pytest.raises(ValueError, match="truth_shape states .* on 16x96 points, but the data has 32x48"):
        evaluate({"zero": Zero(0.2)}, flow[:2], EQUATION, truth_shape=(16, 96), progress=False)


def test_what_generated_the_data_says_how_fine_the_truth_is(report):
    assert report.truth_shape == (64, 96)
    assert report.left_out == []
    assert report.common_shape == (16, 24)


def test_loser_is_called_a_loser(report):
    (found,) = [c for c in report.comparisons if c.surrogate == "zero"]
    assert found.outcome == "loses"
    assert found.speed_up_bound == "at most" and found.speed_up < 0.9
    assert found.error == pytest.approx(1.0)
    # One cost per surrogate, in the headline as in the table.
    assert found.cost == report.results["zero"].cost
    assert "zero LOSES" in report.summary()
    assert found.faster_rivals[0] in report.summary()


def test_exploding_surrogate_is_reported_with_its_time(report):
    # The call that starts at absolute time 1.4 is the first to fail; its result is the state at 1.6, 0.8 after frame 0.
    result = report.results["explodes"]
    assert result.failed_at == pytest.approx(0.8)
    assert result.num_failed == 6
    assert np.isnan(result.error) and np.isnan(result.mean("relative_l2")[4])
    assert np.isfinite(result.mean("relative_l2")[3])
    (found,) = [c for c in report.comparisons if c.surrogate == "explodes"]
    assert found.outcome == "failed"
    assert "explodes FAILS" in report.summary() and "lead time 0.8" in report.summary()


def test_one_failed_sample_is_not_averaged_away(flow):
    class FailsForOne(eqx.Module):
        dt: float

        def __call__(self, u, *, t=0.0, key=None):
            return jnp.where(u[0, 0, 0] == flow.u[2, 0, 0, 0, 0], jnp.nan, u)

    found = evaluate({"one": FailsForOne(0.2)}, flow, progress=False, batch_size=4)
    assert found.results["one"].num_failed == 1
    assert np.isnan(found.results["one"].mean("nrmse")[1:]).all()
    at_first = found.curves.query("name == 'one' and metric == 'nrmse' and lead_time > 0").iloc[0]
    assert at_first["num_finite"] == 5


def test_rival_that_blows_up_is_recorded(report):
    unstable = [name for name in report.rivals if name.endswith("not dealiased")]
    failed = {name for name in unstable if report.results[name].failed_at is not None}
    assert failed and not failed & set(report.frontier)
    assert np.isnan(report.table.loc[sorted(failed)[0], "error"])
    assert "blew up" in report.summary()


def test_rival_has_failed_when_it_is_about_to_overflow():
    scores = {"relative_l2": np.array([[0.0, 1.0, 1e6], [0.0, 0.5, 1.0]])[..., None]}
    judged = {}
    for kind in ("rival", "surrogate"):
        judged[kind] = Result(kind, scores, np.ones((2, 3), bool), None, {})
        judged[kind].judge(2, np.array([0.0, 0.2, 0.4]), blown_up=10.0)
    assert (judged["rival"].failed_at, judged["rival"].num_failed) == (0.4, 1)
    assert np.isnan(judged["rival"].error)
    # A surrogate that is finite is reported with what it did.
    assert judged["surrogate"].failed_at is None
    assert judged["surrogate"].error == pytest.approx((1e6 + 1.0) / 2)


class Forced(pj.equations.Equation):
    """u_t = cos t, with the solution u_0 + sin t - sin t_0."""

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return u.coordinates[0].map(lambda x: 0 * x + jnp.cos(t))


def test_rivals_are_told_the_time():
    grid = pj.Grid((24,), 2 * jnp.pi)
    times = 0.8 + 0.25 * np.arange(12)
    start = np.sin(np.asarray(grid.axes[0])) * np.array([1.0, 2.0])[:, None]
    u = start[:, None, None, :] + (np.sin(times) - np.sin(times[0]))[:, None, None]
    data = pj.Trajectories.from_arrays(u.astype(np.float32), grid, ("u",), times)
    family = RivalFamily((1.0, 0.5), (Variant(),))
    found = evaluate({"zero": Zero(0.25)}, data, Forced(), family=family, at=2.75, timing_seconds=0.0, progress=False)
    assert len(found.rivals) == 2
    # One step of a fourth-order rule per interval: (0.25)^5 / 2880 per step.
    assert all(rival.stepper.substeps == 1 for rival in found.rivals.values())
    assert all(result.error < 2e-5 for result in found.of_kind("rival").values())


class HiddenAdvection(pj.equations.Equation):
    """u_t = -5 u_x, called nonlinear: no product, so no dealiasing, and modes all the same."""

    def components(self, ndim):
        return ("u",)

    def nonlinear(self, t, u):
        return -5.0 * u.derivative(0)


@pytest.mark.parametrize("equation", [pj.equations.Burgers(viscosity=1e-3), HiddenAdvection()])
def test_stability_limit_is_that_of_the_advection(equation):
    """u_t + c u_x has the spectral radius c k_max on the imaginary axis, whatever the nonlinear part is called."""
    grid = pj.Grid((48,), 2 * jnp.pi, dtype=jnp.float32)
    constant = jnp.full((1, 1, 48), 5.0, jnp.float32)
    family = RivalFamily((1.0, 0.5), (Variant(), Variant(dealiasing=None)))
    rivals = classical_rivals(equation, grid, 1.0, constant, family)
    substeps = [rival.stepper.substeps for rival in rivals.values()]
    # Linearised about u = 5: -5 v_x. With 2/3 of the modes, |k| <= 15 and 7; with all below N/2, 23 and 11.
    # Power iteration is a few per cent short of the radius, which stability is not.
    assert substeps == pytest.approx([5 * k / 2.8 for k in (15, 23, 7, 11)], rel=0.04)


def test_unequal_batches_and_segments_change_nothing(flow):
    """Seven frames in segments, six trajectories in batches of four: each state is scored against its own truth."""
    together = evaluate({"half": half(flow)}, flow, progress=False)
    apart = evaluate({"half": half(flow)}, flow, progress=False, batch_size=4)
    one = pj.rollout(half(flow), jnp.asarray(flow.u[5, 0]), 6, t0=flow.times[0], include_initial=True)
    error = jax.jit(jax.vmap(lambda u, truth: pj.metrics.relative_l2(u, truth, flow.grid)[0]))(one, flow.u[5])
    for found in (together, apart):
        assert np.allclose(found.results["half"].scores["relative_l2"][5, :, 0], error, rtol=1e-3, atol=1e-6)


def test_pairs_are_scored_without_time():
    inputs = np.random.default_rng(0).normal(size=(5, 2, 12, 15)).astype(np.float32)
    targets = np.concatenate([inputs, 2 * inputs[:, :1]], axis=1)

    def model(v, *, domain=None, key=None):
        return jnp.concatenate([v, 3 * v[:1]])

    found = evaluate({"model": model}, (inputs, targets))
    assert isinstance(found, PairReport)
    # Two channels are exact, the third is half too large.
    assert found.scores["model"]["relative_l2"].mean(axis=0) == pytest.approx([0, 0, 0.5], abs=1e-6)
    assert found.table.loc["model", "relative_l2"] == pytest.approx(0.5 / 3, rel=1e-5)
    assert "0.167" in found.summary()
    with pytest.raises(ValueError, match=r"gives \(2, 12, 15\) where the targets have \(3, 12, 15\)"):
        evaluate({"identity": lambda v, *, domain=None, key=None: v}, (inputs, targets))


def test_pairs_come_with_what_models_are_told_of_each():
    inputs = np.random.default_rng(0).normal(size=(5, 1, 12)).astype(np.float32)
    told = {"rate": np.linspace(1, 2, 5), "mask": np.arange(60).reshape(5, 12) % 2}
    targets = (told["rate"][:, None] * told["mask"])[:, None] * inputs

    def model(v, parameters, *, domain=None, key=None):
        return parameters["rate"] * parameters["mask"] * v

    found = evaluate({"model": model}, (inputs, targets, told), batch_size=2)
    assert found.scores["model"]["relative_l2"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="'rate' of `data` has shape .4,., and there are 5 samples"):
        evaluate({"model": model}, (inputs, targets, told | {"rate": np.ones(4)}))
    with pytest.raises(ValueError, match="given by name"):
        evaluate({"model": model}, (inputs, targets, np.ones(5)))
    with pytest.raises(ValueError, match="values of the parameter 'rate' are not finite in sample 3"):
        evaluate({"model": model}, (inputs, targets, told | {"rate": np.array([1, 1, 1, np.nan, 1])}))


def test_page_holds_everything_it_shows(report, tmp_path):
    report.save(tmp_path)
    page = (tmp_path / "report.html").read_text()
    sources = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'>\s]{5})""", page)
    assert sources and set(sources) == {"data:"}
    assert not re.search(r"https?://|@import|url\(", page)
    assert page.count("data:image/gif;base64") == 3
    for text in ("zero loses", "planted", "explodes fails", "64x96 points", report.frontier[0]):
        assert text in page
    assert not list(tmp_path.glob(".*"))
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert {c["surrogate"] for c in content["comparisons"]} == {"planted", "zero", "explodes"}
    (exploded,) = [c for c in content["contestants"] if c["name"] == "explodes"]
    assert exploded["error"] is None and exploded["failed_at"] == pytest.approx(0.8)


def test_a_surrogate_cannot_write_into_the_page(flow, tmp_path):
    found = evaluate({"<script>alert(1)</script>": Zero(0.2)}, flow[:2], progress=False)
    assert "<script" not in found.to_html(tmp_path / "page.html").read_text()


def test_timing_alternates():
    calls = []
    runs = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    seconds = time_in_turn(runs, seconds=0.0, least_rounds=4)
    assert {name: values.shape for name, values in seconds.items()} == {"a": (4,), "b": (4,)}
    # Two calls each to warm up, then four rounds that start with a, b, a, b; a short run is repeated within its turn.
    order = [name for name, _ in itertools.groupby(calls[4:])]
    assert "".join(order) == "ababa"
    assert len(calls) > 100


class TestRefusals:
    def test_empty(self, flow):
        with pytest.raises(ValueError, match="test set is empty"):
            evaluate({"s": Zero(0.2)}, flow[:0])

    @pytest.mark.parametrize("name", ["persistence", "", "truth"])
    def test_names(self, flow, name):
        with pytest.raises(ValueError, match="name"):
            evaluate({name: Zero(0.2)}, flow)

    def test_name_of_a_rival(self, flow, report):
        with pytest.raises(ValueError, match="also that of a classical rival"):
            evaluate({report.frontier[0]: Zero(0.2)}, flow, EQUATION, family=FAMILY, progress=False)

    def test_interval(self, flow):
        with pytest.raises(ValueError, match=r"dt=0.1 but the frames of the test data are 0.2 apart"):
            evaluate({"s": Zero(0.1)}, flow)

    def test_channels(self, flow):
        model = pj.models.FNO(in_channels=2, out_channels=1, ndim=2, modes=4, width=4, key=jax.random.key(0))
        with pytest.raises(ValueError, match=r"cannot be applied to a state .* \(1, 32, 48\)"):
            evaluate({"s": model}, flow)

    def test_components(self, flow):
        with pytest.raises(ValueError, match=r"has 2 components \('u', 'v'\) but the test data has 1 channels"):
            evaluate({"s": Zero(0.2)}, dataclasses.replace(flow, provenance={}), pj.equations.Burgers(viscosity=0.1))

    def test_another_problem(self, flow):
        other = pj.equations.KolmogorovFlow(viscosity=1e-3, drag=0.1, wavenumber=2)
        with pytest.raises(ValueError, match=r"viscosity=0.001 but the test data was solved with viscosity=0.02"):
            evaluate({"s": Zero(0.2)}, flow, other)

    def test_walls(self):
        grid = pj.Grid((12,), 1.0, periodic=False)
        data = pj.Trajectories.from_arrays(np.ones((2, 3, 1, 12), np.float32), grid, ("u",), [0.0, 0.2, 0.4])
        with pytest.raises(ValueError, match="need a periodic grid"):
            evaluate({"s": Zero(0.2)}, data, pj.equations.Diffusion(diffusivity=0.1))

    def test_lead_time(self, flow):
        with pytest.raises(ValueError, match="at=7 is not a lead time"):
            evaluate({"s": Zero(0.2)}, flow, at=7.0, progress=False)
