"""Surrogates beside the classical solvers that judge them: error, cost, and both together."""

from pdejax.evaluate.evaluate import evaluate as evaluate
from pdejax.evaluate.frontier import Comparison as Comparison
from pdejax.evaluate.on_data_grid import OnDataGrid as OnDataGrid
from pdejax.evaluate.report import Report as Report
from pdejax.evaluate.rivals import RivalFamily as RivalFamily
from pdejax.evaluate.rivals import Variant as Variant
from pdejax.evaluate.volume_rivals import VolumeRivals as VolumeRivals
