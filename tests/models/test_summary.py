import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pdejax.grid import Grid
from pdejax.models import FFNO, FNO, Ensemble, ImplicitFNO, Normalised, Statistics, summary
from pdejax.nn import ChannelMap, Convolution
from pdejax.operations import operations_by_name

KEY = jax.random.key(0)
GRID = Grid((24, 33), 1.0, dtype=jnp.float32)


class Stencils(eqx.Module):
    """Two convolutions of five points along the first axis and three along the second."""

    first: Convolution
    second: Convolution
    in_channels: int = eqx.field(static=True, default=2)

    def __call__(self, u, parameters=None, *, domain, key=None):
        return self.second(jax.nn.gelu(self.first(u, domain.periodic)), domain.periodic)


def stencils():
    return Stencils(Convolution(2, 4, 2, (5, 3), key=KEY), Convolution(4, 3, 2, (5, 3), key=KEY))


@pytest.mark.either
def test_operations_are_those_of_the_formulas():
    model = FNO(2, 5, 2, (3, 4), 6, num_layers=2, key=KEY)
    found = summary(model, GRID)
    rows = found.layers.set_index("name")
    points = 24 * 33
    assert (
        rows.loc["lift", "flops"] == 2 * 2 * 6 * points + 6 * points + 2 * 6
    )  # the last: an empty sum, to the weights
    # Along the second axis to 2 x 4 numbers, along the first to 6 x 4 complex ones, there the matrices, and back.
    transforms = 2 * 6 * (24 * 33 * 8 + 24 * 2 * 6 * 2 * 4)
    matrices = 8 * 6 * 6 * (6 * 4)
    assert rows.loc["convolutions.0", "flops"] == pytest.approx(2 * transforms + matrices, rel=0.02)
    assert rows.loc["convolutions.0", "parameters"] == 2 * 6 * 4 * 6 * 6
    assert rows.loc["projection.out", "output"] == (5, 24, 33)
    assert (
        found.parameters == rows["parameters"].sum() == sum(a.size for a in jax.tree.leaves(model) if eqx.is_array(a))
    )
    assert found.parameter_bytes == 4 * found.parameters
    assert list(rows.index)[:2] == ["lift", "convolutions.0"] and rows.index[-1] == "between the layers"


@pytest.mark.either
def test_operations_are_about_those_that_the_compiler_counts():
    model = FNO(2, 5, 2, (3, 4), 12, num_layers=2, key=KEY)
    shape = jax.ShapeDtypeStruct((2, *GRID.shape), jnp.float32)
    counted = jax.jit(lambda u: model(u)).lower(shape).compile().cost_analysis()["flops"]
    assert summary(model, GRID).flops == pytest.approx(counted, rel=0.2)


@pytest.mark.either
def test_the_middle_point_of_stencils_sees_their_reach():
    assert summary(stencils(), GRID).receptive_field == (9, 5)
    assert summary(FNO(2, 5, 2, 3, 4, num_layers=1, key=KEY), GRID).receptive_field == (24, 33)


@pytest.mark.either
def test_a_convolution_counts_its_terms():
    rows = summary(stencils(), GRID).layers.set_index("name")
    points = 24 * 33
    assert rows.loc["first", "flops"] == 2 * 15 * 2 * 4 * points + 4 * points
    assert rows.loc["second", "flops"] == 2 * 15 * 4 * 3 * points + 3 * points


@pytest.mark.either
def test_loops_count_as_often_as_they_are_gone_through():
    few, many = (summary(ImplicitFNO(2, 5, 2, 3, 6, num_layers=n, key=KEY), GRID) for n in (2, 6))
    layer = [s.layers.set_index("name").loc["convolution"] for s in (few, many)]
    assert layer[1]["flops"] == 3 * layer[0]["flops"] and layer[1]["parameters"] == layer[0]["parameters"]


@pytest.mark.either
def test_transforms_and_products():
    u = jnp.ones((3, 64), jnp.float32)
    of = lambda f: sum(operations_by_name(jax.make_jaxpr(f)(u), set())[0].values())  # noqa: E731
    assert of(lambda u: jnp.fft.rfft(u)) == 3 * 5 * 64 * 6 / 2
    assert of(lambda u: jnp.fft.fft(jax.lax.complex(u, u))) - of(lambda u: jax.lax.complex(u, u)) == 3 * 5 * 64 * 6
    assert of(lambda u: u @ u.T) == 2 * 3 * 3 * 64
    assert of(lambda u: jnp.sum(u)) == 3 * 64


def test_what_surrounds_a_network_is_gone_through():
    network = FNO(2, 2, 2, 3, 4, num_layers=1, key=KEY)
    statistics = Statistics([1.0, 2.0], [3.0, 4.0])
    found = summary(Normalised(network, statistics, statistics, residual=True), GRID)
    assert "model.lift" in set(found.layers["name"]) and "one point sees 24 x 33" in str(found)
    assert np.all(found.layers["flops"] > 0)
    with pytest.raises(ValueError, match="ChannelMap does not keep its in_channels: pass summary"):
        summary(ChannelMap(2, 3, key=KEY), GRID)


@pytest.mark.either
def test_complex_products_branches_and_loops_inside_loops():
    u = jnp.ones((3, 64), jnp.float32)
    of = lambda f: sum(operations_by_name(jax.make_jaxpr(f)(u), set())[0].values())  # noqa: E731
    z = lambda u: jax.lax.complex(u, u)  # noqa: E731
    assert of(lambda u: jnp.matmul(z(u), z(u).T)) - 2 * of(z) == 8 * 3 * 3 * 64
    product = lambda u: (u @ u.T) @ u  # noqa: E731
    branches = (lambda u: u + 1 + 1 + 1 + 1 + 1, product)
    assert of(lambda u: jax.lax.cond(u[0, 0] > 0, *branches, u)) == pytest.approx(of(product), abs=5)

    def repeated(times, body):
        return lambda u: jax.lax.scan(lambda v, _: (body(v), None), u, None, length=times)[0]

    assert of(repeated(3, repeated(4, product))) == 12 * of(product)


@pytest.mark.either
def test_a_layer_that_is_mapped_over_lines_is_counted():
    found = summary(FFNO(2, 3, 2, 3, 4, num_layers=1, key=KEY), GRID).layers.set_index("name")
    lines = 2 * 4 * 24 * (2 * 33 * 6)  # forth and back along the last axis: four channels, 24 lines, six numbers
    assert found.loc["convolutions.0.lines.1", "flops"] > lines
    with pytest.raises(ValueError, match=r"members of an Ensemble are alike: pass one"):
        summary(Ensemble.of([FNO(2, 5, 2, 3, 4, num_layers=1, key=KEY)] * 2), GRID)
