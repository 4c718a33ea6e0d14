"""Exact solutions of Riemann problems: two constant states that meet at a point, as functions of x / t."""

from pdejax.riemann.euler import EulerRiemann as EulerRiemann
from pdejax.riemann.euler import EulerStar as EulerStar
from pdejax.riemann.euler import Gas as Gas
from pdejax.riemann.self_similar import WaveSpeeds as WaveSpeeds
from pdejax.riemann.shallow_water import ShallowWaterRiemann as ShallowWaterRiemann
from pdejax.riemann.shallow_water import ShallowWaterStar as ShallowWaterStar
from pdejax.riemann.shallow_water import Water as Water
