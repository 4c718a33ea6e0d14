"""What runs over many devices communicate and hold: the formulas of docs/scaling.md, and its tables.

    python scripts/scaling.py  # prints the tables

Formulas that a compiled program can be compared with are: tests/solvers/test_many_devices.py and
tests/training/test_devices.py read the bytes from programs for simulated devices. Times are arithmetic, with the
assumed rates below; nothing here was timed.
"""

import math

# Assumptions, per device, in bytes per second and seconds: memory of an H100 class accelerator, its link to the seven
# others of a node, its share of the network between nodes, and what a message costs however short it is.
MEMORY, LINK, NETWORK, LATENCY, DEVICES_PER_NODE = 2.5e12, 3.5e11, 4e10, 5e-6, 8


def transform_bytes(shape: tuple[int, ...], components: int, devices: int, itemsize: int) -> float:
    """What a device sends in one transform of real numbers of `itemsize`: its part of the spectrum, but its own share
    of that, of which the second axis is filled up to a multiple of the devices."""
    modes = [*shape[:-1], shape[-1] // 2 + 1]
    modes[1] = -(-modes[1] // devices) * devices
    block = components * 2 * itemsize * math.prod(modes) / devices
    return block * (devices - 1) / devices


def halo_bytes(reach: int, components: int, across: int, itemsize: int) -> int:
    """What a device inside sends per evaluation, in two messages: `reach` layers of `across` points to either side."""
    return 2 * reach * components * across * itemsize


def all_reduce_bytes(operand: float, devices: int) -> float:
    """What a device sends to sum an operand of so many bytes, around a ring."""
    return 2 * operand * (devices - 1) / devices


def gradient_operand(weight_bytes: int) -> int:
    """What is summed over `data` per step of a fit: the gradient, and the loss in single precision."""
    return weight_bytes + 4


def kept_modes_operand(width: int, modes: tuple[int, ...], samples: int, itemsize: int) -> int:
    """What is summed over `space` per spectral convolution, forwards and once more backwards: the kept coefficients,
    `2 m` along each axis but the last, `m` there, two numbers each. `samples`: of a device."""
    kept = math.prod([2 * m for m in modes[:-1]]) * modes[-1]
    return 2 * kept * width * samples * itemsize


def spectral_step(
    shape: tuple[int, ...], fields: int, evaluations: int, itemsize: int, devices: int
) -> tuple[float, float, float]:
    """Bytes that a device holds, and the seconds that a step computes and communicates: of so many `evaluations` with
    `fields` real fields each that are transformed."""
    points = math.prod(shape) * itemsize / devices
    # The state, the six coefficients of ETDRK4 (real: half a spectrum each), seven spectra of stages, the fields of a
    # right-hand side at the points and as modes.
    held = points * (1 + 6 / 2 + 7 + 2 * fields)
    passes = len(shape) + 2  # a transform per axis and the exchange to and fro through memory, each read and written
    computed = evaluations * fields * passes * 2 * points / MEMORY
    rate = LINK if devices <= DEVICES_PER_NODE else NETWORK
    sent = transform_bytes(shape, fields, devices, itemsize)
    communicated = evaluations * (sent / rate + (LATENCY * math.log2(devices)))
    return held, computed, communicated


def volume_step(
    shape: tuple[int, ...], components: int, reach: int, evaluations: int, work: int, itemsize: int, devices: int
) -> tuple[float, float, float]:
    """The same for finite volumes; `work`: how often an evaluation reads and writes its components."""
    points = math.prod(shape) * components * itemsize / devices
    extra = 1 + 2 * reach * devices / shape[0]
    computed = evaluations * work * 2 * points * extra / MEMORY
    rate = LINK if devices <= DEVICES_PER_NODE else NETWORK
    sent = halo_bytes(reach, components, math.prod(shape[1:]), itemsize)
    communicated = evaluations * (sent / rate + 2 * LATENCY) if devices > 1 else 0.0
    return points * (3 + work) * extra, computed, communicated


def fno_step(
    width: int, layers: int, modes: tuple[int, ...], shape: tuple[int, ...], samples: int, data: int, space: int
) -> tuple[float, float, float]:
    """The same for a step of fitting a Fourier neural operator in single precision with `samples` per device along
    `data`."""
    kept = math.prod([2 * m for m in modes[:-1]]) * modes[-1]
    weights = 4 * layers * (2 * kept * width**2 + width**2 + width)
    activations = 4 * samples * width * math.prod(shape) / space
    # Weights, gradient and two moments of Adam; of each layer what its derivative needs.
    held = 4 * weights + 4 * layers * activations
    computed = 3 * layers * 8 * activations / MEMORY
    devices = data * space
    rate = LINK if devices <= DEVICES_PER_NODE else NETWORK
    sums = all_reduce_bytes(gradient_operand(weights), data)
    sums += 2 * layers * all_reduce_bytes(kept_modes_operand(width, modes, samples, 4), space)
    messages = (data > 1) + 2 * layers * (space > 1)
    return held, computed, sums / rate + messages * LATENCY * math.log2(max(devices, 2))


def _table(title: str, rows: list[tuple[str, int, tuple[float, float, float]]]) -> None:
    print(f"\n{title}\n")
    print("| case | devices | held by each | computing | communicating | share of computing |")
    print("|---|---|---|---|---|---|")
    for name, devices, (held, computed, communicated) in rows:
        share = computed / (computed + communicated)
        print(
            f"| {name} | {devices} | {held / 2**30:.3g} GiB | {1e3 * computed:.3g} ms | {1e3 * communicated:.3g} ms | "
            f"{share:.0%} |"
        )


def main() -> None:
    counts = (1, 8, 64, 512, 4096)
    _table(
        "Fourier modes, ETDRK4, double precision",
        [
            (f"plane {n}^2", p, spectral_step((n, n), 4, 4, 8, p))
            for n in (4096, 32768)
            for p in counts
            if p <= n // 2 and not (p == 4096 and n == 4096)
        ]
        + [(f"box {n}^3", p, spectral_step((n, n, n), 15, 4, 8, p)) for n in (512, 2048) for p in counts if p <= n],
    )
    _table(
        "Finite volumes, WENO 5, SSPRK3, double precision, five components",
        [
            (f"box {n}^3", p, volume_step((n, n, n), 5, 3, 3, 30, 8, p))
            for n in (512, 2048)
            for p in counts
            if 3 * p <= n
        ],
    )
    _table(
        "FNO, width 64, 4 layers, 16 modes per axis, single precision",
        [
            (f"256^2, {b} samples each, data {d}, space {s}", d * s, fno_step(64, 4, (16, 16), (256, 256), b, d, s))
            for b, d, s in ((16, 1, 1), (16, 8, 1), (16, 64, 1), (16, 512, 1), (16, 2, 4), (1, 512, 8))
        ]
        + [
            (f"256^3, {b} sample each, data {d}, space {s}", d * s, fno_step(64, 4, (16,) * 3, (256,) * 3, b, d, s))
            for b, d, s in ((1, 1, 1), (1, 1, 8), (1, 64, 8), (1, 512, 8))
        ],
    )


if __name__ == "__main__":
    main()
