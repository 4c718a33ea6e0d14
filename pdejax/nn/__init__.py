"""Layers: functions of channels on a grid, without physics."""

from pdejax.nn.channel_map import ChannelMap as ChannelMap
from pdejax.nn.held import Held as Held
from pdejax.nn.modes import Modes as Modes
from pdejax.nn.spectral_convolution import SpectralConvolution as SpectralConvolution
