"""The experiments at tiny size: what they write, and whether the verdicts follow from the rows beside them."""

import csv
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.cli import main
from pdejax.training import OneStep, Unrolled

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture
def run(monkeypatch):
    """Runs an experiment as from the command line; returns its exit code."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))

    def run(name: str, options: str) -> Any:
        script = str(EXPERIMENTS / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [script, *options.split()])
        with pytest.raises(SystemExit) as exit:
            runpy.run_path(script, run_name="__main__")
        return exit.value.code

    return run


def read(folder: Path, name: str) -> tuple[dict[str, Any], str]:
    return json.loads((folder / f"{name}.json").read_text()), (folder / f"{name}.md").read_text()


def test_fno_kolmogorov_says_for_how_many_seeds_each_hypothesis_held(run, tmp_path, capsys):
    recipe = "--preset tiny --coefficients viscosity 0.05 wavenumber 2 --initial-rms 2.5"
    assert main(f"generate --out {tmp_path} --name flow {recipe}".split()) == 0
    data, name = tmp_path / "data", "fno_kolmogorov"
    train, valid = f"--data {data}/train/flow.hdf5", f"--valid {data}/valid/flow.hdf5"
    given = f"--preset tiny --out {tmp_path}/out --results {tmp_path}/results"
    assert run(name, f"{train} --valid {data}/train/flow.hdf5 {given}") == 2
    assert "must be another file than --data" in capsys.readouterr().err
    assert run(name, f"{train} {valid} {given} --seeds 1 1") == 2
    assert "--seeds 1 1 must be at least one number, each once" in capsys.readouterr().err
    assert run(name, f"{train} {valid} {given} --seeds 0") == 0
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        f"fno_kolmogorov.{ending}" for ending in ("json", "md", "png")
    }
    found, page = read(tmp_path / "results", name)
    (row,) = found["rows"]
    # A network of twenty steps learns nothing: the hypotheses must fail.
    assert row["share_of_persistence"] == pytest.approx(row["error"] / found["persistence_error"])
    assert row["share_of_persistence"] > 0.5
    assert (found["held"]["follows"], found["held"]["beats_persistence"]) == ("0 of 1", "0 of 1")
    curves = list(csv.DictReader((tmp_path / "out" / "curves.csv").read_text().splitlines()))
    wanted = ("FNO seed 0", "relative_l2", "1.0")
    (scored,) = (line for line in curves if (line["name"], line["metric"], line["lead_time"]) == wanted)
    assert float(scored["mean"]) == pytest.approx(row["error"])
    assert "0 of 1 seeds" in page and "- date: 20" in page and jax.__version__ in page
    assert run(name, f"{train} {valid} {given}") == 2
    assert "--overwrite" in capsys.readouterr().err


def test_ks_unrolled_compares_like_with_like(run, tmp_path):
    assert run("ks_unrolled", f"--preset tiny --seeds 3 5 --out {tmp_path}") == 0
    found, page = read(tmp_path, "ks_unrolled")
    arms = ("one step", "unrolled", "pushforward", "one step, longer")
    rows = {(row["arm"], row["seed"]): row for row in found["rows"]}
    assert list(rows) == [(arm, seed) for arm in arms for seed in (3, 5)]
    took = found["trainings"]
    assert took["one step"]["optimiser_steps"] == took["unrolled"]["optimiser_steps"]
    assert took["one step, longer"]["evaluations"] == took["unrolled"]["evaluations"]
    # Each arm ends with weights of its own, and so does each seed.
    assert len({row["error_of_one_step"] for row in found["rows"]}) == 8
    for kind, rival in (("equal_steps", "one step"), ("equal_evaluations", "one step, longer")):
        for threshold in (0.8, 0.9):
            until = {key: row[f"above_{threshold}_until"] for key, row in rows.items()}
            longer = sum(until["unrolled", seed] > until[rival, seed] for seed in (3, 5))
            assert found["held"][f"{kind}_{threshold}"] == f"{longer} of 2"
    assert "2 seeds" in page and "| one step, longer |" in page
    assert {path.suffix for path in tmp_path.glob("ks_unrolled.*")} == {".json", ".md", ".png"}
    assert (tmp_path / "report.html").exists()


def test_refiner_ks_says_what_the_spread_is_worth(run, tmp_path):
    assert run("refiner_ks", f"--preset tiny --seeds 3 --out {tmp_path}") == 0
    found, page = read(tmp_path, "refiner_ks")
    rows = {row["arm"]: row for row in found["rows"]}
    assert list(rows) == ["U-Net", "refiner", "refiner, first prediction"]
    for threshold in (0.8, 0.9):
        column = f"above_{threshold}_until"
        longer = rows["refiner"][column] > rows["U-Net"][column]
        assert found["held"][f"longer_{threshold}"] == f"{int(longer)} of 1"
    # Three steppers: what is refined is not what was predicted first.
    assert len({row["error_of_one_step"] for row in found["rows"]}) == 3
    assert all(row["tail_error"] > 0 for row in found["rows"])
    (trust,) = found["trust"]
    for name in ("spread_and_error", "spread_and_error_at_median_time", "time_said_and_time"):
        assert -1 <= trust[name] <= 1 and found["held"][name] == f"{int(trust[name] > 0.6)} of 1"
    assert "| refiner, first prediction |" in page
    assert {path.name for path in tmp_path.glob("*.png")} >= {"refiner_ks.png", "refiner_ks_spectra.png"}


def test_sinenet_waves_compares_networks_of_as_many_weights(monkeypatch):
    # Not run whole: eleven networks are compiled.
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    script = runpy.run_path(str(EXPERIMENTS / "sinenet_waves.py"))
    preset, arms, zeros = script["PRESETS"]["cpu"], script["ARMS"], "4 waves, zeros around"

    def weights(arm: str) -> int:
        return script["weights_of"](lambda key: script["network"](arm, 3, preset, key), jax.random.key(0))

    assert all(abs(weights(arm) / preset.weights - 1) < 0.1 for arm in ("1 wave", "4 waves", "U-Net"))
    tiny = script["PRESETS"]["tiny"]
    train, held_out = script["data_of"]("shallow water", tiny)
    assert train.num_channels == 3 and not np.array_equal(train.u[:2], held_out.u[:2])
    rows = {arm: script["scored"](arm, train, held_out, tiny, 3) for arm in ("4 waves", zeros)}
    # The same first weights and batches, and another function: the padding is.
    assert rows["4 waves"]["weights"] == rows[zeros]["weights"]
    assert rows["4 waves"]["error"] != rows[zeros]["error"]
    errors = {arm: (0.4, 0.2) if arm == "1 wave" else (0.3, 0.3) for arm in arms} | {zeros: (0.46, 0.44)}
    made = [
        rows["4 waves"] | {"flow": flow, "arm": arm, "seed": seed, "error": error}
        for flow in script["FLOWS"]
        for arm, both in errors.items()
        for seed, error in enumerate(both)
    ]
    held = script["verdicts"](made, (0, 1))["vorticity"]
    assert list(held.values()) == ["1 of 2", "0 of 2", "0 of 2", "1 of 2"]


def test_kolmogorov_models_adds_flows_that_are_flows(monkeypatch):
    # Not run whole: thirteen networks are compiled.
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    script = runpy.run_path(str(EXPERIMENTS / "kolmogorov_models.py"))
    grid = pj.Grid((24, 32), 2 * np.pi, dtype="float32")
    equation = pj.equations.KolmogorovFlow(viscosity=0.01, drag=0.1, wavenumber=4)
    stepper = pj.TimeStepper(equation, pj.Spectral(grid), dt=0.1, substeps=10)
    start = pj.initial.BandLimited(peak=3, rms=3.0)(grid, key=jax.random.key(0))
    frames = np.asarray(pj.rollout(stepper, start, 1, include_initial=True))[None]
    data = pj.Trajectories.from_arrays(frames, grid, ("vorticity",), [0.0, 0.1])
    added = script["with_symmetric"](data, 4)
    assert len(added) == 4 and len({float(np.sum(u[0] * start)) for u in added.u}) == 4
    for u in added.u:
        np.testing.assert_allclose(stepper(jnp.asarray(u[0])), u[1], rtol=0, atol=1e-4)
    # Half as many points keep the modes that they have, and halves of all steps are trained by each objective.
    fewer = script["on_points"](data, 12)
    assert fewer.grid.shape == (12, 12) and fewer.u.dtype == np.float32
    kept, had = (np.fft.rfft2(u, norm="forward")[..., :4, :4] for u in (fewer.u, frames))
    assert np.abs(had).max() > 0.1
    np.testing.assert_allclose(kept, had, rtol=0, atol=1e-5)
    preset = script["PRESETS"]["tiny"]
    first, later = script["objectives_of"]("unrolled", preset)
    assert (first, later) == (OneStep(), Unrolled(preset.unrolled_steps))
    report_rows = [
        {"network": network, "objective": objective, "until": 2.0 + (objective == "unrolled") + (network == "U-Net")}
        for network in ("FNO", "U-Net", "dilated ResNet", "SineNet")
        for objective in script["OBJECTIVES"]
    ]
    held = script["verdicts"](report_rows)
    assert held["convolutions"] == ["U-Net"] and held["pushforward"] == []
    assert held["unrolled"] == ["U-Net", "dilated ResNet", "SineNet", "FNO"]
    assert held["solver_is_cheaper"] == "0 of 12"


def test_learned_correction_is_held_against_the_best_solver_of_its_cost(run, tmp_path):
    assert run("learned_correction", f"--preset tiny --seeds 0 --out {tmp_path}") == 0
    found, page = read(tmp_path, "learned_correction")
    (hybrid,) = (row for row in found["rows"] if row["name"] == "hybrid, seed 0")
    affordable = [row["until"] for row in found["rivals"] if row["cost"] <= hybrid["cost"]]
    # A step of the hybrid holds one of the solver, so that some solver of no more points costs no more.
    assert hybrid["equal_cost_rival"]["until"] == max(affordable)
    assert found["held"]["longer_at_its_cost"] == f"{int(hybrid['until'] > max(affordable))} of 1"
    assert hybrid["equal_cost_rival"]["name"] in page


def test_flax_burgers_tells_the_adapter_from_the_law_of_first_weights(run, tmp_path, capsys):
    assert run("flax_burgers", f"--seeds 0 --out {tmp_path}") == 2
    assert "--data" in capsys.readouterr().err
    assert run("flax_burgers", f"--preset tiny --seeds 0 1 --out {tmp_path}") == 0
    found, page = read(tmp_path, "flax_burgers")
    rows = {row["kind"]: row for row in found["rows"]}
    for kind, row in rows.items():
        if "beside" in row:
            over = np.mean(row["errors"]) / np.mean(rows[row["beside"]]["errors"]) - 1
            assert row["over"] == pytest.approx(over)
            assert row["within"] == (abs(over) <= row["margin"])
        # From the same weights the same training ends at the same error, to rounding.
        if "same weights" in kind:
            assert row["errors"] == pytest.approx(rows[row["beside"]]["errors"], rel=1e-4)
    assert rows["linen, its own law"]["errors"] != pytest.approx(rows["equinox"]["errors"], rel=1e-3)
    assert len({row["parameters"] for row in found["rows"]}) == 1
    assert "2 seeds" in page


def test_conditioning_is_asked_on_viscosities_between_and_beyond(run, tmp_path):
    assert run("conditioning_viscosities", f"--preset tiny --seeds 0 1 --out {tmp_path}") == 0
    found, page = read(tmp_path, "conditioning_viscosities")
    rows = {(row["arm"], row["seed"]): row for row in found["rows"]}
    assert list(rows) == [(arm, seed) for arm in ("not told", "channel attention") for seed in (0, 1)]
    for where in ("between", "beyond"):
        less = sum(rows["channel attention", s][where] < rows["not told", s][where] for s in (0, 1))
        assert found["held"][where] == f"{less} of 2"
    assert all(row["between"] != row["beyond"] for row in found["rows"])
    assert found["trainings"]["channel attention"]["parameters"] > found["trainings"]["not told"]["parameters"]
    assert "2 seeds" in page


@pytest.mark.either
@pytest.mark.parametrize("name", ["fno_burgers", "fno_darcy", "fno_navier_stokes"])
def test_fourier_operators_are_asked_for_error_resolution_and_cost(run, tmp_path, name):
    assert run(name, f"--preset tiny --seeds 3 --out {tmp_path}") == 0
    found, page = read(tmp_path, name)
    (row,) = found["rows"]
    # Six steps teach nothing; and a network is a map of functions, trained or not.
    assert row["error"] > 0.1 and row["error_finer"] == pytest.approx(row["error"], rel=0.2)
    assert (found["held"]["accurate"], found["held"]["same_on_finer"]) == ("0 of 1", "1 of 1")
    assert (tmp_path / f"{name}.png").exists() and f"({name}.png)" in page
    if name == "fno_darcy":
        # Truth, solvers and the data they get belong together: on the data's cells a solver is near the truth.
        assert min(each["error"] for each in found["solvers"].values()) < 0.1


@pytest.mark.either
def test_a_transformer_is_trained_as_long_as_a_fourier_operator(run, tmp_path):
    assert run("transformer_darcy", f"--preset tiny --seeds 0 1 --out {tmp_path}") == 0
    found, page = read(tmp_path, "transformer_darcy")
    fno, transformer = found["trainings"].values()
    equal = fno["steps"] * fno["seconds_per_step"] / transformer["seconds_per_step"]
    assert abs(transformer["steps"] - equal) <= 0.5 or transformer["steps"] == 1
    errors = np.array([row["error"] for row in found["rows"]]).reshape(2, 2)
    assert found["held"]["competitive"] == f"{np.sum(errors[1] <= 1.1 * errors[0])} of 2"
    assert "2 seeds" in page


def test_specboost_has_no_more_weights_and_squares_that_sum_to_the_error(run, tmp_path):
    assert run("specboost_burgers", f"--preset tiny --seeds 0 1 --out {tmp_path}") == 0
    found, page = read(tmp_path, "specboost_burgers")
    rows = {(row["arm"], row["seed"]): row for row in found["rows"]}
    took = found["trainings"]
    # The tiny networks are mostly lifting and projection.
    for single in ("single", "single, all frequencies"):
        assert 0.7 * took[single]["parameters"] < took["pair"]["parameters"] <= took[single]["parameters"]
    less = sum(rows["pair", s]["error"] <= 0.8 * rows["single", s]["error"] for s in (0, 1))
    assert found["held"]["errs_less"] == f"{less} of 2"
    for row in found["rows"]:
        # By Parseval, and by Jensen: the mean of the squares of two errors is at least the square of their mean.
        square = row["square_below"] + row["square_above"]
        assert row["error"] <= square**0.5 * (1 + 1e-4) and square < 2 * row["error"] ** 2 * (1 + 1e-4)
    assert "2 seeds" in page


def test_gfno_symmetric_compares_networks_of_one_size(run, tmp_path):
    assert run("gfno_symmetric", f"--preset tiny --seeds 0 1 --out {tmp_path}") == 0
    found, page = read(tmp_path, "gfno_symmetric")
    arms = ("G-FNO p4", "FNO", "G-FNO p1, without turns", "FNO, four times the steps")
    gfno, fno, without, longer = ([row for row in found["rows"] if row["arm"] == arm] for arm in arms)
    for rows in (gfno, fno, without, longer):
        assert [row["seed"] for row in rows] == [0, 1]
    for row in gfno:
        assert row["error_turned"] == pytest.approx(row["error"], rel=1e-4)
    for row in (*fno, *without, *longer):
        assert row["error_turned"] != pytest.approx(row["error"], rel=1e-4)
    errors = [[row["error"] for row in rows] for rows in (gfno, fno, without, longer)]
    assert len({error for own in errors for error in own}) == 8
    for kind, rival, share in (
        ("below_fno", 1, 1),
        ("two_thirds_of_fno", 1, 2 / 3),
        ("below_same_without_turns", 2, 1),
        ("below_fno_longer", 3, 1),
    ):
        held = sum(a < share * b for a, b in zip(errors[0], errors[rival], strict=True))
        assert found["held"][kind] == f"{held} of 2"
    assert "2 seeds" in page and "| 2.24 % |" in page and "| 4.21 % |" in page


@pytest.mark.either
def test_the_networks_of_gfno_symmetric_have_about_as_many_weights(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    script = runpy.run_path(str(EXPERIMENTS / "gfno_symmetric.py"))
    counts = {}
    for name in ("cpu", "gpu"):
        for arm in script["ARMS"]:
            model = eqx.filter_eval_shape(lambda: script["network"](arm, script["PRESETS"][name], 0))  # noqa: B023
            counts[name, arm] = sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size"))
        own = [counts[name, arm] for arm in script["ARMS"]]
        assert max(own) < 1.15 * min(own)
    assert counts["gpu", "G-FNO p4"] == 853_121  # the published one
