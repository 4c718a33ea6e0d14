"""What is refused where it is given, in words that name the value and the fix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax import Grid
from pdejax.nn import (
    ChannelAttention,
    Conditioning,
    Convolution,
    FiLM,
    FourierLayer,
    GridEmbedding,
    Modes,
    TransposedConvolution,
    pod_basis,
)
from pdejax.nn.checks import checked_padding, padding_widths

KEY = jax.random.key(0)
LINE = Grid(8, 1.0, dtype=jnp.float32)
FIELDS = np.random.default_rng(0).normal(size=(5, 2, 8)).astype(np.float32)
WITH_NAN = np.where(np.arange(5)[:, None, None] == 3, np.nan, FIELDS)


def attended():
    module = ChannelAttention().make(2, 3, 1, dtype=jnp.float32, key=KEY)
    return module(jnp.ones((2, 8)), jnp.ones(3), None)


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Modes.classic(4.5, 2), "`modes` must be positive whole numbers, one or one per axis, got .*4.5"),
        (lambda: Modes.classic("12", 2), "`modes` must be positive whole numbers.* got '12'"),
        (lambda: Modes.neuraloperator(16), "`n_modes` must be positive whole numbers.* got 16"),
        (lambda: Conditioning(coordinates="grid"), r"position that is built, pdejax.nn.GridEmbedding\(\), got 'grid'"),
        (lambda: Conditioning(coordinates=GridEmbedding), "position that is built"),
        (lambda: Conditioning("nu", modulation=FiLM(), embedding=16), r"e.g. Embedding\(16\), got 16"),
        (lambda: Conditioning(periodic="yes"), "periodic=True, False, one of them per axis, or None, got 'yes'"),
        (lambda: Conditioning(3), "takes as `parameters` names, one or several, got 3"),
        (lambda: Conditioning("nu").channels((8,), {"nu": "a"}, None, np.float32, "FNO"), "FNO .*'nu' as one .*'a'"),
        (lambda: Conditioning("nu").channels((8,), {"nu": None}, None, np.float32, "FNO"), "FNO .*'nu' as one .*None"),
        (
            lambda: Conditioning().channels((16,), None, LINE, np.float32, "FNO"),
            r"FNO: .*\(16,\) but the domain has shape \(8,\): pass the grid of the state, or resample",
        ),
        (lambda: Convolution(1, 1, 1, walls="periodic", key=KEY), 'Convolution takes walls= one of "zeros", "edge", '),
        (lambda: TransposedConvolution(1, 1, 1, walls="zero", key=KEY), "TransposedConvolution takes .*got 'zero'"),
        (lambda: FourierLayer(stabiliser="tanh"), "as stabiliser a function of arrays.*got 'tanh'"),
        (attended, r"ChannelAttention .* has to know which axes are periodic: pass domain=grid"),
        (lambda: checked_padding(8, 2, "FNO"), "fraction of each axis, at most 1, got 8: 8 points of 64 are 0.125"),
        (lambda: checked_padding("8", 2, "FNO"), "`padding` >= 0, a fraction of each axis.*got '8'"),
        (lambda: pod_basis([FIELDS], 2, LINE), r"got a list: of Trajectories pass .*numpy.concatenate"),
        (lambda: pod_basis(FIELDS, 0, LINE), "a whole number >= 1, got 0"),
        (lambda: pod_basis(FIELDS, 0.9, LINE), "a whole number >= 1, got 0.9"),
        (lambda: pod_basis(FIELDS * 1j, 2, LINE), "got complex64: give real and imaginary part as two channels"),
        (lambda: pod_basis(WITH_NAN, 2, LINE), "1 of 5 samples are not, the first of them number 3"),
        (
            lambda: pod_basis(FIELDS, 2, LINE).on(Grid(8, 1.0, periodic=False, dtype=jnp.float32)),
            r"POD basis is of a box that is periodic .*cannot be evaluated on a grid of \(8,\) points, periodic=\(Fal",
        ),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.either
@pytest.mark.usefixtures("without_shape_checks")
def test_numbers_of_numpy_are_numbers():
    assert Modes.classic(np.int64(3), 2) == Modes.classic(np.array([3, 3]), 2) == Modes.classic(3, 2)
    assert Conditioning(coordinates=np.int64(2), periodic=np.True_) == Conditioning(coordinates=2, periodic=True)
    assert checked_padding(np.float32(0.25), 2, "FNO") == checked_padding([0.25, 0.25], 2, "FNO") == (0.25, 0.25)


@pytest.mark.either
def test_padding_is_for_axes_that_are_not_known_to_be_periodic():
    assert padding_widths((0.25, 0.5), (8, 6), None) == [(2, 2), (3, 3)]
    assert padding_widths((0.25, 0.5), (8, 6), (True, False)) == [(0, 0), (3, 3)]
