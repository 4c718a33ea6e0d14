"""Laws for random initial states: `initial(grid, *, key) -> (channel, *grid.shape)`.

A law is a function of the key, not of the grid: the same key on another resolution of the same box gives the same
function of x. Every Fourier coefficient is drawn from its own mode numbers, and no normalisation looks at grid points,
so a finer grid adds modes (where the law has more) and changes none. Laws with a cutoff refuse a grid that cannot hold
all their modes. Grids are periodic, in one to three dimensions (and more), with any number of points per axis.
"""

from pdejax.initial.band_limited import BandLimited as BandLimited
from pdejax.initial.filtered_turbulence import FilteredTurbulence as FilteredTurbulence
from pdejax.initial.gaussian_random_field import GaussianRandomField as GaussianRandomField
from pdejax.initial.sum_of_sines import SumOfSines as SumOfSines
