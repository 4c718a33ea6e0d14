"""How each discretisation reads an equation."""

from pdejax.fields.chebyshev import Chebyshev as Chebyshev
from pdejax.fields.eigenmodes import Eigenmodes as Eigenmodes
from pdejax.fields.eigenmodes import bases_of as bases_of
from pdejax.fields.field import AbstractField as AbstractField
from pdejax.fields.field import Poisson as Poisson
from pdejax.fields.finite_difference import FiniteDifference as FiniteDifference
from pdejax.fields.interpolation import interpolate as interpolate
from pdejax.fields.pointwise import Pointwise as Pointwise
from pdejax.fields.separable import has_derivatives as has_derivatives
from pdejax.fields.spectral import Spectral as Spectral
