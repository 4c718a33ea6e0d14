"""neuraloperator 2.0.0 ran once (`scripts/neuraloperator_cases.py`); here its weights give its outputs, without it."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx

import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.interop.neuraloperator import fno_from_neuraloperator

STORED = Path(os.environ.get("PDEJAX_NEURALOPERATOR", Path(__file__).with_name("neuraloperator.npz")))


def read():
    with np.load(STORED) as stored:
        cases = json.loads(str(stored["cases"]))
        for name, case in cases.items():
            rest = stored[name]
            for key, (shape, is_complex) in case["arrays"].items():
                size = int(np.prod(shape)) * (1 + is_complex)
                part, rest = rest[:size], rest[size:]
                case["arrays"][key] = (part[::2] + 1j * part[1::2] if is_complex else part).reshape(shape)
            assert not rest.size
    return cases


CASES = read()
DTYPE = CASES["line"]["arrays"]["input 0"].dtype
DOUBLE = DTYPE == np.float64


def part(case, kind):
    return {key.removeprefix(f"{kind} "): a for key, a in case["arrays"].items() if key.startswith(f"{kind} ")}


def hyperparameters(case):
    tuples = {key: tuple(case["hyperparameters"][key]) for key, kind in case["kinds"].items() if kind == "tuple"}
    given = case["hyperparameters"] | tuples
    boundaries = given.get("positional_embedding")
    if isinstance(boundaries, list):
        given["positional_embedding"] = SimpleNamespace(grid_boundaries=boundaries)
    return given


def loaded(name, **options):
    return fno_from_neuraloperator(part(CASES[name], "weight"), hyperparameters(CASES[name]), dtype=DTYPE, **options)


@pytest.mark.parametrize("name", CASES)
def test_its_weights_give_its_output(name):
    inputs, outputs = part(CASES[name], "input"), part(CASES[name], "output")
    for i, u in inputs.items():
        few = "more modes than" in name
        model = loaded(name, space=u.shape[1:] if few else None)
        got, expected = np.asarray(eqx.filter_jit(model)(jnp.asarray(u))), outputs[i]
        assert np.std(expected) > 0.01
        np.testing.assert_allclose(got, expected, atol=(1e-12 if DOUBLE else 1e-5) * np.max(np.abs(expected)), rtol=0)


def own_gradient(model, path):
    for step in path.split("."):
        model = model[int(step)] if step.isdigit() else getattr(model, step)
    return model


@pytest.mark.parametrize("name", [name for name in CASES if part(CASES[name], "gradient")])
def test_its_gradients_are_ours(name):
    model, u = loaded(name), jnp.asarray(part(CASES[name], "input")["0"])
    ours = eqx.filter_jit(eqx.filter_grad(lambda model: jnp.sum(model(u) ** 2)))(model)
    spectral = {
        "fno_blocks.convs.0.weight.tensor": lambda g: jnp.moveaxis(
            g.convolutions[0].real + 1j * g.convolutions[0].imaginary, (-2, -1), (0, 1)
        ),
        "fno_blocks.convs.0.bias": lambda g: g.additions[0].spectral_bias,
        "fno_blocks.channel_mlp.0.fcs.0.weight": lambda g: g.additions[0].mlp.hidden.weight,
        "lifting.fcs.0.weight": lambda g: g.lift.hidden.weight,
    }
    theirs = part(CASES[name], "gradient")
    for key, get in spectral.items():
        got, expected = np.asarray(get(ours)), theirs[key]
        assert np.max(np.abs(expected)) > 1e-3
        np.testing.assert_allclose(
            got, expected.reshape(got.shape), atol=(1e-11 if DOUBLE else 3e-5) * np.max(np.abs(expected)), rtol=0
        )
