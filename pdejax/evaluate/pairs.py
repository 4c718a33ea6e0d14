"""Operator learning without time: a model's outputs against targets."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pdejax.data.pairs import pair_arrays
from pdejax.evaluate.scores import over_channels, scores
from pdejax.evaluate.writing import plain, write_text
from pdejax.grid import Grid

if TYPE_CHECKING:
    import pandas


@dataclasses.dataclass
class PairReport:
    """Scores of models on pairs of input and target: `{model: {metric: (sample, channel)}}`."""

    scores: dict[str, dict[str, np.ndarray]]

    @property
    def table(self) -> "pandas.DataFrame":
        """One row per model: mean and standard deviation over samples of every score, means over channels."""
        import pandas

        rows = []
        for name, found in self.scores.items():
            row: dict[str, Any] = {"name": name}
            for metric, values in found.items():
                each = over_channels(values)
                row |= {metric: float(each.mean()), f"{metric}_std": float(each.std())}
                row[f"{metric}_worst"] = float(each.min() if metric == "correlation" else each.max())
            row["num_not_finite"] = int((~np.isfinite(found["relative_l2"]).all(axis=-1)).sum())
            rows.append(row)
        return pandas.DataFrame(rows).set_index("name")

    def summary(self) -> str:
        lines = []
        for row in self.table.reset_index().to_dict("records"):
            lines.append(
                f"{row['name']}: relative L2 error {row['relative_l2']:.3g} +- {row['relative_l2_std']:.2g} (worst "
                f"{row['relative_l2_worst']:.3g}), nRMSE {row['nrmse']:.3g}, correlation {row['correlation']:.4f}"
            )
            if row["num_not_finite"]:
                lines.append(f"  {row['num_not_finite']:g} of the outputs are not finite.")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def to_csv(self, folder: str | Path) -> list[Path]:
        return [write_text(Path(folder) / "metrics.csv", self.table.to_csv())]

    def to_json(self, path: str | Path) -> Path:
        return write_text(path, json.dumps(plain(self.table.to_dict("index")), indent=1) + "\n")

    def save(self, folder: str | Path) -> list[Path]:
        """Writes `metrics.csv`, `metrics.json` and `summary.txt`."""
        folder = Path(folder)
        return [
            *self.to_csv(folder),
            self.to_json(folder / "metrics.json"),
            write_text(folder / "summary.txt", self.summary() + "\n"),
        ]


def evaluate_pairs(
    models: Mapping[str, Any], pairs: tuple[Any, ...], grid: Grid | None, *, key: PRNGKeyArray | None, batch: int = 64
) -> PairReport:
    """Scores `model(input)` against the target; inputs and targets are `(sample, channel, *space)`, and a third entry
    is what the model is told of each, as for `pdejax.objectives.Supervised`.

    Without a `grid` errors are those of a periodic box of side 1, with equal weights; models are told a `grid` that is
    given.

    Arrays of whole numbers and of half precision are taken in single precision at least. A channel that is zero in a
    target is measured as in trajectories (`pdejax.evaluate.scores`), against all targets.

    Raises `ValueError` for arrays that do not fit together or are not real and finite, no samples, and outputs of
    another shape.
    """
    given = pair_arrays("data", pairs)
    inputs, targets = (_real(name, array) for name, array in zip(("inputs", "targets"), given[:2], strict=True))
    parameters = {name: _real(f"parameter {name!r}", values) for name, values in given.parameters.items()}
    if len(inputs) == 0:
        raise ValueError("The test set is empty: give at least one pair.")
    values = {f"values of the parameter {name!r}": array for name, array in parameters.items()}
    for name, array in {"inputs": inputs, "targets": targets, **values}.items():
        finite = np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        if not finite.all():
            raise ValueError(f"The {name} are not finite in sample {int(np.argmin(finite))}: leave that pair out.")
    sizes = np.sqrt(np.mean(targets.astype(np.float64) ** 2, axis=(0, *range(2, targets.ndim))))
    if not sizes.any():
        raise ValueError("The targets are zero in every channel: there is nothing to predict.")
    domain = Grid(targets.shape[2:], 1.0, dtype=targets.dtype) if grid is None else grid
    if domain.shape != targets.shape[2:]:
        raise ValueError(f"The targets live on {targets.shape[2:]} points but the grid has {domain.shape}.")

    @eqx.filter_jit
    def apply(model: Any, u: Array, told: Any, keys: Any) -> Array:
        def one(v: Array, told: Any, k: Any) -> Array:
            # A callable that knows nothing of parameters is a model, too.
            return model(v, **({"parameters": told} if told else {}), domain=grid, key=k)

        return jax.vmap(one, in_axes=(0, 0, None if keys is None else 0))(u, told, keys)

    found: dict[str, dict[str, np.ndarray]] = {}
    for name, model in models.items():
        parts: list[dict[str, np.ndarray]] = []
        for first in range(0, len(inputs), batch):
            u = jnp.asarray(inputs[first : first + batch])
            keys = None if key is None else jax.random.split(jax.random.fold_in(key, first), len(u))
            told = {name: jnp.asarray(values[first : first + batch]) for name, values in parameters.items()}
            out = apply(model, u, told, keys)
            target = jnp.asarray(targets[first : first + batch])
            if out.shape != target.shape:
                raise ValueError(f"Model {name!r} gives {out.shape[1:]} where the targets have {target.shape[1:]}.")
            scored = scores(out[:, None], target[:, None], domain, None, sizes)
            parts.append({metric: values[:, 0] for metric, values in scored.items()})
        found[name] = {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}
    return PairReport(found)


def _real(name: str, array: Any) -> np.ndarray:
    """In single or double precision, as far as it is switched on."""
    array = np.asarray(array)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise ValueError(
            f"The {name} hold {array.dtype}; pairs are real numbers, and a complex field is two real channels."
        )
    return array.astype(jax.dtypes.canonicalize_dtype(np.promote_types(array.dtype, np.float32)))
