"""The pieces of `benchmarks/training.py`: what is compared is one network, and no peer is needed to know its size."""

import equinox as eqx
import jax
import numpy as np
import pytest

from benchmarks._training_peers import (
    Batches,
    absent,
    count,
    neuraloperator_fno,
    parameters_of_fno,
    pdequinox_fno,
)
from pdejax.models import FNO

# Even numbers of points: on odd ones neuraloperator 2.0.0 shifts its frequencies back by one too many.
SIZES = [((12,), 4, 5), ((10, 8), 3, 4)]


@eqx.filter_jit
def network(ndim, modes, width):
    return FNO(1, 1, ndim, modes, width, num_layers=2, key=jax.random.key(0))


@pytest.mark.parametrize(("shape", "modes", "width"), SIZES)
def test_parameters_are_counted_by_the_formula(shape, modes, width):
    fno = network(len(shape), modes, width)
    assert count(fno) == parameters_of_fno(fno.modes, width, 2)


def test_batches_are_epochs_without_their_rests():
    batches = Batches(11, 4)
    for _ in range(3):
        epoch = np.concatenate([batches.next(), batches.next()])
        assert epoch.shape == (8,) and len(set(epoch)) == 8 and set(epoch) <= set(range(11))


@pytest.mark.skipif(absent("pdequinox"), reason="optional peer: pdequinox is not installed")
@pytest.mark.parametrize(("shape", "modes", "width"), SIZES)
def test_pdequinox_is_given_the_same_function(shape, modes, width):
    fno = network(len(shape), modes, width)
    u = jax.random.normal(jax.random.key(1), (1, *shape), np.float32)
    peer = pdequinox_fno(fno)
    assert count(peer) == count(fno)
    np.testing.assert_allclose(peer(u), fno(u), atol=2e-5)


@pytest.mark.skipif(absent("neuralop"), reason="optional peer: neuraloperator is not installed")
@pytest.mark.parametrize(("shape", "modes", "width"), SIZES)
def test_neuraloperator_is_given_the_same_function(shape, modes, width):
    import torch

    fno = network(len(shape), modes, width)
    u = jax.random.normal(jax.random.key(1), (1, *shape), np.float32)
    peer = neuraloperator_fno(fno)
    assert count(peer) == count(fno)
    with torch.no_grad():
        np.testing.assert_allclose(peer(torch.tensor(np.array(u)[None]))[0].numpy(), fno(u), atol=2e-5)
