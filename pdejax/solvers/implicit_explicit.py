r"""Implicit-explicit Runge-Kutta methods: L by implicit stages, N by explicit ones.

Over one step h of `y' = L y + N(t, y)`, with two tableaux of the same nodes c,

    Y_i = y + sum over j < i of (a_ij h N_j + b_ij h L Y_j) + b_ii h L Y_i,    N_j = N(t + c_j h, Y_j)

and Y_1 = y. Each stage is one application of `(1 - b_ii h L)^-1`, exact: no Jacobian, and where L is diagonal or banded
no iteration. Solved for is the difference `D_i = Y_i - y`, from

    (1 - b_ii h L) D_i = R_i,    R_i = b_ii K_1 + sum over j < i of (a_ij h N_j + b_ij K_j),    K_j = h L Y_j

In slow directions the rounding is then that of the change, not that of the state, and in stiff ones nothing large is
left over from cancellation; K_i follows from the stage without another application of L:
`K_i = K_1 + (D_i - R_i) / b_ii`.

Sources: Whitaker & Kar, Mon. Weather Rev. 141 (2013) 3426; Kennedy & Carpenter, Appl. Numer. Math. 44 (2003) 139;
Carpenter & Kennedy, NASA TM-109112 (1994); Canuto, Hussaini, Quarteroni & Zang, Spectral Methods: Fundamentals in
Single Domains (2006), section D.3.
"""

from fractions import Fraction as F
from typing import Any, ClassVar, NamedTuple

import diffrax
import jax.numpy as jnp
from jaxtyping import Array

from pdejax.solvers.linear_part import AbstractLinearPart
from pdejax.solvers.semilinear import AbstractSemilinearSolver, SemilinearTerm

Row = tuple[F | int, ...]


class Tableau(NamedTuple):
    """The numbers of a method, as published; the first stage is y.

    - `explicit`: rows of a, the first empty.
    - `implicit`: rows of b with their diagonals, the first a zero. The last is the weights of the step, too.
    - `weights`: those of the N_j in the step.
    - `error`: of the step minus those of the embedded method, the same for N_j and K_j; empty where there is none.
    """

    explicit: tuple[Row, ...]
    implicit: tuple[Row, ...]
    weights: Row
    error: Row = ()

    @property
    def nodes(self) -> Row:
        return tuple(sum(row, start=F(0)) for row in self.implicit)


_SIL3 = Tableau(
    explicit=((), (F(1, 3),), (F(1, 6), F(1, 2)), (F(1, 2), F(-1, 2), 1)),
    implicit=((0,), (F(1, 6), F(1, 6)), (F(1, 3), 0, F(1, 3)), (F(3, 8), 0, F(3, 8), F(1, 4))),
    weights=(F(1, 2), F(-1, 2), 1, 0),
)


def _difference(step: Row, embedded: Row) -> Row:
    return tuple(a - b for a, b in zip(step, embedded, strict=True))


_GAMMA_3 = F(1767732205903, 4055673282236)
_WEIGHTS_3 = (F(1471266399579, 7840856788654), F(-4482444167858, 7529755066697), F(11266239266428, 11593286722821))
_KENCARP3 = Tableau(
    explicit=(
        (),
        (F(1767732205903, 2027836641118),),
        (F(5535828885825, 10492691773637), F(788022342437, 10882634858940)),
        (
            F(6485989280629, 16251701735622),
            F(-4246266847089, 9704473918619),
            F(10755448449292, 10357097424841),
        ),
    ),
    implicit=(
        (0,),
        (_GAMMA_3, _GAMMA_3),
        (F(2746238789719, 10658868560708), F(-640167445237, 6845629431997), _GAMMA_3),
        (*_WEIGHTS_3, _GAMMA_3),
    ),
    weights=(*_WEIGHTS_3, _GAMMA_3),
    error=_difference(
        (*_WEIGHTS_3, _GAMMA_3),
        (
            F(2756255671327, 12835298489170),
            F(-10771552573575, 22201958757719),
            F(9247589265047, 10645013368117),
            F(2193209047091, 5459859503100),
        ),
    ),
)

_GAMMA_4 = F(1, 4)
_WEIGHTS_4 = (F(82889, 524892), 0, F(15625, 83664), F(69875, 102672), F(-2260, 8211))
_KENCARP4 = Tableau(
    explicit=(
        (),
        (F(1, 2),),
        (F(13861, 62500), F(6889, 62500)),
        (
            F(-116923316275, 2393684061468),
            F(-2731218467317, 15368042101831),
            F(9408046702089, 11113171139209),
        ),
        (
            F(-451086348788, 2902428689909),
            F(-2682348792572, 7519795681897),
            F(12662868775082, 11960479115383),
            F(3355817975965, 11060851509271),
        ),
        (
            F(647845179188, 3216320057751),
            F(73281519250, 8382639484533),
            F(552539513391, 3454668386233),
            F(3354512671639, 8306763924573),
            F(4040, 17871),
        ),
    ),
    implicit=(
        (0,),
        (_GAMMA_4, _GAMMA_4),
        (F(8611, 62500), F(-1743, 31250), _GAMMA_4),
        (F(5012029, 34652500), F(-654441, 2922500), F(174375, 388108), _GAMMA_4),
        (
            F(15267082809, 155376265600),
            F(-71443401, 120774400),
            F(730878875, 902184768),
            F(2285395, 8070912),
            _GAMMA_4,
        ),
        (*_WEIGHTS_4, _GAMMA_4),
    ),
    weights=(*_WEIGHTS_4, _GAMMA_4),
    error=_difference(
        (*_WEIGHTS_4, _GAMMA_4),
        (
            F(4586570599, 29645900160),
            0,
            F(178811875, 945068544),
            F(814220225, 1159782912),
            F(-3700637, 11593932),
            F(61727, 225920),
        ),
    ),
)


class AbstractImplicitExplicitSolver(AbstractSemilinearSolver):
    """Stages by a tableau whose implicit part is stiffly accurate: the step differs from its last stage by N alone.

    So the step is written: as a sum over K_j, which are as large as h L, what is left of a stiff mode would be their
    rounding.
    """

    needs_functions: ClassVar[bool] = False
    tableau: ClassVar[Tableau]

    def coefficients(self, linear: AbstractLinearPart, h: Array) -> dict[Any, Any]:
        # Stages with one diagonal share their inverse.
        return {row[-1]: linear.inverse(float(row[-1]) * h) for row in self.tableau.implicit[1:]}

    def advance(
        self, term: SemilinearTerm, coefficients: dict[Any, Any], t: Array, h: Array, y: Array, memory: Array
    ) -> tuple[Array, Array, Array | None]:
        explicit, implicit, weights, error = self.tableau
        times = term.linear.multiply
        beyond_the_last_stage = _difference(weights, (*explicit[-1], 0))
        ends_with_a_stage = not any(beyond_the_last_stage)
        sources, slopes = [h * memory], [h * term.linear.apply(y)]
        change = y
        for row, implicit_row, node in zip(explicit[1:], implicit[1:], self.tableau.nodes[1:], strict=True):
            diagonal = float(implicit_row[-1])
            rest = diagonal * slopes[0] + _weighted((*row, *implicit_row[:-1]), (*sources, *slopes))
            change = times(coefficients[implicit_row[-1]], rest)
            slopes.append(slopes[0] + (change - rest) / diagonal)
            if len(slopes) < len(explicit) or not ends_with_a_stage:
                sources.append(h * term.nonlinear(t + float(node) * h, y + change))
        y1 = y + change if ends_with_a_stage else y + (change + _weighted(beyond_the_last_stage, sources))
        estimate = _weighted(error, sources) + _weighted(error, slopes) if error else None
        return y1, term.nonlinear(t + h, y1), estimate


class Sil3(AbstractImplicitExplicitSolver):
    """Whitaker & Kar's second-order method for fast and slow waves, three evaluations of N per step.

    Fixed steps. L-stable implicit part. Third order where L = 0 and N is linear and autonomous, and no further: its
    explicit weights give `sum b c^2 = 7/18`, not 1/3.
    """

    tableau: ClassVar[Tableau] = _SIL3

    def order(self, terms: Any) -> int:
        return 2


class KenCarp3(AbstractImplicitExplicitSolver, diffrax.AbstractAdaptiveSolver):
    """ARK3(2)4L[2]SA of Kennedy & Carpenter: third order, four evaluations of N per step, L-stable implicit part.

    The embedded second-order method differs by quadrature weights too, so its estimate sees what time alone changes.
    """

    tableau: ClassVar[Tableau] = _KENCARP3

    def order(self, terms: Any) -> int:
        return 3


class KenCarp4(AbstractImplicitExplicitSolver, diffrax.AbstractAdaptiveSolver):
    """ARK4(3)6L[2]SA of Kennedy & Carpenter: fourth order, six evaluations of N per step, L-stable implicit part.

    The embedded third-order method differs by quadrature weights too, so its estimate sees what time alone changes.
    """

    tableau: ClassVar[Tableau] = _KENCARP4

    def order(self, terms: Any) -> int:
        return 4


class CrankNicolsonRK4(AbstractSemilinearSolver):
    """Carpenter & Kennedy's low-storage RK4 for N, Crank-Nicolson for L across each of its five substeps.

        G_k = N(t + c_k h, y_k) + a_k G_(k-1),    m_k = (c_(k+1) - c_k) h / 2
        (1 - m_k L) y_(k+1) = y_k + b_k h G_k + m_k L y_k

    Second order, fourth where L = 0; five evaluations of N per step. Fixed steps. A-stable in L and no more: the
    stiffest modes change their sign in every substep and hardly decay. `L y` is handed from substep to substep, not
    applied anew.
    """

    needs_functions: ClassVar[bool] = False
    a: ClassVar[Row] = (
        0,
        F(-567301805773, 1357537059087),
        F(-2404267990393, 2016746695238),
        F(-3550918686646, 2091501179385),
        F(-1275806237668, 842570457699),
    )
    b: ClassVar[Row] = (
        F(1432997174477, 9575080441755),
        F(5161836677717, 13612068292357),
        F(1720146321549, 2090206949498),
        F(3134564353537, 4481467310338),
        F(2277821191437, 14882151754819),
    )
    c: ClassVar[Row] = (
        0,
        F(1432997174477, 9575080441755),
        F(2526269341429, 6820363962896),
        F(2006345519317, 3224310063776),
        F(2802321613138, 2924317926251),
        1,
    )

    def order(self, terms: Any) -> int:
        return 2

    def coefficients(self, linear: AbstractLinearPart, h: Array) -> list[Any]:
        return [linear.inverse(half * h) for half in self._halves()]

    def advance(
        self, term: SemilinearTerm, coefficients: list[Any], t: Array, h: Array, y: Array, memory: Array
    ) -> tuple[Array, Array, None]:
        source, slope, total = h * memory, h * term.linear.apply(y), jnp.zeros_like(y)
        for k, half in enumerate(self._halves()):
            if k > 0:
                source = h * term.nonlinear(t + float(self.c[k]) * h, y + total) + float(self.a[k]) * source
            rest = float(self.b[k]) * source + 2 * half * slope
            change = term.linear.multiply(coefficients[k], rest)
            # What the substep equates with its change: b_k h G_k + m_k L (y_k + y_(k+1)).
            slope = (change - float(self.b[k]) * source) / half - slope
            total = total + change
        y1 = y + total
        return y1, term.nonlinear(t + h, y1), None

    def _halves(self) -> list[float]:
        """m_k / h."""
        return [float(later - now) / 2 for now, later in zip(self.c[:-1], self.c[1:], strict=True)]


def _weighted(weights: Any, values: Any) -> Any:
    """The sum of products, of those that do not vanish."""
    return sum(float(weight) * value for weight, value in zip(weights, values, strict=True) if weight)
