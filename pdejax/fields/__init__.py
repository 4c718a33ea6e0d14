"""How each discretisation reads an equation."""

from pdejax.fields.bases import bases_of as bases_of
from pdejax.fields.chebyshev import Chebyshev as Chebyshev
from pdejax.fields.eigenmodes import Eigenmodes as Eigenmodes
from pdejax.fields.field import AbstractField as AbstractField
from pdejax.fields.field import EquationLike as EquationLike
from pdejax.fields.field import Poisson as Poisson
from pdejax.fields.finite_difference import FiniteDifference as FiniteDifference
from pdejax.fields.frozen import Frozen as Frozen
from pdejax.fields.interpolation import interpolate as interpolate
from pdejax.fields.point_values import NearBases as NearBases
from pdejax.fields.point_values import PointValues as PointValues
from pdejax.fields.pointwise import Pointwise as Pointwise
from pdejax.fields.spectral import Spectral as Spectral
