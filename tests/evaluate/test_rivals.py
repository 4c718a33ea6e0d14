import jax.numpy as jnp
import numpy as np
import pytest

import pdejax as pj
from pdejax.evaluate.rivals import RivalFamily, Variant, classical_rivals


def test_rivals_too_coarse_for_the_force_are_left_out():
    """Five periods need ten points: on eight the force would be another one, and the rival no rival."""
    grid = pj.Grid((24, 24), 2 * np.pi)
    states = jnp.zeros((1, 1, 24, 24)).at[0, 0, 3].set(1.0)
    family = RivalFamily(fractions=(1.0, 0.5, 0.34), variants=(Variant(),))
    assert family.shapes(grid) == [(24, 24), (12, 12), (8, 8)]
    flow = pj.equations.KolmogorovFlow(0.1, wavenumber=5.0)
    rivals = classical_rivals(flow, grid, 0.1, states, family)
    assert {rival.stepper.grid.shape for rival in rivals.values()} == {(24, 24), (12, 12)}
    with pytest.raises(ValueError, match="would jump at its end"):
        classical_rivals(pj.equations.KolmogorovFlow(0.1, wavenumber=4.5), grid, 0.1, states, family)
