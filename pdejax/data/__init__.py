"""Trajectories: made, stored, split."""

from pdejax.data.generate import generate as generate
from pdejax.data.solver_error import measure_solver_error as measure_solver_error
from pdejax.data.storage import WellWriter as WellWriter
from pdejax.data.storage import read_well as read_well
from pdejax.data.storage import write_well as write_well
from pdejax.data.trajectories import Split as Split
from pdejax.data.trajectories import Trajectories as Trajectories
