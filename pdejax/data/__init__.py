"""Trajectories: made, stored, split."""

from pdejax.data.storage import read_well as read_well
from pdejax.data.storage import write_well as write_well
from pdejax.data.trajectories import Split as Split
from pdejax.data.trajectories import Trajectories as Trajectories
