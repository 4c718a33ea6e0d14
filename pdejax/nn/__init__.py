"""Layers: functions of channels on a grid, without physics."""

from pdejax.nn.activations import exact_gelu as exact_gelu
from pdejax.nn.antialiased_activation import AntialiasedActivation as AntialiasedActivation
from pdejax.nn.channel_map import ChannelMap as ChannelMap
from pdejax.nn.channel_mlp import ChannelMLP as ChannelMLP
from pdejax.nn.conditioning import Conditioning as Conditioning
from pdejax.nn.convolution import Convolution as Convolution
from pdejax.nn.fourier_layer import FourierLayer as FourierLayer
from pdejax.nn.fourier_layer import LayerMLP as LayerMLP
from pdejax.nn.held import Held as Held
from pdejax.nn.modes import Modes as Modes
from pdejax.nn.modulation import Addition as Addition
from pdejax.nn.modulation import ChannelAttention as ChannelAttention
from pdejax.nn.modulation import FiLM as FiLM
from pdejax.nn.norms import GroupNorm as GroupNorm
from pdejax.nn.norms import InstanceNorm as InstanceNorm
from pdejax.nn.padding import padded as padded
from pdejax.nn.parameter_embedding import Embedding as Embedding
from pdejax.nn.parameter_embedding import ParameterEmbedding as ParameterEmbedding
from pdejax.nn.position import GridEmbedding as GridEmbedding
from pdejax.nn.resampling import resampled as resampled
from pdejax.nn.shortcuts import GatedShortcut as GatedShortcut
from pdejax.nn.shortcuts import IdentityShortcut as IdentityShortcut
from pdejax.nn.shortcuts import LinearShortcut as LinearShortcut
from pdejax.nn.spectral_convolution import SpectralConvolution as SpectralConvolution
from pdejax.nn.transposed_convolution import TransposedConvolution as TransposedConvolution
