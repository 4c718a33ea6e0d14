"""The commands at tiny size: what they leave behind, and what they say to mistakes."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
from PIL import Image

import pdejax as pj
from pdejax.cli import _terminated_like_interrupted, main
from pdejax.cli.demo import NAME
from pdejax.cli.equation import of_data
from pdejax.cli.evaluate import check_box, check_lead_time, trained_on, with_components
from pdejax.cli.former import MARK, begin_anew, refuse_foreign
from pdejax.cli.info import listed
from pdejax.cli.train import MODEL, check_valid

REPOSITORY = Path(__file__).resolve().parents[2]
# The sizes are those of the tiny demo, so that its programs are compiled once for all tests.
RECIPE = "--preset tiny --coefficients viscosity 0.05 wavenumber 2 --initial-rms 2.5"
NETWORK = "--modes 4 --width 4 --layers 2 --coordinates 0 2 --steps 3 --batch 4"
QUICK = "--seconds 0.1 --rival-fractions 0.5"


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    assert main(f"generate --out {folder} --name flow {RECIPE}".split()) == 0
    return folder


@pytest.fixture(scope="module")
def trained(generated, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    data = generated / "data"
    command = f"train --data {data}/train/flow.hdf5 --valid {data}/valid/flow.hdf5 --out {folder} {NETWORK}"
    assert main(command.split()) == 0
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "out"
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        assert main(["demo", "--preset", "tiny", "--out", str(folder)]) == 0
    (folder / "stdout.txt").write_text(stdout.getvalue())
    return folder


def mistake(capsys, command: str) -> str:
    """Runs a command that has to fail; returns the line that it says."""
    code = main(command.split())
    said = capsys.readouterr().err
    assert code == 2, said
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert last.startswith("pdejax: ")
    return last


def test_generate_splits_one_set_of_trajectories(generated):
    splits = {name: pj.read_well(generated / "data" / name / "flow.hdf5") for name in ("train", "valid", "test")}
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "valid": 2, "test": 2}
    for name, split in splits.items():
        assert split.provenance["split"] == name
        assert split.provenance["dtype"] == {"solved": "float64", "stored": "float32"}
        assert 0 < split.provenance["solver_error_one_interval"] < 0.05
        np.testing.assert_allclose(split.parameters["viscosity"], 0.05)
    assert np.allclose(splits["test"].times, np.linspace(1.0, 3.0, 11))
    first_states = np.concatenate([np.asarray(split.u[:, 0]).reshape(len(split), -1) for split in splits.values()])
    assert len(np.unique(first_states.round(4), axis=0)) == 8  # no trajectory is in two splits
    assert not list(generated.glob(".*"))


def test_generated_frames_obey_the_equation(generated):
    data = pj.read_well(generated / "data" / "test" / "flow.hdf5").load()
    equation = pj.equations.KolmogorovFlow(viscosity=0.05, drag=0.1, wavenumber=2)
    fine = data.grid.with_shape((32, 32))
    stepper = pj.TimeStepper(equation, pj.Spectral(fine), dt=0.2, substeps=8)
    before, after = data.u[0, 0], data.u[0, 1]
    solved = pj.rollout(stepper, pj.resample(before, data.grid, fine), 1)[0]
    error = np.linalg.norm(pj.resample(solved, fine, data.grid) - after)
    # What truncation to 16 x 16 points took away is missing here; with another viscosity or force it is far more.
    assert error < 0.1 * np.linalg.norm(after)
    assert error < 0.2 * np.linalg.norm(after - before)


def test_a_larger_training_set_keeps_the_test_set(generated, tmp_path, capsys):
    command = f"generate --out {tmp_path} --name flow {RECIPE} --measure-error 0"
    assert main(command.split()) == 0
    assert "exists already: choose another --out, or replace it with --overwrite" in mistake(capsys, command)
    assert main(f"{command} --train 6 --overwrite".split()) == 0
    assert len(pj.read_well(tmp_path / "data/train/flow.hdf5")) == 6
    before, after = (pj.read_well(folder / "data/test/flow.hdf5").load() for folder in (generated, tmp_path))
    np.testing.assert_array_equal(before.u, after.u)


def test_trained_model_steps_states_of_its_data(generated, trained):
    saved = pj.models.load(trained / "model.pdejax")
    data = pj.read_well(generated / "data" / "test" / "flow.hdf5").load()
    assert (saved.names, saved.dt) == (("vorticity",), pytest.approx(0.2))
    stepper = pj.models.NeuralStepper(saved.model, saved.dt, saved.grid)
    states = pj.rollout(stepper, data.u[0, 0], 3)
    assert states.shape == (3, 1, 16, 16)
    assert states.dtype == np.float32
    assert np.all(np.isfinite(states))
    assert saved.provenance["data"]["split"] == "train"
    with open(trained / "training.csv") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_evaluate_takes_the_equation_from_the_file(generated, trained, tmp_path, capsys):
    out = tmp_path / "report"
    command = f"evaluate --model {trained} --data {generated}/data/test/flow.hdf5 --out {out} {QUICK}"
    assert main(command.split()) == 0
    said = capsys.readouterr().out
    assert "FNO" in said and "does not state" not in said
    found = json.loads((out / "metrics.json").read_text())
    assert found["equation"].startswith("KolmogorovFlow(")
    assert {each["kind"] for each in found["contestants"]} == {"surrogate", "baseline", "rival"}
    assert (out / "report.html").exists()
    assert "--overwrite" in mistake(capsys, command)


def test_data_that_a_model_was_trained_on_are_named(generated, trained, tmp_path, capsys):
    command = f"evaluate --model {trained} --data {generated}/data/train/flow.hdf5 --out {tmp_path} {QUICK}"
    assert main([*command.split(), "--equation", "none"]) == 0
    assert "FNO: these are the data that the model was trained on" in capsys.readouterr().out
    saved = pj.models.load(trained / MODEL)
    splits = {name: pj.read_well(generated / "data" / name / "flow.hdf5") for name in ("train", "valid", "test")}
    assert {name: trained_on(saved, data) for name, data in splits.items()} == {
        "train": True,
        "valid": False,
        "test": False,
    }

    def noted(**notes) -> pj.Trajectories:
        return dataclasses.replace(splits["test"], provenance=splits["test"].provenance | notes)

    # Samples 4 to 7 were trained on; a larger test set from the same key holds some of them, whatever it is called.
    assert trained_on(saved, noted(first_sample=3, date="another"))
    assert not trained_on(saved, noted(first_sample=8))
    assert not trained_on(saved, noted(first_sample=3, key=[0, 1]))
    assert not trained_on(saved, dataclasses.replace(splits["train"], provenance={}))


def test_a_model_is_evaluated_on_its_own_box(generated, trained):
    saved = pj.models.load(trained / MODEL)
    data = pj.read_well(generated / "data" / "test" / "flow.hdf5")
    check_box("FNO", saved, data)
    check_box("FNO", saved, dataclasses.replace(data, grid=pj.Grid((16, 16), 2 * np.pi * (1 + 1e-6))))
    elsewhere = dataclasses.replace(data, grid=pj.Grid((16, 16), 1.0))
    with pytest.raises(ValueError, match="box of extent 6.28319 x 6.28319 but that of the data is 1 x 1"):
        check_box("FNO", saved, elsewhere)


def test_validation_data_are_of_the_kind_of_the_training_data(tmp_path, capsys):
    def data(points=(8, 8), names=("u",), dt=0.2, side=1.0, **parameters) -> pj.Trajectories:
        u = np.random.default_rng(0).normal(size=(2, 3, len(names), *points)).astype(np.float32)
        return pj.Trajectories.from_arrays(u, pj.Grid(points, side), names, dt * np.arange(3), parameters=parameters)

    viscosity = np.array([1.0, 2.0])
    check_valid(data(), data(points=(16, 16), viscosity=viscosity))
    others = {
        "dimensions 1 but --data 2": data(points=(8,)),
        "fields u, v but --data u": data(names=("u", "v")),
        "interval 0.1 but --data 0.2": data(dt=0.1),
        "extent 2 x 2 but --data 1 x 1": data(side=2.0),
    }
    for said, valid in others.items():
        with pytest.raises(ValueError, match=f"--valid has {said}"):
            check_valid(data(), valid)
    with pytest.raises(ValueError, match="--valid does not state 'viscosity', which varies in --data"):
        check_valid(data(viscosity=viscosity), data())
    pj.write_well(data(), tmp_path / "train.hdf5")
    pj.write_well(data(dt=0.1), tmp_path / "valid.hdf5")
    command = f"train --data {tmp_path}/train.hdf5 --valid {tmp_path}/valid.hdf5 --out {tmp_path}/m {NETWORK}"
    assert "--valid has interval 0.1" in mistake(capsys, command)


def test_data_of_others_name_their_equation_on_the_command_line(generated, trained, tmp_path, capsys):
    data = pj.read_well(generated / "data" / "test" / "flow.hdf5").load()
    arrays = {"u": data.u, "grid": data.grid, "names": data.names, "times": data.times}
    pj.write_well(pj.Trajectories.from_arrays(**arrays, parameters={"viscosity": 0.05}), tmp_path / "other.hdf5")
    command = f"evaluate --model {trained} --data {tmp_path}/other.hdf5 {QUICK} --out {tmp_path}/a"
    assert main(command.split()) == 0
    assert "no classical solver is run" in capsys.readouterr().out
    named = command.replace("/a", "/b") + " --equation KolmogorovFlow --truth-points 32 32"
    assert main([*named.split(), "--coefficients", "wavenumber", "2"]) == 0
    assert "the data does not state drag=0.1, amplitude=1.0: KolmogorovFlow's own default" in capsys.readouterr().out
    found = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert "viscosity=0.05" in found["equation"]
    assert "wavenumber=2" in found["equation"]


def test_info_describes_installation_data_and_model(generated, trained, capsys):
    assert main(["info"]) == 0
    assert jax.__version__ in capsys.readouterr().out
    assert main(["info", f"{generated}/data/test/flow.hdf5"]) == 0
    said = capsys.readouterr().out
    assert "2 x 11 frames" in said
    assert "KolmogorovFlow" in said
    assert main(["info", f"{trained}/model.pdejax"]) == 0
    said = capsys.readouterr().out
    assert "FNO" in said
    assert "vorticity" in said


def test_a_file_that_is_nothing_known_is_said_to_be_so(tmp_path, capsys):
    (tmp_path / "ac.mat").write_bytes(bytes(300))
    assert "ac.mat is neither a data file (HDF5) nor a model file of pdejax." in mistake(
        capsys, f"info {tmp_path}/ac.mat"
    )


def test_info_lists_one_key_per_line_and_keys_of_keys_below_theirs():
    values = {
        "solver": "ETDRK4()",
        "dtype": {"solved": "float64"},
        "errors": list(range(61)),
        "none": {},
        "key": [0, 1],
    }
    assert listed(values, indent=2) == [
        "  solver  ETDRK4()",
        "  dtype",
        "    solved  float64",
        "  errors  [0, 1, 2, ..., 60]: 61 entries",
        "  none    {}",
        "  key     [0, 1]",
    ]
    long = listed({"initial": "word " * 40, "path": "/" + "x" * 200}, indent=0)
    assert [len(line) <= 110 for line in long] == [True, True, True, False]
    assert long[1].startswith("         word")


@pytest.mark.parametrize("command", ["", "generate", "train", "evaluate", "demo", "info"])
def test_help_is_there(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*command.split(), "--help"])
    assert exit.value.code == 0
    assert "--help" in capsys.readouterr().out


def test_arguments_that_make_no_command_are_named_in_one_line(capsys):
    mistakes = {
        "demo --colour red": "demo has no option --colour; `pdejax demo --help`",
        "generate --interva 3": "generate has no option --interva; the nearest is --interval.",
        "demo --training.width=4 --interval=3": "demo has no option --interval=3; the nearest is --recipe.interval.",
        "train --learnin_rate 1 --data x": "the nearest is --learning-rate",
        "generate --frames 3 4": "generate does not know what to do with '4'.",
        "generate --frames 1.5": "--frames 1.5 does not fit; it takes INT.",
        "generate --solve-points=a": "--solve-points a does not fit; it takes [INT",
        "generate --preset small": "'small' for argument '--preset'. Expected one of ('standard', 'tiny').",
        "train --data": "--data needs a value.",
        "evaluate --seconds 1": "evaluate needs --model, --data, --out.",
        "genrate": "no command 'genrate'; did you mean generate?",
        "--traceback info": "--traceback comes before any command",
    }
    for command, said in mistakes.items():
        assert said in mistake(capsys, command), command


def test_a_mistake_of_the_parser_is_all_that_is_said(capsys):
    assert main(["generate", "--interva", "3"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--interval 0", "--interval 0 must be positive"),
        ("--interval nan", "--interval nan must be positive"),
        ("--substeps 0", "--substeps 0 must be at least 1"),
        ("--burn-in -1", "--burn-in -1 must be at least 0"),
        ("--initial-peak 9", "--initial-peak 9 must be positive and at most 7.5 on --solve-points 32 32"),
        ("--initial-rms 0", "--initial-rms 0 must be positive"),
        ("--equation Kolmogorow", "did you mean KolmogorovFlow?"),
        ("--equation Burgers --coefficients viscosity -1", "--coefficients: viscosity must be >= 0"),
        ("--coefficients viscosity 0.1 drug 0.1", "no 'drug'; it has viscosity, drag"),
        ("--coefficients drag 0.1", "--coefficients viscosity VALUE"),
        ("--solve-points 24 --store-points 12", "--solve-points 24 does not fit --equation"),
        ("--store-points 256 256", "--store-points 256 256 are more than were solved"),
        ("--solve-points 8 8", "--store-points (by default) 16 16 are more than were solved, --solve-points 8 8"),
        ("--store-points 16", "--store-points 16 must be numbers of at least 2 for as many axes"),
        ("--extent 1 2 3", "--extent 1 2 3 must be positive: one number, or one per axis of 2"),
        ("--train -1", "must not be negative"),
        ("--frames 0", "--frames 0 must be at least 1"),
        ("--substeps 1 --initial-rms 400 --train 1 --valid 0 --test 0", "take more --substeps or a smaller --interval"),
    ],
)
def test_generate_names_the_mistake_and_leaves_nothing(options, said, tmp_path, capsys):
    recipe = f"{RECIPE} {options}" if "--coefficients" not in options else options
    assert said in mistake(capsys, f"generate --out {tmp_path}/new/out {recipe}")
    assert not list(tmp_path.iterdir())


def test_train_names_the_mistake(generated, trained, tmp_path, capsys):
    data = f"{generated}/data/train/flow.hdf5"
    (tmp_path / "notes.hdf5").write_text("no HDF5 at all")
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["x"] = np.zeros(3)
    (tmp_path / "short.hdf5").write_bytes(Path(data).read_bytes()[:3000])
    mistakes = {
        f"--data {tmp_path}/none.hdf5 --out {tmp_path}/m": "there is no such file; --data must name one",
        f"--data {tmp_path} --out {tmp_path}/m": "is a folder",
        f"--data {tmp_path}/notes.hdf5 --out {tmp_path}/m": f"--data: {tmp_path}/notes.hdf5 is no HDF5 file",
        f"--data {tmp_path}/foreign.hdf5 --out {tmp_path}/m": "The Well",
        f"--data {tmp_path}/short.hdf5 --out {tmp_path}/m": "short.hdf5",
        f"--data {data} --out {tmp_path}/m --modes 40": "--modes 40: the FNO keeps 40 modes along axis 0",
        f"--data {data} --out {tmp_path}/m --modes 3 --coordinates 1 2 3": "1 2 3 must be one number, or one for each",
        f"--data {data} --out {tmp_path}/m --modes 3 --coordinates -1": "--coordinates -1 must be at least 0.",
        f"--data {data} --valid {tmp_path}/notes.hdf5 --out {tmp_path}/m": "--valid: ",
        f"--data {data} --out {tmp_path}/m --modes 3 --batch 1000": "use --batch <= 40",
        f"--data {data} --out {tmp_path}/m --modes 3 --steps 0": "--steps 0 must be at least 1",
        f"--data {data} --out {tmp_path}/m --modes 3 --learning-rate 0": "--learning-rate 0 must be positive",
        f"--data {data} --out {tmp_path}/m --fields pressure": "pressure",
        f"--data {data} --out {trained}": "--overwrite",
    }
    for command, said in mistakes.items():
        assert said in mistake(capsys, f"train {command}"), command
    assert not (tmp_path / "m" / "model.pdejax").exists()


def test_evaluate_names_the_mistake(generated, trained, tmp_path, capsys):
    good = {"--model": f"{trained}", "--data": f"{generated}/data/test/flow.hdf5", "--out": f"{tmp_path}/report"}

    def said(**changes: str) -> str:
        options = good | {f"--{name}": value for name, value in changes.items()}
        return mistake(capsys, "evaluate " + " ".join(f"{name} {value}" for name, value in options.items()))

    assert "no such file; --model must name one" in said(model=f"{tmp_path}/none.pdejax")
    assert f"--model: {good['--data']} is not a pdejax model file" in said(model=good["--data"])
    assert f"--data: {trained}/model.pdejax is no HDF5 file" in said(data=f"{trained}/model.pdejax")
    assert "--equation Burgers: KolmogorovFlow was solved for this file" in said(equation="Burgers")
    assert "--at 9 must be a lead time of the rollouts: a multiple of 0.2 from 0.2 to 2" in said(at="9")
    assert "--truth-points 24 must be 2 numbers" in said(**{"truth-points": "24"})
    assert "name it with --equation" in said(equation="none", coefficients="viscosity 0.05")
    assert "--coefficients: the equation has viscosity=0.07 but the test data was solved with viscosity=0.05" in said(
        coefficients="viscosity 0.07"
    )
    assert "A rollout of 11 steps: the data have 1 to 10" in said(steps="11")
    assert "twice" in said(model=f"{trained} {trained}")
    data = pj.read_well(good["--data"]).load()
    arrays = {"u": data.u[:, ::2], "grid": data.grid, "names": data.names, "times": data.times[::2]}
    pj.write_well(pj.Trajectories.from_arrays(**arrays), tmp_path / "sparse.hdf5")
    assert "steps of 0.2 but the frames of the data are 0.4 apart" in said(data=f"{tmp_path}/sparse.hdf5")


def test_fields_are_components_where_the_user_says_so(capsys):
    arrays = {"u": np.ones((1, 2, 2, 4, 4)), "grid": pj.Grid((4, 4), 1.0), "times": [0.0, 1.0]}
    burgers = pj.equations.Burgers(0.1)
    foreign = pj.Trajectories.from_arrays(**arrays, names=["p", "q"])
    assert with_components(foreign, burgers, explicit=True).names == ("u", "v")
    assert "the fields p, q are taken as u, v" in capsys.readouterr().out
    with pytest.raises(ValueError, match="the fields p, q: say --equation Burgers if"):
        with_components(foreign, burgers, explicit=False)
    with pytest.raises(ValueError, match="the fields v, u: train the model with --fields u v"):
        with_components(foreign.rename("v", "u"), burgers, explicit=True)
    with pytest.raises(ValueError, match="the fields p, q: choose another --equation, or say"):
        with_components(foreign, pj.equations.KolmogorovFlow(0.1), explicit=True)
    with pytest.raises(ValueError, match="the fields p, q: name their equation with --equation, or say"):
        with_components(foreign, pj.equations.KolmogorovFlow(0.1), explicit=False)
    with pytest.raises(ValueError, match=r"--equation Unknown: there is none of this name\. They are Acoustics"):
        of_data(foreign, "Unknown", {})


def test_a_vector_coefficient_is_put_together_from_its_entries():
    grid = pj.Grid((8, 9), 1.0)
    parameters = {"velocity_x": np.array([1.0, 2.0]), "velocity_y": np.array([0.5, -0.5])}
    data = pj.Trajectories.from_arrays(np.ones((2, 1, 1, 8, 9)), grid, ("u",), parameters=parameters)
    np.testing.assert_allclose(of_data(data, "Advection", {}).velocity, [1.5, 0.0])


def test_a_lead_time_is_that_of_a_frame():
    check_lead_time(0.6, 0.2, 5)
    for at in (0.0, 0.5, 1.2):
        with pytest.raises(ValueError, match=r"--at .* a multiple of 0.2 from 0.2 to 1"):
            check_lead_time(at, 0.2, 5)


def test_traceback_is_shown_when_asked_for(tmp_path, capsys):
    assert main(["info", f"{tmp_path}/none", "--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_demo_leaves_what_it_promises(demo):
    for split, count in {"train": 4, "valid": 2, "test": 2}.items():
        assert len(pj.read_well(demo / "data" / split / "kolmogorov_flow.hdf5")) == count
    assert pj.models.load(demo / "model.pdejax").names == ("vorticity",)
    rows = list(csv.DictReader((demo / "metrics.csv").read_text().splitlines()))
    found = json.loads((demo / "metrics.json").read_text())
    assert {row["kind"] for row in rows} == {"surrogate", "baseline", "rival"}
    assert [comparison["surrogate"] for comparison in found["comparisons"]] == ["FNO"]
    assert list(csv.DictReader((demo / "curves.csv").read_text().splitlines()))
    images = list(demo.glob("*.png"))
    assert len(images) >= 5
    for path in images:
        with Image.open(path) as image:
            image.verify()
    with Image.open(demo / "animation.gif") as animation:
        assert animation.n_frames == 11
    page = (demo / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert not list(demo.rglob(".*"))


def test_demo_summary_says_what_a_reader_wants_to_know(demo):
    said = (demo / "stdout.txt").read_text()
    for wanted in ("correlation with the truth falls below", "Holding the initial state", "solver error, measured"):
        assert wanted in said
    for wanted in ("fno", "relative l2", "speed-up at equal error", "report.html"):
        assert wanted in said.lower()


def test_demo_replaces_a_former_demo_and_nothing_else(demo, tmp_path, capsys):
    refuse_foreign(demo, NAME)
    refuse_foreign(tmp_path, NAME)
    refuse_foreign(tmp_path / "new", NAME)
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    assert "holds files that no demo made" in mistake(capsys, f"demo --out {tmp_path} --preset tiny")
    assert "is a file; name a folder" in mistake(capsys, f"demo --out {thesis} --preset tiny")
    assert list(tmp_path.iterdir()) == [thesis]


def test_a_demo_begins_without_what_an_earlier_one_left(demo, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(demo, folder)
    for name in (f"..{NAME}.unfinished.hdf5.1.partial", ".report.html.1.unfinished", f"{MODEL}.partial"):
        (folder / name).write_text("half")
    begin_anew(folder, NAME, MODEL)
    # What the demo did not make stays.
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {MARK, "stdout.txt"}


def test_a_demo_that_fails_leaves_nothing_of_an_earlier_one(demo, tmp_path, capsys):
    folder = tmp_path / "demo"
    shutil.copytree(demo, folder)
    assert "substeps" in mistake(
        capsys, f"demo --out {folder} --preset tiny --recipe.substeps 1 --recipe.initial-rms 400"
    )
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {MARK, "stdout.txt"}


def test_temporary_files_of_a_demo_that_was_killed_are_nothing_foreign(tmp_path):
    left = tmp_path / f"..{NAME}.unfinished.hdf5.1.partial"
    left.write_text("half")
    refuse_foreign(tmp_path, NAME)
    begin_anew(tmp_path, NAME, MODEL)
    assert [path.name for path in tmp_path.iterdir()] == [MARK]
    (tmp_path / MARK).unlink()
    (tmp_path / "thesis.tex.partial").write_text("half of years of work")
    with pytest.raises(ValueError, match="holds files that no demo made"):
        refuse_foreign(tmp_path, NAME)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_demo_leaves_its_mark_and_no_half_file(sent, tmp_path):
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "pdejax", "demo", "--preset", "tiny", "--out", str(folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        # Its mark is written just before XLA compiles for seconds.
        while process.poll() is None and not (folder / MARK).exists():
            time.sleep(0.05)
        process.send_signal(sent)
        said = process.communicate()[1].decode()
    assert process.returncode == 130, said
    assert said.endswith("pdejax: interrupted; files that were not finished are not kept.\n")
    assert [path.name for path in folder.iterdir()] == [MARK]


def test_an_interruption_while_the_command_is_loaded_is_one_line():
    code = """
import importlib.abc, os, signal, sys

class Interrupted(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "jax":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupted())
from pdejax_command import main
sys.exit(main())
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "pdejax: interrupted.\n")


def test_an_interruption_while_arguments_are_read_is_one_line():
    code = """
import os, signal, sys
import pdejax.cli

pdejax.cli.parse = lambda *_: os.kill(os.getpid(), signal.SIGINT)
sys.exit(pdejax.cli.main(["info"]))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "pdejax: interrupted.\n")


def _interrupt():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)


class Destroyed:
    def __del__(self):
        _interrupt()


class Finalized:
    def __init__(self):
        weakref.finalize(self, _interrupt)


@pytest.mark.parametrize("kind", [Destroyed, Finalized])
def test_an_interruption_inside_a_destructor_is_not_lost(kind):
    with pytest.raises(KeyboardInterrupt), _terminated_like_interrupted():
        kind()
        time.sleep(5)


def test_demo_names_its_own_options_before_it_solves_anything(tmp_path, capsys):
    mistakes = {
        "--training.modes 40": "--training.modes 40: the FNO keeps 40 modes along axis 0, whose 16 points resolve 8.",
        "--training.batch 9999": "--training.batch 9999 must be at most 40",
        "--training.learning-rate -1": "--training.learning-rate -1 must be positive",
        "--recipe.interval 0": "--recipe.interval 0 must be positive",
        "--recipe.store-points 64 64": "--recipe.store-points 64 64 are more than were solved, --recipe.solve-points",
        "--rollout-steps 11": "--rollout-steps 11 must be between 1 and --recipe.frames 10",
        "--at 0.33": "--at 0.33 must be a lead time of the rollouts",
        "--at 3": "--at 3 must be a lead time of the rollouts: a multiple of 0.2 from 0.2 to 2",
        "--rival-fractions 0": "--rival-fractions 0 must be above 0",
    }
    for options, said in mistakes.items():
        assert said in mistake(capsys, f"demo --out {tmp_path / 'demo'} --preset tiny {options}"), options
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--recipe.equation Burgers", "add `--recipe.coefficients viscosity VALUE`"),
        ("--recipe.equation Nonsense", "--recipe.equation Nonsense: there is none of this name"),
        ("--recipe.coefficients wavenumbr 3", "--recipe.coefficients: KolmogorovFlow has no 'wavenumbr'"),
        ("--recipe.coefficients viscosity -1", "--recipe.coefficients: viscosity must be >= 0, got -1"),
        ("--recipe.coefficients viscosity 0.1 drag -3", "--recipe.coefficients: drag must be >= 0"),
        (
            "--recipe.coefficients viscosity 0.1 wavenumber 1.5",
            "--recipe.coefficients, --recipe.extent 6.28319 and --recipe.solve-points 32 32 do not fit together",
        ),
        ("--recipe.extent 5 6", "--recipe.extent 5 6 and --recipe.solve-points 32 32 do not fit together"),
        (
            "--recipe.store-points 4 4 --training.modes 1",
            "--recipe.store-points 4 4 are too few for the classical solvers",
        ),
    ],
)
def test_a_demo_of_an_unfit_equation_leaves_an_earlier_one_alone(options, said, tmp_path, capsys):
    (tmp_path / MARK).write_text("made by a demo")
    (tmp_path / "report.html").write_text("a finished report")
    assert main(f"demo --out {tmp_path} --preset tiny {options}".split()) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert (tmp_path / "report.html").read_text() == "a finished report"


def test_module_runs_as_a_command():
    command = [sys.executable, "-m", "pdejax", "info", "none.hdf5"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "pdejax: none.hdf5: there is no such file; FILE must name one.\n"


def test_data_set_recipe(tmp_path, monkeypatch):
    script = REPOSITORY / "datasets" / "kolmogorov_flow.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--preset", "tiny", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as exit:
        runpy.run_path(str(script), run_name="__main__")
    assert exit.value.code == 0
    data = pj.read_well(tmp_path / "data" / "train" / "kolmogorov_flow.hdf5")
    assert (len(data), data.grid.shape) == (2, (24, 24))
    assert data.provenance["solver_error_one_interval"] < 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--ou x", "has no option --ou; the nearest is --out."),
        ("", "needs --out."),
        ("--out x --preset small", "invalid choice 'small' for argument '--preset'"),
        ("--out x --train 3", "has no option --train;"),
    ],
)
def test_a_script_says_a_mistake_as_the_commands_do(options, said, capsys, monkeypatch):
    script = str(REPOSITORY / "datasets" / "kolmogorov_flow.py")
    monkeypatch.setattr(sys, "argv", [script, *options.split()])
    with pytest.raises(SystemExit) as exit:
        runpy.run_path(script, run_name="__main__")
    assert exit.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert line.endswith(f"`python {script} --help` lists all options.")


def test_another_equation_starts_from_its_own_coefficients(tmp_path):
    # The default coefficients are those of the driven flow; a viscosity, a drag and a wavenumber say nothing here.
    sizes = "--solve-points 32 --store-points 16 --extent 22 --frames 2 --burn-in 1 --train 1 --valid 1 --test 1"
    assert main(f"generate --equation KuramotoSivashinsky {sizes} --out {tmp_path / 'data'}".split()) == 0
