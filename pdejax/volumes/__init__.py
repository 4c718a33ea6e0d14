"""Finite volumes: reconstructions, numerical fluxes, and the discretisation that reads a conservation law with them."""

from pdejax.volumes.constrained_transport import divergence as divergence
from pdejax.volumes.constrained_transport import solenoidal_field as solenoidal_field
from pdejax.volumes.finite_volume import FiniteVolume as FiniteVolume
from pdejax.volumes.limiters import minmod as minmod
from pdejax.volumes.limiters import monotonized_central as monotonized_central
from pdejax.volumes.limiters import superbee as superbee
from pdejax.volumes.limiters import van_leer as van_leer
from pdejax.volumes.numerical_fluxes import HLL as HLL
from pdejax.volumes.numerical_fluxes import HLLC as HLLC
from pdejax.volumes.numerical_fluxes import HLLD as HLLD
from pdejax.volumes.numerical_fluxes import AbstractNumericalFlux as AbstractNumericalFlux
from pdejax.volumes.numerical_fluxes import FluxWaves as FluxWaves
from pdejax.volumes.numerical_fluxes import Roe as Roe
from pdejax.volumes.numerical_fluxes import Rusanov as Rusanov
from pdejax.volumes.reconstruction import MUSCL as MUSCL
from pdejax.volumes.reconstruction import WENO as WENO
from pdejax.volumes.reconstruction import AbstractReconstruction as AbstractReconstruction
from pdejax.volumes.reconstruction import PiecewiseConstant as PiecewiseConstant
from pdejax.volumes.remap import remap as remap
from pdejax.volumes.remap import remap_state as remap_state
