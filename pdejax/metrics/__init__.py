"""Scores of a prediction against the truth: `(prediction, truth, domain) -> (channel,)`.

States are unbatched, `(channel, *space)`, and every mean over space is the domain's quadrature, so a score belongs to
the fields and not to the resolution. Each channel is scored on its own; use `jax.vmap` for samples and times.

A relative score of a truth that is zero throughout is 0 where the prediction is zero too and infinite elsewhere. A NaN
in a state gives NaN. `correlation_time` and `bootstrap_interval` summarise such scores over time and over samples;
`agreement`, `spread` and `crps` score ensembles, member first.

Relative scores are relative to the channel's own truth, so that units do not matter: a channel of size 1e-6 beside one
of size 1 weighs as much in a mean over channels. The other side of it is that a channel which holds nothing but
rounding is scored like any other, and its score, of order one or more, says nothing: read the channels one by one
before their mean.

Relative scores are taken in units of the field's largest value and sizes after division by it, so a field of order
1e-30 or 1e30 is scored in single precision as well as one of order one, and has as good a gradient. Where a size is
zero its derivative, which does not exist, is given as zero, and so is that of a relative score of a zero truth, 0 or
infinite: a loss made of these scores has a finite gradient where prediction and truth agree, and a channel whose truth
is zero adds nothing to the gradient of the others.
"""

from pdejax.metrics.correlations import correlation as correlation
from pdejax.metrics.ensembles import agreement as agreement
from pdejax.metrics.ensembles import crps as crps
from pdejax.metrics.ensembles import spread as spread
from pdejax.metrics.errors import mse as mse
from pdejax.metrics.errors import nrmse as nrmse
from pdejax.metrics.errors import relative_l2 as relative_l2
from pdejax.metrics.errors import rmse as rmse
from pdejax.metrics.errors import vrmse as vrmse
from pdejax.metrics.sizes_of_fields import root_mean_square as root_mean_square
from pdejax.metrics.sizes_of_fields import varies as varies
from pdejax.metrics.spectra import energy_spectrum as energy_spectrum
from pdejax.metrics.spectra import spectrum_error as spectrum_error
from pdejax.metrics.summaries import CorrelationTime as CorrelationTime
from pdejax.metrics.summaries import bootstrap_interval as bootstrap_interval
from pdejax.metrics.summaries import correlation_time as correlation_time
