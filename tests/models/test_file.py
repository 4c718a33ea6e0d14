import json
import struct

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import FNO, Ensemble, Normalised, Statistics, load, save
from pdejax.stretching import Stretched, TowardsWall


def example():
    network = FNO(
        2,
        2,
        2,
        (3, 5),
        4,
        num_layers=2,
        activation=jax.nn.silu,
        coordinates=(0, 1),
        parameters=("drag",),
        key=jax.random.key(7),
    )
    into, out = Statistics([0.1, -3.0], [1 / 3, 7.0]), Statistics([0.0, 0.0], [0.2, 0.3])
    return Normalised(network, into, out, residual=True, parameters={"drag": Statistics(0.1, 0.3)})


def test_a_stretched_grid_is_saved_with_its_model(tmp_path):
    points = (Stretched(TowardsWall(1.5, "upper"), "centres"), "nodes")
    grid = Grid((12, 8), 1.0, (False, True), points=points, dtype=jnp.float32)
    save(tmp_path / "model.pdejax", example(), names=("u", "v"), grid=grid, dt=0.2)
    assert eqx.tree_equal(grid, load(tmp_path / "model.pdejax").grid)


def test_what_is_saved_is_what_is_loaded(tmp_path):
    model, grid = example(), Grid((8, 11), (1.0, 2.0), periodic=(True, False), dtype=jnp.float32)
    path = tmp_path / "model.pdejax"
    save(path, model, names=("u", "v"), units=("m/s", "m/s"), grid=grid, dt=0.2, provenance={"loss": 0.5})
    saved = load(path)
    assert eqx.tree_equal(model, saved.model)
    assert eqx.tree_equal(grid, saved.grid)
    assert (saved.names, saved.units, saved.dt) == (("u", "v"), ("m/s", "m/s"), 0.2)
    assert saved.provenance == {"loss": 0.5}
    u = jax.random.normal(jax.random.key(1), (2, 8, 11), jnp.float32)
    np.testing.assert_array_equal(saved.model(u, {"drag": 0.2}, domain=grid), model(u, {"drag": 0.2}, domain=grid))
    assert list(tmp_path.iterdir()) == [path]


def test_the_header_can_be_read_by_anything(tmp_path):
    path = tmp_path / "model.pdejax"
    save(path, example())
    content = path.read_bytes()
    start = content.index(b"\n") + 9
    (length,) = struct.unpack("<Q", content[start - 8 : start])
    header = json.loads(content[start : start + length])
    arguments = header["model"]["arguments"]["model"]["arguments"]
    assert (arguments["width"], arguments["num_layers"]) == (4, 2)
    assert arguments["activation"] == {"function": "jax.nn.silu"}


@pytest.mark.parametrize("kept", [0, 5, 15, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = tmp_path / "model.pdejax"
    save(path, example())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is truncated" if kept > 12 or kept < 0 else "is not a pdejax model"):
        load(path)


def test_a_foreign_or_altered_file_is_refused(tmp_path):
    path = tmp_path / "model.pdejax"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="not a pdejax model file"):
        load(path)
    save(path, example())
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        load(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"format_version": 1', b'"format_version": 9', "update pdejax"),
        (b'"width": 4', b'"width": 5', "another version of that class"),
        (b"pdejax.models.fno.FNO", b"pdejax.models.fno.ONF", "which this pdejax does not have"),
        (b"pdejax.models.fno.FNO", b"os.path.abcdefghijklm", "which this pdejax does not have"),
        (b"jax.nn.silu", b"jax.nn.sulu", "cannot look up"),
    ],
)
def test_a_file_that_does_not_match_this_package_is_refused(tmp_path, old, new, message):
    path = tmp_path / "model.pdejax"
    save(path, example())
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        load(path)


def test_models_that_were_fitted_one_by_one_are_saved_as_one(tmp_path):
    ensemble = Ensemble.of(
        [example(), jax.tree.map(lambda leaf: leaf * 1.5 if eqx.is_array(leaf) else leaf, example())]
    )
    save(tmp_path / "model.pdejax", ensemble)
    assert eqx.tree_equal(load(tmp_path / "model.pdejax").model, ensemble)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": ("u", "v", "w")}, r"2 channels and there are the names \['u', 'v', 'w'\]"),
        ({"names": ("u", "v"), "units": ("m",)}, "one unit for each name"),
        ({"dt": -1.0}, "positive and finite, got -1"),
        ({"dt": float("nan")}, "positive and finite, got nan"),
    ],
)
def test_what_is_said_of_a_model_fits_it(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "model.pdejax", example(), **given)
    with pytest.raises(ValueError, match="there is no folder"):
        save(tmp_path / "new" / "model.pdejax", example())
    assert not list(tmp_path.iterdir())


def test_a_single_name_is_no_list_of_letters(tmp_path):
    network = FNO(1, 1, 1, 2, 3, num_layers=1, key=jax.random.key(0))
    save(tmp_path / "model.pdejax", network, names="vorticity", units="1/s")
    loaded = load(tmp_path / "model.pdejax")
    assert (loaded.names, loaded.units) == (("vorticity",), ("1/s",))


def test_a_model_that_cannot_be_described_leaves_no_file(tmp_path):
    network = FNO(1, 1, 1, 2, 3, num_layers=1, activation=lambda v: v**2, key=jax.random.key(0))
    with pytest.raises(ValueError, match="cannot be written to a model file"):
        save(tmp_path / "model.pdejax", network)
    with pytest.raises(
        ValueError, match="equinox.nn._linear.Linear is no model or layer of pdejax.models.*the README shows how"
    ):
        save(tmp_path / "model.pdejax", eqx.nn.Linear(2, 3, key=jax.random.key(0)))
    assert not list(tmp_path.iterdir())


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="nope: there is no such file"):
        load(tmp_path / "nope")
    with pytest.raises(ValueError, match="is a folder: name the model file in it"):
        load(tmp_path)
