"""How each discretisation reads an equation."""

from pdejax.fields.field import AbstractField as AbstractField
from pdejax.fields.field import Poisson as Poisson
from pdejax.fields.pointwise import Pointwise as Pointwise
from pdejax.fields.spectral import Spectral as Spectral
from pdejax.fields.stencil import FiniteDifference as FiniteDifference
