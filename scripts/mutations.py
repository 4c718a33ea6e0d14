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
        "pdejax/solvers/linear_part.py",
        "            result.append(jnp.where(small, series[order - 1], closed))",
        "            result.append(jnp.where(small, series[order - 1], closed).real)",
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
        "return jnp.fft.irfftn(self.truncated(coefficients), s=self.grid.shape, axes=self.axes)",
        "return jnp.fft.irfftn(coefficients, s=self.grid.shape, axes=self.axes)",
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
        "pdejax/solvers/exponential.py",
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
        "pdejax/solvers/exponential.py",
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
        "pdejax/fields/stencil.py",
        "datum = -wall.slope",
        "datum = wall.slope",
        "tests/fields/test_stencil.py -k walls",
    ),
    Mutation(
        "axes of the grid exchanged in the spacing",
        "pdejax/fields/stencil.py",
        "spacing = self.reading.grid.spacing[axis]",
        "spacing = self.reading.grid.spacing[0]",
        "tests/fields/test_stencil.py -k periodic",
    ),
    Mutation(
        "matrix product of coupled components transposed",
        "pdejax/solvers/linear_part.py",
        "return jnp.sum(factor * y[None], axis=1)",
        "return jnp.sum(factor * y[:, None], axis=0)",
        "tests/solvers/test_exponential.py -k coupled",
    ),
]


def main() -> int:
    chosen = [mutation for mutation in MUTATIONS if all(word in mutation.name for word in sys.argv[1:])]
    unnoticed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pdejax"
        ignored = shutil.ignore_patterns(".git", ".venv", "out", "__pycache__", ".*_cache")
        shutil.copytree(REPOSITORY, copy, ignore=ignored)
        for mutation in chosen:
            path = copy / mutation.file
            whole = path.read_text()
            if mutation.old not in whole:
                raise SystemExit(f"{mutation.name}: {mutation.file} no longer holds {mutation.old!r}")
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
