"""Breaks the code on purpose, one place at a time, and runs the tests that must notice.

    python scripts/mutations.py            # all of them, in a copy; exits with 1 when one goes unnoticed
    python scripts/mutations.py advection  # those whose name contains the word

Each mutation is a text that is replaced once. A text that no longer occurs is an error: then the mutation needs
another look, not the code.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "real part of the exponential coefficients",
        "pdejax/solvers/phi_functions.py",
        "        result.append(jnp.where(small, series[order - 1], closed))",
        "        result.append(jnp.where(small, series[order - 1], closed).real)",
        "tests/solvers/test_exponential.py -k korteweg",
    ),
    Mutation(
        "in and out channels of the spectral weights swapped",
        "pdejax/nn/spectral_convolution.py",
        '"i...,...io->o..."',
        '"i...,...oi->o..."',
        "tests/nn/test_spectral_convolution.py",
    ),
    Mutation(
        "dealiasing mask dropped",
        "pdejax/fields/spectral.py",
        "return coefficients if self.mask is None else jnp.where(self.mask, coefficients, 0)",
        "return coefficients",
        "tests/fields/test_spectral.py -k fold_back",
    ),
    Mutation(
        "products truncated, but not what enters them",
        "pdejax/fields/spectral.py",
        "self._by_component(inverse, coefficients if is_given else self.truncated(coefficients))",
        "self._by_component(inverse, coefficients)",
        "tests/fields/test_spectral.py -k fold_back",
    ),
    Mutation(
        "mask one mode too wide",
        "pdejax/fields/spectral.py",
        "< fraction * n / 2",
        "<= fraction * n / 2",
        "tests/fields/test_spectral.py -k products_of_kept_modes",
    ),
    Mutation(
        "sign of Burgers' advection flipped",
        "pdejax/equations/burgers.py",
        "return -u.advect(u)",
        "return u.advect(u)",
        "tests/equations/test_equations.py -k burgers",
    ),
    Mutation(
        "sign of the vorticity's advection flipped",
        "pdejax/equations/navier_stokes.py",
        'return -self.velocity(t, u).advect(u["vorticity"])',
        'return self.velocity(t, u).advect(u["vorticity"])',
        "tests/fields/test_spectral.py -k jacobian",
    ),
    Mutation(
        "sign of the stream function flipped",
        "pdejax/fields/field.py",
        "return self.derivative(1).stack(-self.derivative(0))",
        "return (-self.derivative(1)).stack(self.derivative(0))",
        "tests/fields/test_spectral.py -k jacobian",
    ),
    Mutation(
        "sign of the force flipped",
        "pdejax/equations/navier_stokes.py",
        "lambda y: -self.amplitude * self.wavenumber",
        "lambda y: self.amplitude * self.wavenumber",
        "tests/equations/test_equations.py -k kolmogorov",
    ),
    Mutation(
        "drag with the wrong sign",
        "pdejax/equations/navier_stokes.py",
        "u * self.drag",
        "u * -self.drag",
        "tests/equations/test_equations.py -k taylor_green",
    ),
    Mutation(
        "a coefficient made static",
        "pdejax/equations/burgers.py",
        'eqx.field(converter=partial(coefficient, "viscosity", nonnegative=True))',
        "eqx.field(converter=float, static=True)",
        "tests/solvers/test_time_stepper.py -k one_program",
    ),
    Mutation(
        "time ignored by the stepper",
        "pdejax/solvers/time_stepper.py",
        "t = jnp.asarray(t, self.grid.dtype)",
        "t = jnp.zeros_like(jnp.asarray(t, self.grid.dtype))",
        "tests/solvers/test_exponential.py -k depends_on_time",
    ),
    Mutation(
        "time of the stages ignored",
        "pdejax/solvers/etdrk.py",
        "n_a = term.nonlinear(t + h / 2, a)\n        b = ",
        "n_a = term.nonlinear(t, a)\n        b = ",
        "tests/solvers/test_exponential.py -k depends_on_time",
    ),
    Mutation(
        "time not passed on by the rollout",
        "pdejax/rollout.py",
        "following = stepper(u, t=t0 + n * stepper.dt",
        "following = stepper(u, t=t0",
        "tests/test_rollout.py",
    ),
    Mutation(
        "keys not folded in",
        "pdejax/rollout.py",
        "jax.random.fold_in(key, n)",
        "key",
        "tests/test_rollout.py",
    ),
    Mutation(
        "weight of the middle stages off",
        "pdejax/solvers/etdrk.py",
        "h * (2 * phi_2 - 4 * phi_3)",
        "h * (2 * phi_2 - 3 * phi_3)",
        "tests/solvers/test_exponential.py -k korteweg",
    ),
    Mutation(
        "odd derivative of the Nyquist mode kept",
        "pdejax/fields/spectral.py",
        "if order % 2 == 1 and n % 2 == 0:",
        "if False:",
        "tests/fields/test_spectral.py -k nyquist",
    ),
    Mutation(
        "norm without the weight of conjugate modes",
        "pdejax/fields/spectral.py",
        "weights = np.full(n // 2 + 1, 2.0)",
        "weights = np.full(n // 2 + 1, 1.0)",
        "tests/fields/test_spectral.py -k parseval",
    ),
    Mutation(
        "outward slope taken as inward",
        "pdejax/fields/ghost_values.py",
        "datum = -datum * spacing",
        "datum = datum * spacing",
        "tests/fields/test_stencil.py -k walls",
    ),
    Mutation(
        "axes of the grid exchanged in the spacing",
        "pdejax/fields/stencil.py",
        "spacing = self.grid.mean_spacing(axis).astype(self.values.dtype)",
        "spacing = self.grid.mean_spacing(0).astype(self.values.dtype)",
        "tests/fields/test_stencil.py -k periodic",
    ),
    Mutation(
        "growth beyond the products kept",
        "pdejax/fields/spectral.py",
        "matrix = without_growth(matrix, ~mask)",
        "matrix = matrix + 0",
        "tests/solvers/test_exponential.py -k growth",
    ),
    Mutation(
        "matrix product of coupled components transposed",
        "pdejax/solvers/linear_part.py",
        "return jnp.sum(factor * y[None], axis=1)",
        "return jnp.sum(factor * y[:, None], axis=0)",
        "tests/solvers/test_exponential.py -k coupled",
    ),
    Mutation(
        "blocks of two by repeated squaring",
        "pdejax/solvers/linear_part.py",
        "phi_functions.of_pairs(z, count) if z.shape[0] == 2 else",
        "phi_functions.of_pairs(z, count) if z.shape[0] < 2 else",
        "tests/solvers/test_phi_functions.py -k turns",
    ),
    Mutation(
        "error estimate a tenth as large",
        "pdejax/solvers/etdrk.py",
        'times(c["end"], n_d - 0.5 * n_y + 2 * (n_a + n_b) - 4.5 * n_c)',
        '0.1 * times(c["end"], n_d - 0.5 * n_y + 2 * (n_a + n_b) - 4.5 * n_c)',
        "tests/solvers/test_step_control.py -k third_derivative",
    ),
    Mutation(
        "error estimate that looks at one time only",
        "pdejax/solvers/etdrk.py",
        "n_c = term.nonlinear(t + _PROBE * h, y_c)",
        "n_c = term.nonlinear(t + h, y_c)",
        "tests/solvers/test_step_control.py -k third_derivative",
    ),
    Mutation(
        "error estimate of the integrating factor without its quadrature part",
        "pdejax/solvers/integrating_factor.py",
        "return y1, n_1, radau + h / 10 * (n_d - n_1)",
        "return y1, n_1, h / 10 * (n_d - n_1)",
        "tests/solvers/test_step_control.py -k linear_component",
    ),
    Mutation(
        "tolerances that do not follow the state",
        "pdejax/solvers/step_size.py",
        "size = jnp.maximum(self._size(y0), self._size(y1_candidate))",
        "size = jnp.ones_like(self._size(y0))",
        "tests/solvers/test_step_control.py -k units",
    ),
    Mutation(
        "first step far too long",
        "pdejax/solvers/step_size.py",
        "guess = 0.01 *",
        "guess = 10.0 *",
        "tests/solvers/test_step_control.py -k first_step",
    ),
    Mutation(
        "step size kept from one rounded difference",
        "pdejax/solvers/semilinear.py",
        "is_new = ~continues | (jnp.abs(to_clock - self.h) > rounding)",
        "is_new = ~continues",
        "tests/solvers/test_step_control.py -k computed_once",
    ),
    Mutation(
        "time counted from zero and not from the first output",
        "pdejax/solvers/terms.py",
        "return self.space.nonlinear(self.equation, self.start + t, y)",
        "return self.space.nonlinear(self.equation, t, y)",
        "tests/solvers/test_exponential.py -k depends_on_time",
    ),
    Mutation(
        "time not reversed with its direction",
        "pdejax/solvers/semilinear.py",
        "return direction * nonlinear(direction * t, y)",
        "return direction * nonlinear(t, y)",
        "tests/solvers/test_solve.py -k between_steps",
    ),
    Mutation(
        "slope at the end of a step taken from its start",
        "pdejax/solvers/semilinear.py",
        '"k1": h * (term.linear.apply(y1) + self.latest(memory))',
        '"k1": h * (term.linear.apply(y0) + self.latest(memory))',
        "tests/solvers/test_solve.py -k between_steps",
    ),
    Mutation(
        "forces truncated like products",
        "pdejax/fields/spectral.py",
        "return coefficients if is_given else self.truncated(coefficients)",
        "return self.truncated(coefficients)",
        "tests/fields/test_spectral.py -k asked_before",
    ),
    Mutation(
        "conditions of a multiple of the state left unscaled",
        "pdejax/fields/met.py",
        "return Met(self.condition, self.datum * factor)",
        "return Met(self.condition, self.datum)",
        "tests/fields/test_stencil.py -k multiple",
    ),
    Mutation(
        "series given up too near to zero",
        "pdejax/solvers/phi_functions.py",
        "small = jnp.abs(z) < 1\n",
        "small = jnp.abs(z) < 0.2\n",
        "tests/solvers/test_phi_functions.py -k every_switch",
    ),
    Mutation(
        "series used too far from zero",
        "pdejax/solvers/phi_functions.py",
        "small = jnp.abs(z) < 1\n",
        "small = jnp.abs(z) < 6\n",
        "tests/solvers/test_phi_functions.py -k every_switch",
    ),
    Mutation(
        "sizes of steps taken as equal far beyond rounding",
        "pdejax/solvers/semilinear.py",
        "rounding = 4 *",
        "rounding = 400 *",
        "tests/solvers/test_step_control.py -k stays_with_the_clock",
    ),
    Mutation(
        "rounding on the common modes taken for content",
        "pdejax/evaluate/scores.py",
        "<= 1e-6 * root_mean_square(u, grid)",
        "<= 1e-30 * root_mean_square(u, grid)",
        "tests/evaluate/test_scores.py -k nothing_on_the_common_modes",
    ),
    Mutation(
        "rate of the nonlinear part from one growth alone",
        "pdejax/fields/power_iteration.py",
        "later = growths[-(num_iterations // 4 * 2) :]",
        "later = growths[-2:-1]",
        "tests/evaluate/test_stability.py",
    ),
    Mutation(
        "interval of the speed-up too narrow below",
        "pdejax/evaluate/comparison.py",
        "np.quantile(ratios, 0.1)",
        "np.quantile(ratios, 0.4)",
        "tests/evaluate/test_comparison.py",
    ),
    Mutation(
        "interval of the speed-up too narrow above",
        "pdejax/evaluate/comparison.py",
        "np.quantile(ratios, 0.9)",
        "np.quantile(ratios, 0.6)",
        "tests/evaluate/test_comparison.py",
    ),
    Mutation(
        "costs between two rivals averaged without logarithms",
        "pdejax/evaluate/comparison.py",
        "np.exp(sum(w * np.log(per_round[n]) for n, w in by_error.weights.items()))",
        "sum(w * per_round[n] for n, w in by_error.weights.items())",
        "tests/evaluate/test_comparison.py",
    ),
    Mutation(
        "price of an error linear in the cost",
        "pdejax/evaluate/frontier.py",
        "logarithm = sum(w * np.log(getattr(points[name], asked)) for name, w in weights.items())",
        "logarithm = np.log(sum(w * getattr(points[name], asked) for name, w in weights.items()))",
        "tests/evaluate/test_frontier.py -k power_law",
    ),
    Mutation(
        "price of an error with the two neighbours exchanged",
        "pdejax/evaluate/frontier.py",
        "((cheap, 1 - weight), (accurate, weight))",
        "((cheap, weight), (accurate, 1 - weight))",
        "tests/evaluate/test_frontier.py -k power_law",
    ),
    Mutation(
        "rollout in the precision of its first state alone",
        "pdejax/rollout.py",
        "        u0 = u0.astype(dtype)\n",
        "        break\n",
        "tests/test_rollout.py -k precise",
    ),
    Mutation(
        "first frame that is not finite taken for a blow-up",
        "pdejax/solvers/checked_solution.py",
        "if first == 0:",
        "if first < 0:",
        "tests/solvers/test_solve.py -k as_it_is_held",
    ),
    Mutation(
        "step control forgets what it proposed",
        "pdejax/solvers/output_times.py",
        "proposed, inner = self.controller.resumed(t0, *state)",
        "proposed, inner = t0 + 0.01, state[0]",
        "tests/solvers/test_restart.py -k bits_of_one",
    ),
    Mutation(
        "what the leading part leaves of linear dropped",
        "pdejax/equations/leading_part.py",
        " + (self.equation.linear(u) - self.linear(u))",
        "",
        "tests/equations/test_leading_part.py -k says",
    ),
    Mutation(
        "pivots taken in their order",
        "pdejax/solvers/small_inverses.py",
        "jnp.argmax(size_of_pivot, axis=0)",
        "k + 0 * jnp.argmax(size_of_pivot, axis=0)",
        "tests/solvers/test_small_inverses.py -k lapack",
    ),
    Mutation(
        "Krylov vectors made orthogonal once",
        "pdejax/solvers/gmres.py",
        "for _ in range(2):",
        "for _ in range(1):",
        "tests/solvers/test_implicit_between_walls.py -k orthogonal",
    ),
    Mutation(
        "constant of a small reaction left to the matrix",
        "pdejax/elliptic/solve.py",
        "return operator.floating and not operator.singular",
        "return False",
        "tests/elliptic/test_solve.py -k small_reaction",
    ),
    Mutation(
        "steady state without the lift of the walls",
        "pdejax/solvers/events.py",
        "if isinstance(self.space, Eigenmodes | PointValues):\n            # Stepped",
        "if False:\n            # Stepped",
        "tests/solvers/test_events.py -k steady_state",
    ),
    Mutation(
        "steps of a flow that never change",
        "pdejax/solvers/courant.py",
        "stays = (0.8 * limit <= h) & (h <= limit)",
        "stays = h > 0",
        "tests/solvers/test_courant.py -k follow_the_flow",
    ),
    Mutation(
        "rounding of a constant taken for its deviation",
        "pdejax/metrics.py",
        "jnp.where(varies(truth, domain), deviation, 0.0)",
        "deviation",
        "tests/test_metrics.py -k constant_truth",
    ),
    Mutation(
        "gradient of a score over nothing",
        "pdejax/metrics.py",
        "quotient = numerator / jnp.where(none, 1.0, denominator)\n",
        "quotient, none = numerator / denominator, none & (numerator == 0)\n",
        "tests/test_metrics.py -k relative_to_nothing",
    ),
    Mutation(
        "rounding that sets the solver error",
        "pdejax/data/solver_error.py",
        "_NOISE = 1e3",
        "_NOISE = 0.0",
        "tests/data/test_solver_error.py -k nothing_excites",
    ),
    Mutation(
        "channels in small units taken for rounding",
        "pdejax/data/solver_error.py",
        "_NOISE = 1e3",
        "_NOISE = 1e10",
        "tests/data/test_solver_error.py -k small_units",
    ),
    Mutation(
        "coefficients that agree to a tenth",
        "pdejax/evaluate/agreement.py",
        "if not np.isclose(mine, its, rtol=1e-4, atol=0.0):",
        "if not np.isclose(mine, its, rtol=1e-1, atol=0.0):",
        "tests/evaluate/test_agreement.py -k how_well",
    ),
    Mutation(
        "coefficients that are looked at only when a tenth apart",
        "pdejax/evaluate/agreement.py",
        "np.allclose(own, found[0], rtol=1e-4, atol=0.0)",
        "np.allclose(own, found[0], rtol=1e-1, atol=0.0)",
        "tests/evaluate/test_agreement.py -k how_well",
    ),
    Mutation(
        "numbers of Python that are no coefficients",
        "pdejax/data/coefficients.py",
        " or isinstance(leaf, float | complex | np.inexact)",
        "",
        "tests/evaluate/test_agreement.py -k NumbersOfPython",
    ),
    Mutation(
        "pairs far apart taken for close ones",
        "pdejax/solvers/phi_functions.py",
        "jnp.maximum(1.0, jnp.abs(mean) ** 2) / 4",
        "jnp.maximum(1.0, jnp.abs(mean) ** 2) * 0.9",
        "tests/solvers/test_phi_functions.py -k lose_no_digits",
    ),
    Mutation(
        "explicit solver on the finer grid with half the step",
        "pdejax/data/solver_error.py",
        "factor = 4 if is_explicit_and_finer else 2",
        "factor = 2 if is_explicit_and_finer else 2",
        "tests/data/test_solver_error.py -k near_its_limit",
    ),
    Mutation(
        "lines of a log woken by tqdm",
        "pdejax/progress.py",
        '"maxinterval": SECONDS_BETWEEN_LINES',
        '"maxinterval": 10.0',
        "tests/test_progress.py -k within_the_minute",
    ),
    Mutation(
        "relative scores in the units of the field",
        "pdejax/metrics.py",
        "return prediction / unit, truth / unit",
        "return prediction, truth",
        "tests/test_metrics.py -k depend_on_the_units",
    ),
    Mutation(
        "diagonal of the inverse of pairs not exchanged",
        "pdejax/solvers/linear_part.py",
        "[jnp.stack([1 - d, b]), jnp.stack([c, 1 - a])]",
        "[jnp.stack([1 - a, b]), jnp.stack([c, 1 - d])]",
        "tests/solvers/test_implicit_explicit.py -k solves_a_stage",
    ),
    Mutation(
        "slopes of implicit stages with the wrong sign",
        "pdejax/solvers/implicit_explicit.py",
        "slopes.append(slopes[0] + (change - rest) / diagonal)",
        "slopes.append(slopes[0] - (change - rest) / diagonal)",
        "tests/solvers/test_semilinear.py -k orders_on_burgers",
    ),
    Mutation(
        "implicit-explicit step ended at its last stage",
        "pdejax/solvers/implicit_explicit.py",
        "y1 = y + change if ends_with_a_stage else",
        "y1 = y + change if True else",
        "tests/solvers/test_semilinear.py -k orders_on_burgers",
    ),
    Mutation(
        "estimate of implicit-explicit methods blind to the linear part",
        "pdejax/solvers/implicit_explicit.py",
        "_weighted(error, sources) + _weighted(error, slopes)",
        "_weighted(error, sources) + 0 * _weighted(error, slopes)",
        "tests/solvers/test_implicit_explicit.py -k stiff_modes",
    ),
    Mutation(
        "stages of implicit-explicit methods at the start of the step",
        "pdejax/solvers/implicit_explicit.py",
        "term.nonlinear(t + float(node) * h, y + change)",
        "term.nonlinear(t, y + change)",
        "tests/solvers/test_semilinear.py -k coupled_system",
    ),
    Mutation(
        "digit of a published tableau",
        "pdejax/solvers/implicit_explicit.py",
        "F(-1743, 31250)",
        "F(-1744, 31250)",
        "tests/solvers/test_implicit_explicit.py -k order_conditions",
    ),
    Mutation(
        "product of Crank-Nicolson's substeps not renewed",
        "pdejax/solvers/implicit_explicit.py",
        "slope = (change - float(self.b[k]) * source) / half - slope",
        "slope = slope",
        "tests/solvers/test_semilinear.py -k orders_on_burgers",
    ),
    Mutation(
        "weight of a third difference",
        "pdejax/solvers/exponential_multistep.py",
        "g.append(phis[2] + phis[1] + phis[0] / 3)",
        "g.append(phis[2] + phis[1] + phis[0] / 2)",
        "tests/solvers/test_multistep.py -k polynomial",
    ),
    Mutation(
        "history kept across a change of the step",
        "pdejax/solvers/multistep.py",
        "jnp.where(is_resized, 0, memory.num_steps)",
        "jnp.where(is_resized, memory.num_steps, memory.num_steps)",
        "tests/solvers/test_multistep.py -k history",
    ),
    Mutation(
        "history dropped at every step",
        "pdejax/solvers/semilinear.py",
        "return self.count == 1",
        "return self.count >= 1",
        "tests/solvers/test_multistep.py -k history",
    ),
    Mutation(
        "history of changes as they were rounded",
        "pdejax/solvers/multistep.py",
        "return y + change, change",
        "return y + change, (y + change) - y",
        "tests/solvers/test_semilinear.py -k single_precision_rounding",
    ),
    Mutation(
        "nonlinear part of backward differentiation not extrapolated",
        "pdejax/solvers/backward_differentiation.py",
        "+ 2 * n_0 - n_1)",
        "+ n_0)",
        "tests/solvers/test_semilinear.py -k orders_on_burgers",
    ),
    Mutation(
        "corrections added one after another",
        "pdejax/solvers/etdrk.py",
        "y1 = y + (change + correction)",
        "y1 = (y + change) + correction",
        "tests/solvers/test_semilinear.py -k single_precision_rounding",
    ),
    Mutation(
        "last stage of the third-order method of Shu and Osher",
        "pdejax/solvers/strong_stability.py",
        "np.array([1 / 4, 1 / 4])",
        "np.array([1 / 2, 0.0])",
        "tests/solvers/test_strong_stability.py -k coefficient",
    ),
    Mutation(
        "slope in a mixture taken as inward",
        "pdejax/fields/ghost_values.py",
        "(datum + share * slope)",
        "(datum - share * slope)",
        "tests/fields/test_boundaries.py -k walls_converge",
    ),
    Mutation(
        "time of the walls' data ignored",
        "pdejax/boundary.py",
        "jnp.asarray(0.0 if t is None else t, grid.dtype)",
        "jnp.asarray(0.0, grid.dtype)",
        "tests/fields/test_boundaries.py -k nodes-2",
    ),
    Mutation(
        "held nodes stay where they were",
        "pdejax/boundary.py",
        "return jax.jvp(lambda s: datum_at(condition, grid, axis, end, s), (t,), (jnp.ones_like(t),))[1]",
        "return 0 * datum_at(condition, grid, axis, end, t)",
        "tests/fields/test_boundaries.py -k held_node",
    ),
    Mutation(
        "product of two anti-periodic fields taken as anti-periodic",
        "pdejax/fields/met.py",
        "return None if type(a) is type(b) else AntiPeriodic()",
        "return a",
        "tests/fields/test_boundaries.py -k antiperiodic",
    ),
    Mutation(
        "ghosts at an inflow as exact as elsewhere",
        "pdejax/fields/ghost_values.py",
        "of_first = order - 1 if has_value else order",
        "of_first = order + 1 if has_value else order",
        "tests/fields/test_boundaries.py -k no_mode_grows",
    ),
    Mutation(
        "every component meets the conditions of the first",
        "pdejax/fields/stencil.py",
        "self.values[part], self.sides[part], damping)",
        "self.values[part], self.sides[:1], damping)",
        "tests/fields/test_boundaries.py -k plane",
    ),
    Mutation(
        "rate of the lift of walls forgotten",
        "pdejax/solvers/lift.py",
        "return lift, self.shift * lift - rate",
        "return lift, self.shift * lift",
        "tests/solvers/test_walls.py -k followed_by_both",
    ),
    Mutation(
        "slope at a wall of stretched points taken along x",
        "pdejax/fields/ghost_values.py",
        "spacing = spacing * points.end_slopes()[end]",
        "spacing = spacing * 1.0",
        "tests/fields/test_boundaries.py -k between_walls_converge and True",
    ),
    Mutation(
        "second derivative in s for one in x",
        "pdejax/stretching.py",
        "coefficients = [_product(rate, change + lower) for change, lower in zip(changes, below, strict=True)]",
        "coefficients = [_product(rate, lower) for lower in below]",
        "tests/test_stretching.py -k coefficients",
    ),
    Mutation(
        "odd derivatives of stretched points in one formula",
        "pdejax/fields/stencil.py",
        "            if order % 2:\n",
        "            if False:\n",
        "tests/fields/test_stretched.py -k third",
    ),
    Mutation(
        "points compared with nodes in place of their placement",
        "pdejax/fields/finite_difference.py",
        'if isinstance(pair, tuple) and self.grid.placement[axis] == "nodes"',
        'if isinstance(pair, tuple) and self.grid.points[axis] == "nodes"',
        "tests/fields/test_stretched.py -k thin_layer",
    ),
    Mutation(
        "half of the modes of an axis that is seen after another one is transformed",
        "pdejax/fields/axis_bases.py",
        "return 0 if not isinstance(basis, FourierBasis) else 1 if basis.is_halved else 2",
        "return 0 if not isinstance(basis, FourierBasis) else 2 if basis.is_halved else 1",
        "tests/fields/test_eigenmodes.py",
    ),
    Mutation(
        "half of the modes beside complex eigenvectors",
        "pdejax/fields/axis_bases.py",
        "    if any(map(_is_complex, sum(bases, ()))):\n        return bases\n",
        "",
        "tests/fields/test_eigenmodes.py",
    ),
    Mutation(
        "a constant that a small reaction ties, left to the iteration",
        "pdejax/elliptic/solve.py",
        "return level + rest - jnp.sum(reaction * rest) / jnp.sum(reaction), iterations",
        "return level + rest, iterations",
        "tests/elliptic/test_solve.py -k small_reaction",
    ),
    Mutation(
        "walls: bands of lines that sum by parts as narrow as inside",
        "pdejax/fields/line.py",
        "3 * line.order // 2",
        "line.order // 2",
        "tests/fields/test_summation_by_parts.py -k bands",
    ),
    Mutation(
        "walls: the highest mode beside Chebyshev points has a first derivative",
        "pdejax/fields/axis_bases.py",
        "angles[n // 2] = 0.0",
        "pass",
        "tests/fields/test_eigenmodes.py -k chebyshev",
    ),
    Mutation(
        "walls: an auxiliary field keeps its mean",
        "pdejax/fields/stencil_poisson.py",
        "q = q - mean.reshape",
        "q = q - 0 * mean.reshape",
        "tests/fields/test_stencil_poisson.py -k mean",
    ),
    Mutation(
        "walls: a restart takes another floor of the tolerance",
        "pdejax/solvers/solve.py",
        "controller, past.floor)",
        "controller, 2 * past.floor)",
        "tests/solvers/test_restart.py -k bits",
    ),
    Mutation(
        "walls: held rows of banded lines shifted like the others",
        "pdejax/solvers/cyclic_reduction.py",
        "jnp.where(is_row[..., None], shifts, 1)",
        "jnp.where(is_row[..., None], shifts, shifts)",
        "tests/solvers/test_implicit_between_walls.py -k held_rows",
    ),
    Mutation(
        "walls: a lift that does not see what walls feed",
        "pdejax/fields/eigenmodes.py",
        "k = jnp.where(fed > 0, fed + 2 / grid.extent[axis], 0.0)",
        "k = 0.0 * fed",
        "tests/solvers/test_implicit_between_walls.py -k feed",
    ),
    Mutation(
        "walls: transport that enters from the other side",
        "pdejax/solvers/transport_at_walls.py",
        "entry, exit_ = (0, 1) if velocity > 0 else (1, 0)",
        "entry, exit_ = (1, 0) if velocity > 0 else (0, 1)",
        "tests/solvers/test_transport_at_walls.py",
    ),
    Mutation(
        "volumes: pressure pulls",
        "pdejax/equations/euler.py",
        ".at[axis].add(pressure)",
        ".at[axis].add(-pressure)",
        "tests/volumes/test_laws.py -k solutions",
    ),
    Mutation(
        "volumes: energy without the work of pressure",
        "pdejax/equations/euler.py",
        "((energy + pressure) * velocity)",
        "(energy * velocity)",
        "tests/volumes/test_laws.py -k solutions",
    ),
    Mutation(
        "volumes: water pulled by its depth",
        "pdejax/equations/shallow_water.py",
        ".add(self._gravity(u) * depth * depth / 2)",
        ".add(-self._gravity(u) * depth * depth / 2)",
        "tests/volumes/test_laws.py -k solutions",
    ),
    Mutation(
        "volumes: cars that speed up in a jam",
        "pdejax/equations/scalar_laws.py",
        "* u * (1 - u / self",
        "* u * (1 + u / self",
        "tests/volumes/test_laws.py -k solutions",
    ),
    Mutation(
        "volumes: Burgers runs backwards",
        "pdejax/equations/scalar_laws.py",
        "return u * u / 2",
        "return -u * u / 2",
        "tests/volumes/test_laws.py -k solutions",
    ),
    Mutation(
        "volumes: a contact with the thrust of the other side",
        "pdejax/equations/euler.py",
        "self.pressure(right) - self.pressure(left)",
        "self.pressure(left) - self.pressure(right)",
        "tests/volumes/test_laws.py -k contact",
    ),
    Mutation(
        "volumes: ideal weights of parabolas in reverse",
        "pdejax/volumes/reconstruction.py",
        "[0.1, 0.6, 0.3]",
        "[0.3, 0.6, 0.1]",
        "tests/volumes/test_reconstruction.py -k converge",
    ),
    Mutation(
        "volumes: weights that take the rough ones",
        "pdejax/volumes/reconstruction.py",
        "(tau / (beta + epsilon)) ** 2",
        "(beta / (tau + epsilon)) ** 2",
        "tests/volumes/test_reconstruction.py -k jumps",
    ),
    Mutation(
        "volumes: epsilon with units",
        "pdejax/volumes/reconstruction.py",
        "epsilon = fineness**4 * size",
        "epsilon = fineness**4",
        "tests/volumes/test_reconstruction.py -k units",
    ),
    Mutation(
        "volumes: the mirror image in the order of the cells",
        "pdejax/volumes/ghost_cells.py",
        "order = inwards[::-1] if end == 0 else",
        "order = inwards if end == 0 else",
        "tests/volumes/test_finite_volume.py -k mirror",
    ),
    Mutation(
        "volumes: what is turned round is along the wall",
        "pdejax/equations/euler.py",
        "return u.at[1 + axis].multiply(-1)",
        "return u.at[-2 - axis].multiply(-1)",
        "tests/volumes/test_finite_volume.py -k mirror",
    ),
    Mutation(
        "volumes: the lower edge read in the order of the upper one",
        "pdejax/volumes/finite_volume.py",
        "self.reconstruction.at_edge(cells[:0:-1], fineness)",
        "self.reconstruction.at_edge(cells[1:], fineness)",
        "tests/volumes/test_finite_volume.py -k wave_of_density",
    ),
    Mutation(
        "volumes: no fan through a sonic point",
        "pdejax/volumes/numerical_fluxes.py",
        "is_sonic = jnp.abs(speeds) < spread",
        "is_sonic = jnp.abs(speeds) < 0 * spread",
        "tests/volumes/test_laws.py -k sonic",
    ),
    Mutation(
        "volumes: waves of one axis limit the step",
        "pdejax/volumes/finite_volume.py",
        "rates = rates + fastest / ",
        "rates = fastest / ",
        "tests/volumes/test_finite_volume.py -k named",
    ),
    Mutation(
        "volumes: edges below the floor are kept",
        "pdejax/volumes/positivity.py",
        "theta = jnp.clip(theta, 0.0, 1.0)",
        "theta = jnp.ones_like(theta)",
        "tests/volumes/test_finite_volume.py -k vacuum",
    ),
    Mutation(
        "volumes: what is traced is looked at",
        "pdejax/solvers/admissible.py",
        "        if isinstance(given, Tracer):\n            continue\n",
        "",
        "tests/volumes/test_finite_volume.py -k contract",
    ),
    Mutation(
        "volumes: a state that is none goes on",
        "pdejax/solvers/courant.py",
        "keep, half = self.explicit.admits(y1_candidate), (t1 - t0) / 2",
        "keep, half = jnp.ones((), bool), (t1 - t0) / 2",
        "tests/volumes/test_finite_volume.py -k vacuum",
    ),
    Mutation(
        "weights of a mixture for another spacing",
        "pdejax/fields/bases.py",
        "return Robin, float(condition.value_weight) * float(unit), float(condition.slope_weight)",
        "return Robin, float(condition.value_weight), float(condition.slope_weight)",
        "tests/solvers/test_walls.py -k series",
    ),
    Mutation(
        "by parts: the other wall's first derivative keeps its sign",
        "pdejax/fields/summation_by_parts.py",
        "-high if derivative == 1 else high",
        "high",
        "tests/fields/test_summation_by_parts.py -k operators",
    ),
    Mutation(
        "by parts: what accuracy leaves free stays zero",
        "pdejax/fields/summation_by_parts.py",
        "    while directions:",
        "    while directions and not directions:",
        "tests/fields/test_summation_by_parts.py -k operators",
    ),
    Mutation(
        "by parts: a mixture is met with the slope of the values",
        "pdejax/fields/stencil.py",
        "        if isinstance(condition, Robin):\n            value_weight, slope_weight = (",
        "        if False:\n            value_weight, slope_weight = (",
        "tests/fields/test_summation_by_parts.py -k converge",
    ),
    Mutation(
        "by parts: eigenvectors without the norm",
        "pdejax/fields/bases.py",
        "scale[:, None] * matrix[free] / scale",
        "matrix[free]",
        "tests/fields/test_summation_by_parts.py -k eigenmodes",
    ),
    Mutation(
        "upwind transport damped with the sign of its factor",
        "pdejax/fields/stencil.py",
        "damping = None if self.damping is None else self.damping * jnp.abs(factor)",
        "damping = None if self.damping is None else self.damping * factor",
        "tests/fields/test_upwind.py -k spelled",
    ),
    Mutation(
        "transport read from downstream",
        "pdejax/fields/upwind.py",
        "-(rightwards - leftwards) / 2",
        "(rightwards - leftwards) / 2",
        "tests/fields/test_upwind.py -k mode_of_transport",
    ),
    Mutation(
        "inflow closed by the polynomial through the first points",
        "pdejax/fields/upwind.py",
        "padded(u, axis, half, 1, degree, inflow)",
        "padded(u, axis, half, 1, degree)",
        "tests/fields/test_upwind.py -k mode_of_transport",
    ),
    Mutation(
        "upwind transport in the linear part diagonalised as central",
        "pdejax/fields/separable.py",
        'if self.advection != "central":',
        "if False:",
        "tests/fields/test_upwind.py -k centrally",
    ),
    Mutation(
        "diffusivity between points not bounded by its neighbours",
        "pdejax/fields/flux_form.py",
        "middle = jnp.where(middle < least, least, jnp.where(middle > most, most, middle))",
        "middle = middle + 0 * (least + most)",
        "tests/fields/test_flux_form.py -k positive",
    ),
    Mutation(
        "flux at a wall at nodes points the other way",
        "pdejax/fields/flux_form.py",
        "return (1 if end else -1) * window",
        "return (-1 if end else 1) * window",
        "tests/fields/test_flux_form.py -k converge",
    ),
    Mutation(
        "harmonic mean taken for arithmetic",
        "pdejax/fields/flux_form.py",
        'return middle if mean == "arithmetic" else 1 / middle',
        'return middle if mean == "harmonic" else 1 / middle',
        "tests/fields/test_flux_form.py -k layers",
    ),
    Mutation(
        "cyclic reduction forgets what the upper neighbour takes off",
        "pdejax/solvers/cyclic_reduction.py",
        " - products(c, _shifted(low, distance))",
        "",
        "tests/solvers/test_implicit_between_walls.py -k factors",
    ),
    Mutation(
        "Krylov stages with the data of the walls in the operator",
        "pdejax/fields/point_values.py",
        "without_data(self.reading).field",
        "self.reading.field",
        "tests/solvers/test_walls.py -k add_up",
    ),
    Mutation(
        "an iteration that fails is silent",
        "pdejax/solvers/krylov.py",
        "~converged,",
        "jnp.zeros_like(converged),",
        "tests/solvers/test_implicit_between_walls.py -k converge",
    ),
    Mutation(
        "Poisson equation between walls without their data",
        "pdejax/fields/stencil_poisson.py",
        "(modes.encode(component[None]) - added)",
        "(modes.encode(component[None]) - 0 * added)",
        "tests/fields/test_stencil_poisson.py -k source",
    ),
    Mutation(
        "auxiliary fields between walls meet the conditions of the first component",
        "pdejax/fields/finite_difference.py",
        "sides = self.walls.of((name, *names, *self._others((name, *names))), type(equation).__name__)[0]",
        "sides = self.walls.of((name, *names, *self._others((name, *names))), type(equation).__name__)[1]",
        "tests/fields/test_stencil_poisson.py -k plane_flow",
    ),
    Mutation(
        "Riemann problem: Newton starts above the root",
        "pdejax/riemann/self_similar.py",
        "jnp.where(residual(high) <= 0, high, low)",
        "high",
        "tests/riemann/test_euler.py -k published",
    ),
    Mutation(
        "Riemann problem: half of a derivative for either end of an empty piece",
        "pdejax/riemann/self_similar.py",
        "jnp.where(edges < lower, lower, jnp.where(edges > upper, upper, edges))",
        "jnp.clip(edges, lower, upper)",
        "tests/riemann/test_euler.py -k derivatives_are",
    ),
    Mutation(
        "Riemann problem: vacuum goes unseen",
        "pdejax/riemann/self_similar.py",
        "is_empty = is_empty | (room <= 0)",
        "is_empty = is_empty | (room <= -jnp.inf)",
        "tests/riemann/test_euler.py -k vacuum",
    ),
    Mutation(
        "Riemann problem: velocity and density of a fan averaged apart",
        "pdejax/riemann/self_similar.py",
        "slope**2 * (last_one - 2 * next_one + zeroth)",
        "slope**2 * (next_one - zeroth) ** 2 / zeroth",
        "tests/riemann/test_euler.py -k conserve",
    ),
    Mutation(
        "Riemann problem: the given velocity of a dry bed moves its edge",
        "pdejax/riemann/shallow_water.py",
        "velocity, towards[::-1])",
        "velocity, velocity)",
        "tests/riemann/test_shallow_water.py -k dam_breaks",
    ),
    Mutation(
        "forced: diffusion that gathers",
        "pdejax/equations/korteweg_de_vries_burgers.py",
        "return u.laplacian() * self.diffusivity - u",
        "return u.laplacian() * -self.diffusivity - u",
        "tests/equations/test_korteweg_de_vries_burgers.py -k formula",
    ),
    Mutation(
        "forced: dispersion the other way",
        "pdejax/equations/korteweg_de_vries_burgers.py",
        "* self.diffusivity - u.derivative(0, 3)",
        "* self.diffusivity + u.derivative(0, 3)",
        "tests/equations/test_korteweg_de_vries_burgers.py -k formula",
    ),
    Mutation(
        "forced: a force that runs the other way",
        "pdejax/equations/korteweg_de_vries_burgers.py",
        "turns = frequencies * t + wavenumbers",
        "turns = -frequencies * t + wavenumbers",
        "tests/equations/test_korteweg_de_vries_burgers.py -k formula",
    ),
    Mutation(
        "forced: waves of half the speed",
        "pdejax/equations/korteweg_de_vries_burgers.py",
        "(2 * self.advection.astype(u.dtype) * u[0] for",
        "(self.advection.astype(u.dtype) * u[0] for",
        "tests/volumes/test_laws.py -k waves",
    ),
    Mutation(
        "forced: finite volumes without higher derivatives",
        "pdejax/volumes/finite_volume.py",
        "rate = rate if higher is None else rate + higher",
        "rate = rate",
        "tests/equations/test_korteweg_de_vries_burgers.py -k formula",
    ),
    Mutation(
        "forced: steps that higher derivatives do not limit",
        "pdejax/volumes/higher_derivatives.py",
        "return jnp.max(functools.reduce(operator.add, columns))",
        "return 0.1 * jnp.max(functools.reduce(operator.add, columns))",
        "tests/equations/test_korteweg_de_vries_burgers.py -k limit",
    ),
]


def main() -> int:
    chosen = [mutation for mutation in MUTATIONS if all(word in mutation.name for word in sys.argv[1:])]
    # Before anything is run: a list that ends half way has no verdict on the rest.
    for mutation in chosen:
        if mutation.old not in (REPOSITORY / mutation.file).read_text():
            raise SystemExit(f"{mutation.name}: {mutation.file} no longer holds {mutation.old!r}")
    unnoticed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pdejax"
        ignored = shutil.ignore_patterns(".git", ".venv", "out", "__pycache__", ".*_cache")
        shutil.copytree(REPOSITORY, copy, ignore=ignored)
        for mutation in chosen:
            path = copy / mutation.file
            whole = path.read_text()
            path.write_text(whole.replace(mutation.old, mutation.new, 1))
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *_split(mutation.tests)]
            outcome = subprocess.run(command, cwd=copy, env=_environment(), capture_output=True, text=True)
            path.write_text(whole)
            # 1: a test failed. Anything else (nothing collected, a crash of pytest) is no verdict.
            noticed = outcome.returncode == 1
            print(f"{'noticed  ' if noticed else 'UNNOTICED'}  {mutation.name}  [{mutation.tests}]", flush=True)
            if not noticed:
                unnoticed.append(mutation.name)
                print(outcome.stdout[-2000:])
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} mutations noticed")
    return 1 if unnoticed else 0


def _split(tests: str) -> list[str]:
    path, *options = tests.split(" ", 2)
    return [path, *options]


def _environment() -> dict[str, str]:
    return {**os.environ, "JAX_ENABLE_X64": "1", "PDEJAX_REFERENCE_DATA": str(REPOSITORY.parent / "shared" / "data")}


if __name__ == "__main__":
    sys.exit(main())
