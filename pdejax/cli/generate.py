"""`pdejax generate`: trajectories from a solver, as files."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pdejax.cli.command import Command, refuse_existing
from pdejax.cli.recipe import TINY, Recipe, describe_data, describe_solver_error
from pdejax.data import read_well


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generate(Command):
    """Solve an equation for many random initial states and store the trajectories.

    Writes OUT/data/train/NAME.hdf5, and the same for valid and test, in the HDF5 layout of The Well. Solved in double
    precision, stored in single; the error of the solver is measured and stored with the data.
    """

    out: Path = Path("out/trajectories")
    """Folder to write to."""
    name: str = "trajectories"
    """Name of the files."""
    preset: Literal["standard", "tiny"] = "standard"
    """The defaults of all other options: a Kolmogorov flow (about two minutes), or a tiny one (seconds)."""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Recipe)
    overwrite: bool = False
    """Replace files that exist."""

    @classmethod
    def presets(cls) -> dict[str, Command]:
        return {"tiny": cls(preset="tiny", recipe=TINY)}

    def run(self) -> None:
        self.recipe.check(TINY if self.preset == "tiny" else Recipe())
        refuse_existing(list(self.recipe.paths(self.out, self.name).values()), self.overwrite)
        started = time.perf_counter()
        paths = self.recipe.write(self.out, self.name)
        for path in paths.values():
            data = read_well(path)
            print(describe_data(data, path))
        print(describe_solver_error(data))
        print(f"done in {time.perf_counter() - started:.0f} s")
