"""Small models of neuraloperator with random weights, their inputs, outputs and gradients, for the tests of the loader.

    pip install torch==2.13.0 neuraloperator==2.0.0 numpy        (in an environment of its own)
    python scripts/neuraloperator_cases.py                       # writes tests/interop/neuraloperator.npz
    python scripts/neuraloperator_cases.py --double cases.npz    # in double precision; PDEJAX_NEURALOPERATOR=cases.npz
                                                                 # makes the tests read it

neuraloperator (MIT licence) is run and nothing of it is kept but its results. All numbers of a case lie in one array,
in the order of its entry in "cases", a JSON text: hyperparameters, then names and shapes; complex ones as pairs.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from neuralop.layers.embeddings import GridEmbeddingND
from neuralop.models import FNO, TFNO

TARGET = Path(__file__).resolve().parents[1] / "tests" / "interop" / "neuraloperator.npz"
SMALL = {"in_channels": 2, "out_channels": 3, "hidden_channels": 3, "n_layers": 2}
PLANE, EVEN = SMALL | {"n_modes": (4, 4)}, (8, 6)

# name: hyperparameters, points per axis (of several inputs).
CASES: dict[str, tuple[dict, list[tuple[int, ...]]]] = {
    "line": (SMALL | {"n_modes": (6,)}, [(10,), (13,)]),
    "plane": (PLANE, [EVEN, (12, 9)]),
    "space": (SMALL | {"n_modes": (2, 4, 4)}, [(4, 6, 5)]),
    "odd axes": (PLANE, [(7, 6)]),
    "odd axes in space": (SMALL | {"n_modes": (2, 3, 4)}, [(5, 7, 4)]),
    "odd modes": (PLANE | {"n_modes": (5, 3)}, [EVEN, (7, 7)]),
    "more modes than points": (PLANE | {"n_modes": (8, 10)}, [(6, 5)]),
    "more modes than an odd number of points": (PLANE | {"n_modes": (8, 10)}, [(5, 8)]),
    "all modes of the grid": (PLANE | {"n_modes": (8, 6)}, [EVEN]),
    "fewer modes than weights": (PLANE | {"max_n_modes": (7, 6)}, [EVEN]),
    "relu, linear lifting": (
        PLANE | {"non_linearity": "relu", "lifting_channel_ratio": 0, "projection_channel_ratio": 1.5},
        [EVEN],
    ),
    "silu, no embedding, no channel MLP": (
        PLANE | {"non_linearity": "silu", "positional_embedding": None, "use_channel_mlp": False},
        [EVEN],
    ),
    "group norm, identity": (PLANE | {"norm": "group_norm", "fno_skip": "identity"}, [EVEN]),
    "instance norm, linear skip of the MLP": (
        PLANE | {"norm": "instance_norm", "channel_mlp_skip": "linear", "channel_mlp_expansion": 1.5},
        [EVEN],
    ),
    "group norm, no channel MLP, no skip": (
        PLANE | {"norm": "group_norm", "use_channel_mlp": False, "fno_skip": None},
        [EVEN],
    ),
    "soft gating, no skip of the MLP": (PLANE | {"fno_skip": "soft-gating", "channel_mlp_skip": None}, [EVEN]),
    "preactivation, group norm, tanh": (
        PLANE | {"preactivation": True, "norm": "group_norm", "stabilizer": "tanh", "channel_mlp_skip": "identity"},
        [EVEN],
    ),
    "preactivation, no channel MLP": (PLANE | {"preactivation": True, "use_channel_mlp": False}, [EVEN]),
    "tanh, padding": (PLANE | {"stabilizer": "tanh", "domain_padding": 0.25}, [(10, 7)]),
    "padding per axis": (PLANE | {"domain_padding": [0.0, 0.3]}, [EVEN]),
    "padding as a tuple": (PLANE | {"domain_padding": (0.0, 0.3)}, [EVEN]),
    "grid boundaries": (PLANE | {"positional_embedding": [[-1.0, 2.0], [0.5, 1.5]]}, [EVEN]),
    "Tucker": (PLANE | {"factorization": "Tucker", "rank": 0.4}, [EVEN]),
    "Tucker, separable, reconstructed": (
        PLANE | {"factorization": "Tucker", "rank": 0.6, "separable": True, "implementation": "reconstructed"},
        [EVEN],
    ),
    "CP": (PLANE | {"factorization": "CP", "rank": 0.3}, [EVEN]),
    "TT": (PLANE | {"factorization": "TT", "rank": 0.4}, [EVEN]),
    "separable": (PLANE | {"separable": True}, [EVEN]),
}
GRADIENTS = ("odd axes", "preactivation, group norm, tanh", "tanh, padding")


def model_of(options: dict) -> torch.nn.Module:
    made = dict(options)
    if isinstance(made.get("non_linearity"), str):
        made["non_linearity"] = getattr(torch.nn.functional, made["non_linearity"])
    if isinstance(made.get("positional_embedding"), list):
        bounds = made["positional_embedding"]
        made["positional_embedding"] = GridEmbeddingND(made["in_channels"], len(bounds), bounds)
    kind = TFNO if made.get("factorization") == "Tucker" else FNO
    model = kind(**made).eval()
    # What starts at 0 or at 1 is moved, or it could be left out unnoticed; few digits make a small file.
    with torch.no_grad():
        for parameter in model.parameters():
            moved = parameter + 0.3 * torch.randn_like(parameter)
            pairs = torch.view_as_real(moved) if moved.is_complex() else moved
            pairs = torch.round(32 * pairs) / 32
            parameter.copy_(torch.view_as_complex(pairs) if moved.is_complex() else pairs)
    return model


def arrays_of(name: str, options: dict, spaces: list[tuple[int, ...]], double: bool) -> dict[str, np.ndarray]:
    model = model_of(options)
    if double:
        model = model.double()
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.complex128) if parameter.is_complex() else parameter.data
    dtype = torch.float64 if double else torch.float32
    inputs = [torch.round(32 * torch.randn(1, options["in_channels"], *n, dtype=dtype)) / 32 for n in spaces]
    arrays = {f"weight {key}": value for key, value in model.state_dict().items() if key != "_metadata"}
    for i, x in enumerate(inputs):
        arrays |= {f"input {i}": x[0], f"output {i}": model(x)[0]}
    if name in GRADIENTS:
        model.zero_grad()
        (model(inputs[0]) ** 2).sum().backward()
        gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
        arrays |= {f"gradient {key}": value for key, value in gradients.items() if ".0." in key and "norm" not in key}
    return {key: value.detach().numpy() for key, value in arrays.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--double", metavar="PATH")
    path = parser.parse_args().double
    if path:
        # 2.0.0 computes spectra and grid embedding in single precision, whatever the weights are.
        torch.cfloat = torch.complex128
        torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    cases, numbers = {}, {}
    for name, (options, spaces) in CASES.items():
        arrays = arrays_of(name, options, spaces, bool(path))
        described = {key: [list(a.shape), bool(np.iscomplexobj(a))] for key, a in arrays.items()}
        # JSON knows no tuples, and a tuple of paddings is something else than a list.
        kinds = {key: "tuple" for key, value in options.items() if isinstance(value, tuple)}
        cases[name] = {"hyperparameters": options, "kinds": kinds, "arrays": described}
        flat = [np.stack([a.real, a.imag], -1).ravel() if np.iscomplexobj(a) else a.ravel() for a in arrays.values()]
        numbers[name] = np.concatenate(flat)
    np.savez_compressed(path or TARGET, cases=np.asarray(json.dumps(cases)), **numbers)


if __name__ == "__main__":
    main()
