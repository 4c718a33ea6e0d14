"""The FNO of `training.py` made of each peer's own layers, with our weights, and each peer's own training loop.

All of them are one function: the same frequencies, widths and weights, one activation (the tanh form of GELU) after
every layer but the last, and affine lift and projection without activation and with one. Where a peer's ready-made
model differs it is put together from its layers:

- neuraloperator 2.0.0 without its channel MLP applies the activation twice after every layer; here it is applied once,
  which is less work for it.
- `pdequinox.arch.ClassicFNO` has an activation after the last layer, and an affine projection.

Each loop has `run(steps)`, which goes on where the last call ended and returns the losses, one per step, when the
device has done all of it.
"""

import importlib
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax

import pdejax as pj

LEARNING_RATE = 1e-3


def absent(package: str) -> bool:
    """Whether `package` cannot be imported here."""
    try:
        importlib.import_module(package)
    except ImportError:
        return True
    return False


def parameters_of_fno(modes: pj.nn.Modes, width: int, layers: int, channels: int = 1) -> int:
    """How many real numbers such a network has: all three must have that many."""
    spectral = 2 * int(np.prod(modes.shape)) * width**2
    lift, projection = (channels + 1) * width, (width + 1) * 2 * width + (2 * width + 1) * channels
    return layers * (spectral + (width + 1) * width) + lift + projection


def count(model: Any) -> int:
    """The real numbers of a model of JAX or of torch; a complex one is two."""
    if hasattr(model, "parameters") and callable(model.parameters):
        return sum((2 if p.is_complex() else 1) * p.numel() for p in model.parameters())
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))


class Batches:
    """The numbers of the pairs in each batch, by epochs in random order, without the rest of an epoch."""

    def __init__(self, samples: int, size: int):
        self.samples, self.size = samples, size
        self.generator, self.left = np.random.default_rng(0), np.empty(0, int)

    def next(self) -> np.ndarray:
        if len(self.left) < self.size:
            self.left = self.generator.permutation(self.samples)
        batch, self.left = self.left[: self.size], self.left[self.size :]
        return batch


class NeuralOperator:
    """neuraloperator's layers in a plain loop of torch: less work than its `Trainer`, which reads every loss back."""

    def __init__(self, fno: Any, inputs: np.ndarray, targets: np.ndarray, batch: int, device: str, compiled: bool):
        import torch

        self.torch, self.device = torch, torch.device(device)
        self.model = neuraloperator_fno(fno).to(self.device)
        self.step = torch.compile(self.model) if compiled else self.model
        self.data = tuple(torch.tensor(np.asarray(a), device=self.device) for a in (inputs, targets))
        self.batches = Batches(len(inputs), batch)
        # Fused kernels refuse complex weights; the other two took equal time.
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        with self.torch.no_grad():
            return self.model(self.torch.tensor(np.asarray(inputs), device=self.device)).cpu().numpy()

    def run(self, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            index = self.torch.as_tensor(self.batches.next(), device=self.device)
            inputs, targets = (a[index] for a in self.data)
            self.optimiser.zero_grad()
            loss = self.torch.nn.functional.mse_loss(self.step(inputs), targets)
            loss.backward()
            self.optimiser.step()
            losses.append(loss.detach())
        # Reading the losses waits for the device; the last update is waited for, too.
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()
        return [float(loss) for loss in losses]


def neuraloperator_fno(fno: Any) -> Any:
    """The same function as `fno`, made of neuraloperator's layers."""
    import torch
    from neuralop.models import FNO

    # Its total on the last axis is halved, and one is added.
    kept = fno.modes.shape
    gelu = partial(torch.nn.functional.gelu, approximate="tanh")
    theirs = FNO(
        n_modes=(*kept[:-1], 2 * (kept[-1] - 1)),
        in_channels=fno.in_channels,
        out_channels=fno.out_channels,
        hidden_channels=fno.width,
        n_layers=fno.num_layers,
        lifting_channel_ratio=0,
        projection_channel_ratio=fno.projection_width / fno.width,
        positional_embedding=None,
        non_linearity=gelu,
        use_channel_mlp=False,
    )

    class OneActivation(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lifting, self.projection = theirs.lifting, theirs.projection
            self.convolutions, self.skips = theirs.fno_blocks.convs, theirs.fno_blocks.fno_skips

        def forward(self, u):
            v = self.lifting(u)
            for layer, (convolution, skip) in enumerate(zip(self.convolutions, self.skips, strict=True)):
                v = convolution(v) + skip(v)
                v = v if layer == len(self.skips) - 1 else gelu(v)
            return self.projection(v)

    model = OneActivation()

    def copy(target, values, shape=None):
        values = torch.tensor(np.asarray(values))
        target.data = values.reshape(target.shape if shape is None else shape)

    def copy_map(target, source):
        copy(target.weight, source.weight)
        copy(target.bias, source.bias)

    copy_map(model.lifting.fcs[0], fno.lift)
    for target, source in zip(model.projection.fcs, (fno.projection.hidden, fno.projection.out), strict=True):
        copy_map(target, source)
    for convolution, skip, ours, shortcut in zip(
        model.convolutions, model.skips, fno.convolutions, fno.shortcuts, strict=True
    ):
        weight = np.asarray(ours.real) + 1j * np.asarray(ours.imaginary)
        # Ours are (*modes, in, out), theirs (in, out, *modes), both with ascending frequencies.
        weight = torch.tensor(np.moveaxis(weight, (-2, -1), (0, 1)).copy())
        convolution.weight.tensor.data = weight
        copy(convolution.bias, shortcut.bias)
        copy(skip.conv.weight, shortcut.weight)
    return model


class PDEquinox:
    """PDEquinox's layers, trained by Trainax: the steps of its trainer, whose set-up is done once and not timed."""

    def __init__(self, fno: Any, inputs: np.ndarray, targets: np.ndarray, batch: int, most_steps: int):
        import trainax

        self.model = pdequinox_fno(fno)
        self.trainer = trainax.trainer.SupervisedTrainer(
            jax.numpy.stack([inputs, targets], axis=1),
            optimizer=optax.adam(LEARNING_RATE),
            num_training_steps=most_steps,
            batch_size=batch,
            num_rollout_steps=1,
        )
        # What `trainer(model, key)` does before its loop.
        self.mixer = trainax.PermutationMixer(len(inputs), most_steps, batch, jax.random.key(1))
        self.update = eqx.filter_jit(self.trainer.step_fn)
        self.state = self.trainer.optimizer.init(eqx.filter(self.model, eqx.is_array))
        self.done = 0

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        return np.asarray(eqx.filter_jit(lambda model, u: jax.vmap(model)(u))(self.model, inputs))

    def run(self, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            data = self.trainer.trajectory_sub_stacker(self.mixer(self.done))
            self.model, self.state, loss = self.update(self.model, self.state, data)
            losses.append(loss)
            self.done += 1
        jax.block_until_ready(self.model)
        return [float(loss) for loss in losses]


def pdequinox_fno(fno: Any) -> eqx.Module:
    """The same function as `fno`, made of PDEquinox's layers."""
    import pdequinox as pdeqx

    key = jax.random.key(0)
    ndim, width, hidden = fno.ndim, fno.width, fno.projection_width

    def projection(**_):
        out_of, into = (
            pdeqx.conv.PointwiseLinearConv(ndim, *channels, key=key)
            for channels in ((width, hidden), (hidden, fno.out_channels))
        )
        return eqx.nn.Sequential([out_of, eqx.nn.Lambda(jax.nn.gelu), into])

    model = pdeqx.Sequential(
        ndim,
        fno.in_channels,
        fno.out_channels,
        hidden_channels=width,
        num_blocks=fno.num_layers,
        activation=jax.nn.gelu,
        key=key,
        boundary_mode="periodic",
        lifting_factory=pdeqx.blocks.LinearChannelAdjustBlockFactory(),
        block_factory=pdeqx.blocks.ClassicSpectralBlockFactory(num_modes=fno.modes.shape[-1]),
        projection_factory=projection,
    )
    model = eqx.tree_at(lambda m: m.blocks[-1].activation, model, lambda v: v)

    def copied(target, source):
        weight = source.weight.reshape(target.weight.shape)
        return eqx.tree_at(lambda t: (t.weight, t.bias), target, (weight, source.bias.reshape(target.bias.shape)))

    def spectral(target, source):
        # Theirs are (block, out, in, *modes): the blocks are the signs of the frequencies of all axes but the last.
        def parts(values):
            values = np.moveaxis(np.asarray(values), (-1, -2), (0, 1))
            for axis in range(ndim - 1):
                values = np.roll(values, -fno.modes.shape[-1], axis + 2)
            blocks = [values]
            for axis in range(ndim - 1):
                blocks = [half for b in blocks for half in np.split(b, 2, axis + 2)]
            return jax.numpy.asarray(np.stack(blocks))

        return eqx.tree_at(
            lambda t: (t.weights_real, t.weights_imag), target, (parts(source.real), parts(source.imaginary))
        )

    first, last = model.projection.layers[0], model.projection.layers[2]
    blocks = [
        eqx.tree_at(
            lambda b: (b.spectral_conv, b.by_pass_conv),
            block,
            (spectral(block.spectral_conv, ours), copied(block.by_pass_conv, shortcut)),
        )
        for block, ours, shortcut in zip(model.blocks, fno.convolutions, fno.shortcuts, strict=True)
    ]
    return eqx.tree_at(
        lambda m: (m.lifting, m.blocks, m.projection.layers[0], m.projection.layers[2]),
        model,
        (
            copied(model.lifting, fno.lift),
            blocks,
            copied(first, fno.projection.hidden),
            copied(last, fno.projection.out),
        ),
    )
