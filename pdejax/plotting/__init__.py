"""Figures of fields, rollouts and results.

Every function returns a matplotlib `Figure` (or an `Animation`) that belongs to nobody else: no window is opened, no
global state is changed, and nothing needs to be closed. `save` writes it, whole or not at all.
"""

from pdejax.plotting.animation import Animation as Animation
from pdejax.plotting.animation import animate_triptych as animate_triptych
from pdejax.plotting.curves import CostPoint as CostPoint
from pdejax.plotting.curves import plot_error_against_cost as plot_error_against_cost
from pdejax.plotting.curves import plot_metric as plot_metric
from pdejax.plotting.curves import plot_spectra as plot_spectra
from pdejax.plotting.curves import plot_training as plot_training
from pdejax.plotting.fields import plot_field as plot_field
from pdejax.plotting.fields import plot_space_time as plot_space_time
from pdejax.plotting.saving import save as save
