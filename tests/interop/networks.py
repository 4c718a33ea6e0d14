"""One small periodic network three times: in flax.linen, in flax.nnx and in Equinox, with weights to copy."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import linen, nnx

WIDTH = 4


class Linen(linen.Module):
    out: int

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(WIDTH, (3, 3), padding="CIRCULAR")(x)
        return linen.Conv(self.out, (3, 3), padding="CIRCULAR")(linen.gelu(x))


class Nnx(nnx.Module):
    def __init__(self, into, out, *, rngs):
        self.first = nnx.Conv(into, WIDTH, (3, 3), padding="CIRCULAR", rngs=rngs)
        self.second = nnx.Conv(WIDTH, out, (3, 3), padding="CIRCULAR", rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.gelu(self.first(x)))


class Equinox(eqx.Module):
    """Written for `(channel, *space)`, so that it shares no transposition with the adapters."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d

    def __init__(self, into, out):
        first, second = jax.random.split(jax.random.key(9))
        self.first = eqx.nn.Conv2d(into, WIDTH, 3, padding="SAME", padding_mode="CIRCULAR", key=first)
        self.second = eqx.nn.Conv2d(WIDTH, out, 3, padding="SAME", padding_mode="CIRCULAR", key=second)

    def __call__(self, u, parameters=None, *, domain=None, key=None):
        return self.second(jax.nn.gelu(self.first(u)))


def with_weights(network, layers):
    """`network` (Equinox) with the weights of two layers of flax, `[{"kernel", "bias"}, ...]`."""
    kernels = [jnp.transpose(layer["kernel"], (3, 2, 0, 1)) for layer in layers]
    biases = [layer["bias"][:, None, None] for layer in layers]
    parts = lambda n: (n.first.weight, n.second.weight, n.first.bias, n.second.bias)  # noqa: E731
    return eqx.tree_at(parts, network, (*kernels, *biases))


def linen_layers(model):
    return [model.parameters["Conv_0"], model.parameters["Conv_1"]]


def nnx_layers(model):
    module = model.merged()
    return [{"kernel": c.kernel.get_value(), "bias": c.bias.get_value()} for c in (module.first, module.second)]
