"""Files of trajectories, one format per module. The native one is The Well's HDF5 layout."""

from pdejax.data.storage.well import read_well as read_well
from pdejax.data.storage.well import write_well as write_well
from pdejax.data.storage.writer import WellWriter as WellWriter
from pdejax.data.storage.writer import check_parameter_names as check_parameter_names
from pdejax.data.storage.writer import refuse_existing as refuse_existing
