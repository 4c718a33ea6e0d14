"""Which axes of a model's weights Muon takes for the rows and columns of a matrix."""

from typing import Any

import jax
from optax.contrib import MuonDimensionNumbers

from pdejax.nn import SpectralConvolution


def muon_axes(parameters: Any) -> Any:
    """For `optax.contrib.muon(1e-2, muon_weight_dimension_numbers=muon_axes)`: input and output of every weight.

    - A `SpectralConvolution` has a matrix of channels for every frequency, `(*modes, in, out)`: each is made
      orthogonal by itself, the real and the imaginary ones apart.
    - Other arrays of two axes or more are `(out, in, *kernel)`, as in `ChannelMap` and the layers of equinox: a kernel
      is one matrix from all inputs and offsets to the outputs.
    - What has fewer axes has no matrix: None, and Muon leaves it to Adam.

    Layers of flax have their channels in another order: write such a function for them. Without any, Muon takes every
    array of two axes for `(in, out)`, which changes its step sizes alone, and leaves spectral weights and kernels to
    Adam.
    Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024), for matrices.
    """

    def axes(node: Any) -> Any:
        if isinstance(node, SpectralConvolution):
            return jax.tree.map(lambda leaf: MuonDimensionNumbers(leaf.ndim - 2, leaf.ndim - 1), node)
        if node.ndim < 2:
            return None
        return MuonDimensionNumbers(tuple(range(1, node.ndim)), 0)

    return jax.tree.map(axes, parameters, is_leaf=lambda node: isinstance(node, SpectralConvolution))
