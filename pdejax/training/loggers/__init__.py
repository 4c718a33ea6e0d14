"""Where the log of a fit goes besides its file: a logger is a function of rows, and these are some."""

from pdejax.training.loggers.live_plot import LivePlot as LivePlot
from pdejax.training.loggers.logger import Logger as Logger
from pdejax.training.loggers.logger import scalars as scalars
from pdejax.training.loggers.tensorboard import TensorBoard as TensorBoard
from pdejax.training.loggers.wandb import Wandb as Wandb
