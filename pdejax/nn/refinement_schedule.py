"""How much noise a refiner predicts through, and how it passes from one amount to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pdejax.counts import count_of

Prediction = Literal["v", "noise"]


@dataclass(frozen=True)
class RefinementSchedule:
    r"""Levels k = 0, ..., `num_refinements`, from a prediction out of nothing to the least noise.

    On level k the network is shown `x_k = a_k y + n_k e`, y what is sought and e white noise of variance one, and
    predicts a number from which y follows:

    - `"v"`: a_k^2 + n_k^2 = 1, the network predicts `v = a_k e - n_k y`, and `y = a_k x_k - n_k v`. With t = K - k the
      variances of single steps are `beta_t = smallest_noise^(2 (K - t) / K)`, and `a_k^2` is the product of all
      `1 - beta_s`, s <= t. On level 0 there is noise alone. To the next level leads the posterior of x_(k+1), given y
      and x_k.
    - `"noise"`: a_k = 1 and `n_k = smallest_noise^(k / K)`, the network predicts e. On level 0 it is shown zeros and
      predicts y itself. To the next level new noise is added to the last prediction.

    `smallest_noise` is the standard deviation on the last level.

    Raises `ValueError` for no whole number of refinements, another `prediction`, and a `smallest_noise` that is no
    number in (0, 1).
    Source: Lippe et al., PDE-Refiner: Achieving Accurate Long Rollouts with Neural PDE Solvers (NeurIPS 2023), section
    3.1 and pseudo-code; "v" is what their code does (Salimans & Ho, ICLR 2022, with the posterior of Ho et al., NeurIPS
    2020), where the parameter `min_noise_std` is the variance.
    """

    num_refinements: int = 3
    smallest_noise: float = 6.3e-4
    prediction: Prediction = "v"

    def __post_init__(self):
        object.__setattr__(self, "num_refinements", count_of("num_refinements", self.num_refinements))
        is_number = isinstance(self.smallest_noise, float | int | np.floating)
        if not is_number or not 0 < self.smallest_noise < 1:
            raise ValueError(
                f"RefinementSchedule needs smallest_noise in (0, 1), a standard deviation, got {self.smallest_noise!r}."
            )
        # A number of numpy would be an array to JAX, and what decides a program must not be one.
        object.__setattr__(self, "smallest_noise", float(self.smallest_noise))
        if self.prediction not in get_args(Prediction):
            raise ValueError(f'RefinementSchedule has the predictions "v" and "noise", got {self.prediction!r}.')

    @property
    def signal(self) -> np.ndarray:
        """a_k."""
        if self.prediction == "noise":
            return np.where(np.arange(self.num_refinements + 1) > 0, 1.0, 0.0)
        return np.exp(self._log_kept / 2)

    @property
    def noise(self) -> np.ndarray:
        """n_k."""
        if self.prediction == "noise":
            k = np.arange(self.num_refinements + 1)
            return np.where(k > 0, self.smallest_noise ** (k / self.num_refinements), 0.0)
        return np.sqrt(-np.expm1(self._log_kept))

    @property
    def target(self) -> tuple[np.ndarray, np.ndarray]:
        """What the network predicts, as multiples of y and of e."""
        if self.prediction == "noise":
            return 1 - self.signal, self.signal
        return -self.noise, self.signal

    @property
    def estimate(self) -> tuple[np.ndarray, np.ndarray]:
        """y, as multiples of x_k and of what the network predicts."""
        if self.prediction == "noise":
            return self.signal, np.where(self.signal > 0, -self.noise, 1.0)
        return self.signal, -self.noise

    def transitions(self, levels: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x on the next one of `levels`, as multiples of y, of x on the one before and of new noise.

        Behind the last of them nothing follows: (1, 0, 0).
        """
        before, behind = list(levels[:-1]), list(levels[1:])
        if self.prediction == "noise":
            parts = (np.ones(len(behind)), np.zeros(len(behind)), self.noise[behind])
        else:
            kept, then = self._log_kept[before], self._log_kept[behind]
            left = kept - then  # logarithm of what all steps in between leave of the signal's variance
            lost, lost_then, lost_between = (-np.expm1(each) for each in (kept, then, left))
            parts = (
                np.exp(then / 2) * lost_between / lost,
                np.exp(left / 2) * lost_then / lost,
                np.sqrt(lost_between * lost_then / lost),
            )
        last = (1.0, 0.0, 0.0)
        of_y, of_x, of_noise = (np.append(part, end) for part, end in zip(parts, last, strict=True))
        return of_y, of_x, of_noise

    @property
    def _log_kept(self) -> np.ndarray:
        """Logarithms of a_k^2: what is lost would be a difference of two numbers near one, and the products vanish."""
        steps = np.arange(self.num_refinements)
        log_beta = 2 * np.log(self.smallest_noise) * (1 - steps / self.num_refinements)
        # log(1 - beta), of which the first form is exact where beta is small and the second where it is near one.
        with np.errstate(divide="ignore"):
            of_steps = np.where(log_beta < -np.log(2), np.log1p(-np.exp(log_beta)), np.log(-np.expm1(log_beta)))
        # On the first level, the last of these steps, there is nothing left.
        return np.append(np.cumsum(of_steps), -np.inf)[::-1]
