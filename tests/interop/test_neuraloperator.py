"""neuraloperator 2.0.0 ran once (`scripts/neuraloperator_cases.py`); here its weights give its outputs, without it."""

import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import Grid, nn
from pdejax.interop.neuraloperator import fno_from_neuraloperator
from pdejax.interop.neuraloperator_options import all_options, fno_arguments
from pdejax.models import FNO

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


def part(case, kind):
    return {key.removeprefix(f"{kind} "): a for key, a in case["arrays"].items() if key.startswith(f"{kind} ")}


def hyperparameters(case):
    tuples = {key: tuple(case["hyperparameters"][key]) for key, kind in case["kinds"].items() if kind == "tuple"}
    given = case["hyperparameters"] | tuples
    boundaries = given.get("positional_embedding")
    if isinstance(boundaries, list):
        given["positional_embedding"] = SimpleNamespace(grid_boundaries=boundaries)
    return given


def loaded(name, change=(), **options):
    given = hyperparameters(CASES[name]) | dict(change)
    return fno_from_neuraloperator(part(CASES[name], "weight"), given, dtype=DTYPE, **options)


# One program for all models of the same make: factors, for example, are multiplied when they are loaded.
applied = eqx.filter_jit(lambda model, u: model(u))


@eqx.filter_jit
@eqx.filter_value_and_grad(has_aux=True)
def size_and_output(model, u):
    output = model(u)
    return jnp.sum(output**2), output


def assert_close(ours, theirs, single, double):
    assert np.std(theirs) > 1e-3
    tolerance = (double if DTYPE == np.float64 else single) * np.max(np.abs(theirs))
    np.testing.assert_allclose(np.asarray(ours).reshape(theirs.shape), theirs, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", [name for name in CASES if not part(CASES[name], "gradient")])
def test_its_weights_give_its_output(name):
    for i, u in part(CASES[name], "input").items():
        model = loaded(name, space=u.shape[1:] if "more modes than" in name else None)
        assert_close(applied(model, jnp.asarray(u)), part(CASES[name], "output")[i], 1e-5, 1e-12)


@pytest.mark.parametrize("name", [name for name in CASES if part(CASES[name], "gradient")])
def test_its_weights_give_its_output_and_its_gradients(name):
    (_, output), gradient = size_and_output(loaded(name), jnp.asarray(part(CASES[name], "input")["0"]))
    assert_close(output, part(CASES[name], "output")["0"], 1e-5, 1e-12)
    spectral, added = gradient.convolutions[0], gradient.additions[0]
    ours = {
        "fno_blocks.convs.0.weight.tensor": jnp.moveaxis(spectral.real + 1j * spectral.imaginary, (-2, -1), (0, 1)),
        "fno_blocks.convs.0.bias": added.spectral_bias,
        "fno_blocks.channel_mlp.0.fcs.0.weight": added.mlp.hidden.weight,
        "lifting.fcs.0.weight": gradient.lift.hidden.weight,
    }
    for key, theirs in part(CASES[name], "gradient").items():
        if key in ours:
            assert_close(ours.pop(key), theirs, 1e-5, 1e-11)
    assert not ours


def test_a_padded_network_is_padded_on_every_grid():
    u = jnp.asarray(part(CASES["tanh, padding"], "input")["0"])
    for periodic in (True, False):
        domain = Grid(u.shape[1:], 1.0, periodic, dtype=u.dtype)
        ours = eqx.filter_jit(lambda model, domain: model(u, domain=domain))(loaded("tanh, padding"), domain)
        assert_close(ours, part(CASES["tanh, padding"], "output")["0"], 1e-5, 1e-12)


def test_without_its_shift_of_odd_axes_the_output_is_another():
    u = part(CASES["odd axes"], "input")["0"]
    mended = applied(loaded("odd axes", shift_odd_axes=False), jnp.asarray(u))
    assert np.max(np.abs(mended - part(CASES["odd axes"], "output")["0"])) > 0.1


def test_arrays_of_a_file_and_of_tensors_and_what_the_state_says_of_itself(tmp_path):
    class Tensor:
        def __init__(self, array):
            self.array = array

        def detach(self):
            return self

        def cpu(self):
            return self

        def numpy(self):
            return self.array

    arrays, given = part(CASES["plane"], "weight"), hyperparameters(CASES["plane"])
    model = loaded("plane")
    np.savez(tmp_path / "fno.npz", **arrays)
    assert eqx.tree_equal(model, fno_from_neuraloperator(tmp_path / "fno.npz", given, dtype=DTYPE))
    # As `state_dict()` has it: what was given by position is under "args", and the defaults are beside it.
    named = {"n_layers": 4, "norm": None, "_version": "0.1.0", "_name": "FNO"}
    state = {name: Tensor(array) for name, array in arrays.items()} | {
        "_metadata": named | {"args": ((4, 4), 2, 3, 3, 2)}
    }
    assert eqx.tree_equal(model, fno_from_neuraloperator(state, dtype=DTYPE))
    assert "_metadata" in state
    fewer = fno_from_neuraloperator(state, {"n_modes": (2, 4)}, dtype=DTYPE)
    np.testing.assert_array_equal(fewer.convolutions[1].real, model.convolutions[1].real[1:3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "batch_norm"}, r"norm='batch_norm', but ours has only \[None, 'group_norm', 'instance_norm'\]"),
        ({"complex_data": True}, "complex_data=True, but ours has no complex states"),
        ({"channel_mlp_dropout": 0.1}, "pass channel_mlp_dropout=0"),
        ({"resolution_scaling_factor": 2}, "resolution_scaling_factor=2"),
        ({"fno_block_precision": "mixed"}, "fno_block_precision='mixed'"),
        ({"stabilizer": "sigmoid"}, "stabilizer='sigmoid'"),
        ({"fno_skip": "cubic"}, "fno_skip='cubic'"),
        ({"conv_module": type("SphericalConv", (), {})}, "conv_module=.*SphericalConv"),
        ({"non_linearity": "softmax"}, "non_linearity='softmax'.*pass activation="),
        ({"positional_embedding": "sinusoidal"}, "positional_embedding='sinusoidal'"),
        ({"width": 3}, r"unknown \['width'\]"),
        ({"n_modes": 4}, "one number per axis, got 4"),
        ({"n_modes": (6, 4)}, r"n_modes=\(6, 4\) are more than the weights"),
        ({"n_modes": (4,)}, r"is for \(3, 3\) channels and 2 axes"),
        ({"hidden_channels": 4}, r"is for \(3, 3\) channels and 2 axes, but hidden_channels=4"),
        ({"in_channels": 3}, r"lifting.fcs.0.weight has shape \(6, 4, 1\), .* it has \(6, 5\)"),
        ({"norm": "group_norm"}, r"missing \['fno_blocks.norm.0.bias'"),
        ({"fno_skip": None}, r"left over \['fno_blocks.fno_skips.0.conv.weight'"),
        ({"n_layers": 1}, r"left over \['fno_blocks.channel_mlp.1"),
        ({"n_layers": 3}, r"fno_blocks.convs.2.weight has \[\]: neither dense"),
        ({"_version": "0.2.0"}, "'FNO', version '0.2.0'"),
        ({"_name": "SFNO"}, "'SFNO', version"),
    ],
)
def test_what_ours_lacks_and_what_does_not_fit_is_refused_by_name(change, message):
    arrays, given = part(CASES["plane"], "weight"), hyperparameters(CASES["plane"])
    with pytest.raises(ValueError, match=message):
        fno_from_neuraloperator(arrays, given | change)


def test_what_is_no_file_of_arrays_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing.npz: there is no such file"):
        fno_from_neuraloperator(tmp_path / "nothing.npz", {})
    (tmp_path / "text.npz").write_text("weights")
    with pytest.raises(ValueError, match="is no .npz file"):
        fno_from_neuraloperator(tmp_path / "text.npz", {})
    with zipfile.ZipFile(tmp_path / "fno.pt", "w") as file:
        file.writestr("fno/data.pkl", b"never read")
    with pytest.raises(ValueError, match="fno/data.pkl, as a file of torch.save does"):
        fno_from_neuraloperator(tmp_path / "fno.pt", {})
    with pytest.raises(ValueError, match="pass hyperparameters"):
        fno_from_neuraloperator(part(CASES["plane"], "weight"))


def test_activations_are_found_by_name_and_by_module():
    def activation(**given):
        return loaded("relu, linear lifting", given).activation

    class GELU:
        approximate = "tanh"

    class LeakyReLU:
        negative_slope = 0.3

    assert activation() is jax.nn.relu
    assert activation(non_linearity=jax.nn.silu) is jax.nn.silu
    assert activation(non_linearity="gelu") is nn.exact_gelu
    assert activation(non_linearity=GELU()) is jax.nn.gelu
    with pytest.raises(ValueError, match="pass activation="):
        activation(non_linearity=LeakyReLU())


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"n_modes": (16,), "hidden_channels": 64}, 345_665),
        ({"n_modes": (16, 16), "hidden_channels": 24}, 671_113),
        ({"n_modes": (16, 16), "hidden_channels": 32}, 1_192_801),
        ({"n_modes": (64, 64), "hidden_channels": 64, "projection_channel_ratio": 4}, 69_265_345),
        ({"n_modes": (64, 64), "hidden_channels": 128}, 277_024_129),
        ({"n_modes": (32, 32, 32), "hidden_channels": 64, "projection_channel_ratio": 4}, 570_484_801),
    ],
)
def test_the_numbers_of_parameters_are_those_of_neuraloperator(options, count):
    # Counted there in release 2.0.0 as real numbers, a complex one as two.
    given = all_options(None, {"in_channels": 1, "out_channels": 1} | options)
    made = fno_arguments(given, nn.Modes.neuraloperator(options["n_modes"]), None, True)
    model = eqx.filter_eval_shape(lambda: FNO(**made, key=jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(model)) == count
