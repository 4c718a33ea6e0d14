"""Writes docs/shocks.md: errors of finite volumes on problems with shocks, and pictures of them to out/shocks/.

python scripts/shocks.py                          # all
python scripts/shocks.py "Magnetohydrodynamics"   # that section alone, in its place
"""

import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import pdejax as pj
from pdejax.boundary import Outflow, Reflecting
from pdejax.riemann import EulerRiemann, Gas, ShallowWaterRiemann, Water
from pdejax.solvers import CourantLimited
from pdejax.volumes import HLL, HLLC, HLLD, MUSCL, WENO, divergence, solenoidal_field

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "out" / "shocks"
GAS, WATER = pj.equations.Euler(1.4), pj.equations.ShallowWater(9.81)
SCHEMES = {
    "MUSCL": dict(reconstruction=MUSCL(), variables="primitive", positivity=True),
    "WENO 5": dict(reconstruction=WENO(5), variables="characteristic", positivity=True),
}
SIZES = (100, 200, 400)
# Left and right (density, velocity, pressure), the place of the jump, time.
TUBES = {
    "Sod": ((1.0, 0.0, 1.0), (0.125, 0.0, 0.1), 0.5, 0.2),
    "Lax": ((0.445, 0.698, 3.528), (0.5, 0.0, 0.571), 0.5, 0.13),
    "sonic point (Toro 1)": ((1.0, 0.75, 1.0), (0.125, 0.0, 0.1), 0.3, 0.2),
    "double rarefaction (Toro 2)": ((1.0, -2.0, 0.4), (1.0, 2.0, 0.4), 0.5, 0.15),
    "strong shock (Toro 3)": ((1.0, 0.0, 1000.0), (1.0, 0.0, 0.01), 0.5, 0.012),
    "colliding shocks (Toro 4)": ((5.99924, 19.5975, 460.894), (5.99242, -6.19633, 46.0950), 0.4, 0.035),
    "slow contact (Toro 5)": ((1.0, -19.59745, 1000.0), (1.0, -19.59745, 0.01), 0.8, 0.012),
}
DAMS = {
    "dam break": ((1.0, 0.0), (0.1, 0.0), 0.5, 0.1),
    "two bores": ((1.0, 2.5), (1.0, -2.5), 0.5, 0.06),
    "parting streams": ((1.0, -2.0), (1.0, 2.0), 0.5, 0.06),
}
HEADER = """# Shocks

`python scripts/shocks.py`, {today}, float64. Finite volumes with HLLC, SSPRK3, CFL number 0.4: MUSCL (van Leer) on
primitive variables and WENO 5 on characteristic ones, both with `positivity=True`. Pictures go to `out/shocks/`.
"""
TUBE_TABLE = """
## Tubes

The L1 error of the density (of the depth) on so many cells of the unit interval, against averages of the exact solution
(`pdejax.riemann`), and the order between the two finest: about one where shocks, and a little less where contacts, have
the largest part in the error.

| problem | scheme | {sizes} | order |
|---|---|{rules}---|
"""
REFERENCED = """
## Without an exact solution

The same error beside 3200 cells of WENO 5: waves of density that run through a shock (Shu & Osher), and two blast waves
between walls that reflect (Woodward & Colella).

| problem | scheme | 100 | 200 | 400 |
|---|---|---|---|---|
"""
PLANE = """
## In the plane

| problem | what | |
|---|---|---|
"""
BOTTOM = """
## Over a bottom

{today}, MUSCL with positivity. A lake at rest over a hill, two steps and ripples between walls; a dam that breaks
onto ground that is dry but for a film of 1e-6, and around an island that stands out of the water.

| problem | what | |
|---|---|---|
"""
MAGNETIC = """
## Magnetohydrodynamics

{today}. HLLD in place of HLLC, and constrained transport. Brio and Wu's tube (gamma = 2, t = 0.1) has no closed
solution: the L1 error of the density is beside 1600 cells of our own WENO 5, whose plateaus have ripples of about one
per cent. The vortex of Orszag and Tang in the unit box (gamma = 5/3, t = 0.5, MUSCL) is symmetric about its centre, and
keeps what it has.

| problem | scheme | 100 | 200 | 400 |
|---|---|---|---|---|
"""
VORTEX_TABLE = """
| problem | what | |
|---|---|---|
"""


def run(law: Any, grid: pj.Grid, boundary: Any, u: Any, time: float, scheme: str, riemann: Any = HLLC()) -> Any:  # noqa: B008
    reading = pj.FiniteVolume(grid, riemann=riemann, boundary=boundary, **SCHEMES[scheme])
    return pj.solve(law, reading, u, [0.0, time], dt=CourantLimited(0.4)).u[-1]


def tubes(law: Any, problems: dict[str, Any], exact: Callable[..., Any], panel_rows: list[Any]) -> str:
    text = ""
    for name, (left, right, place, time) in problems.items():
        problem = exact(left, right)
        for scheme in SCHEMES:
            errors = []
            for n in SIZES:
                grid = pj.Grid(n, 1.0, periodic=False)
                edges = jnp.linspace(0.0, 1.0, n + 1)
                start, end = (problem.cell_averages(edges, t, x0=place) for t in (0.0, time))
                u = run(law, grid, Outflow(), start, time, scheme)
                errors.append(float(jnp.mean(jnp.abs(u - end)[0])))
                if n == SIZES[0]:
                    panel_rows.append((name, scheme, grid.axes[0], u[0], end[0]))
            order = np.log(errors[-2] / errors[-1]) / np.log(2)
            text += _row(name, scheme, *(f"{error:.1e}" for error in errors), f"{order:.2f}")
    return text


def without_exact_solution() -> str:
    """Waves that run through a shock, and shocks that collide between walls: beside a far finer grid."""
    text = REFERENCED
    x_of = lambda grid: grid.axes[0]  # noqa: E731

    def shu_osher(grid: pj.Grid) -> Any:
        """Averages of the sine by its antiderivative."""
        edges = jnp.linspace(-5.0, 5.0, grid.shape[0] + 1)
        waves = 1 - 0.04 * jnp.diff(jnp.cos(5 * edges)) / jnp.diff(edges)
        behind = x_of(grid) < -4.0
        return jnp.stack([jnp.where(behind, 3.857143, waves), 2.629369 * behind, jnp.where(behind, 10.33333, 1.0)])

    def blast_waves(grid: pj.Grid) -> Any:
        x = x_of(grid)
        pressure = jnp.where(x < 0.1, 1000.0, jnp.where(x > 0.9, 100.0, 0.01))
        return jnp.stack([jnp.ones_like(x), jnp.zeros_like(x), pressure])

    figure, panels = plt.subplots(2, 1, figsize=(7, 6), layout="constrained")
    for panel, (name, start, extent, origin, boundary, time) in zip(
        panels,
        (
            ("Shu-Osher", shu_osher, 10.0, -5.0, Outflow(), 1.8),
            ("two blast waves", blast_waves, 1.0, 0.0, Reflecting(), 0.038),
        ),
        strict=True,
    ):

        def solved(n: int, scheme: str, start=start, extent=extent, origin=origin, boundary=boundary, time=time) -> Any:
            grid = pj.Grid(n, extent, periodic=False, origin=origin)
            return np.asarray(grid.axes[0]), run(GAS, grid, boundary, GAS.conserved(start(grid)), time, scheme)

        x, finest = solved(3200, "WENO 5")
        panel.plot(x, finest[0], "k-", linewidth=0.7, label="3200 cells")
        text += _beside(
            finest, name, solved, lambda x, u, label, at=panel: at.plot(x, u[0], ".", markersize=3, label=label)
        )
        panel.set_title(name, fontsize=9)
        panel.legend(fontsize=7)
    figure.savefig(PICTURES / "referenced.png", dpi=110)
    plt.close(figure)
    return text


def in_the_plane() -> str:
    """Four shocks that meet, and a dam of the shape of a disc."""
    text = PLANE
    grid = pj.Grid((200, 200), 1.0, periodic=False)
    x, y = grid.coordinates()
    # Anticlockwise from the upper right: density, the two velocities, pressure.
    quadrants = [
        (1.5, 0.0, 0.0, 1.5),
        (0.5323, 1.206, 0.0, 0.3),
        (0.138, 1.206, 1.206, 0.029),
        (0.5323, 0.0, 1.206, 0.3),
    ]
    places = [(x > 0.5) & (y > 0.5), (x < 0.5) & (y > 0.5), (x < 0.5) & (y < 0.5), (x > 0.5) & (y < 0.5)]
    w = sum(jnp.asarray(q)[:, None, None] * place for q, place in zip(quadrants, places, strict=True))
    u = run(GAS, grid, Outflow(), GAS.conserved(w), 0.3, "WENO 5")
    turned = jnp.swapaxes(u[jnp.array([0, 2, 1, 3])], 1, 2)
    pj.plotting.plot_field(u[:1], grid, names=["density"]).savefig(PICTURES / "four_shocks.png", dpi=110)
    text += _row("four shocks, 200 x 200", "asymmetry about the diagonal", f"{float(jnp.max(jnp.abs(u - turned))):.1e}")
    water, finest = pj.equations.ShallowWater(1.0), None
    for n in (256, 128, 64):
        square = pj.Grid((n, n), 5.0, periodic=False, origin=-2.5)
        radius = jnp.sqrt(jnp.sum(square.coordinates() ** 2, axis=0))
        start = jnp.stack([jnp.where(radius < 0.5, 2.0, 1.0), 0 * radius, 0 * radius])
        u = run(water, square, Outflow(), start, 1.0, "MUSCL")
        if finest is None:
            finest = u
            pj.plotting.plot_field(u[:1], square, names=["depth"]).savefig(PICTURES / "dam.png", dpi=110)
            volume = float(jnp.sum(u[0]) / jnp.sum(start[0]) - 1)
            text += _row("round dam, 256 x 256", "change of the volume", f"{volume:.1e}")
            continue
        coarse = finest.reshape(3, n, 256 // n, n, 256 // n).mean(axis=(2, 4))
        error = float(jnp.mean(jnp.abs(u - coarse)[0]))
        text += _row(f"round dam, {n} x {n}", "L1 of the depth, beside 256 x 256", f"{error:.1e}")
    return text


def magnetohydrodynamics() -> str:
    """Brio and Wu's tube beside a finer grid; the vortex of Orszag and Tang."""
    text, law = MAGNETIC.format(today=date.today().isoformat()), pj.equations.Magnetohydrodynamics(2.0)

    def solved(n: int, scheme: str) -> tuple[Any, Any]:
        grid = pj.Grid(n, 1.0, periodic=False)
        ends = (1.0, 0.0, 0.0, 0.0, 0.75, 1.0, 0.0, 1.0), (0.125, 0.0, 0.0, 0.0, 0.75, -1.0, 0.0, 0.1)
        left, right = (jnp.asarray(w)[:, None] for w in ends)
        start = law.conserved(jnp.where(grid.coordinates() < 0.5, left, right))
        return grid.axes[0], run(law, grid, Outflow(), start, 0.1, scheme, HLLD())

    x, finest = solved(1600, "WENO 5")
    figure, panels = plt.subplots(3, 2, figsize=(9, 8), layout="constrained")
    shown = {0: "density", 1: "velocity along x", 2: "velocity along y", 5: "B_y", 7: "pressure"}

    def draw(x: Any, u: Any, style: str, label: str) -> None:
        for panel, (row, name) in zip(panels.ravel(), shown.items(), strict=False):
            panel.plot(x, law.primitive(u)[row], style, markersize=3, linewidth=0.7, label=label)
            panel.set_title(name, fontsize=9)

    draw(x, finest, "k-", "1600 cells")
    text += _beside(finest, "Brio-Wu", solved, lambda x, u, label: draw(x, u, ".", label))
    panels[0, 0].legend(fontsize=7)
    panels[-1, -1].set_axis_off()
    figure.savefig(PICTURES / "brio_wu.png", dpi=110)
    plt.close(figure)
    return text + VORTEX_TABLE + vortex(192)


def vortex(n: int) -> str:
    """Orszag and Tang's: sines that make shocks, which cross each other."""
    law, grid = pj.equations.Magnetohydrodynamics(5 / 3), pj.Grid((n, n), 1.0, points="centres")
    x, y = 2 * np.pi * grid.coordinates()
    one, strength = jnp.ones_like(x), 1 / np.sqrt(4 * np.pi)
    field = solenoidal_field(
        lambda x: strength * (jnp.cos(4 * np.pi * x[0]) / 2 + jnp.cos(2 * np.pi * x[1])) / (2 * np.pi), grid
    )
    w = [25 / (36 * np.pi) * one, -jnp.sin(y), jnp.sin(x), 0 * one, *field, 0 * one, 5 / (12 * np.pi) * one]
    start = law.conserved(jnp.stack(w))
    u = run(law, grid, None, start, 0.5, "MUSCL", HLLD())
    charge = float(jnp.max(jnp.abs(divergence(u[4:6], grid))) / (n * jnp.max(jnp.abs(u[4:6]))))
    turned = u[:, ::-1, ::-1] * jnp.array([1.0, -1, -1, -1, -1, -1, -1, 1])[:, None, None]
    density, pressure = u[0], law.pressure(u)
    picture = pj.plotting.plot_field(jnp.stack([density, pressure]), grid, names=["density", "pressure"])
    picture.savefig(PICTURES / "orszag_tang.png", dpi=110)
    label = f"Orszag-Tang, {n} x {n}"
    return (
        _row(label, "largest divergence of B, times h / largest B", f"{charge:.1e}")
        + _row(
            label, "largest change of a component's mean", f"{float(jnp.max(jnp.abs(jnp.mean(u - start, (1, 2))))):.1e}"
        )
        + _row(label, "asymmetry about the centre", f"{float(jnp.max(jnp.abs(u - turned))):.1e}")
        + _row(label, "least and largest pressure", f"{float(jnp.min(pressure)):.4f}, {float(jnp.max(pressure)):.4f}")
        + _row(label, "least and largest density", f"{float(jnp.min(density)):.4f}, {float(jnp.max(density)):.4f}")
    )


def shock_tubes() -> str:
    text = TUBE_TABLE.format(sizes=" | ".join(map(str, SIZES)), rules="---|" * len(SIZES))
    rows: list[Any] = []
    text += tubes(GAS, TUBES, lambda left, right: EulerRiemann(Gas(*left), Gas(*right), 1.4), rows)
    text += tubes(WATER, DAMS, lambda left, right: ShallowWaterRiemann(Water(*left), Water(*right), 9.81), rows)
    draw_tubes(rows)
    return text


def over_a_bottom() -> str:
    """A lake at rest, and a dam onto dry ground with an island."""
    text = BOTTOM.format(today=date.today().isoformat())
    grid = pj.Grid((96, 64), (3.0, 2.0), periodic=False)
    x = grid.coordinates()[0]

    def rough(x: Any) -> Any:
        steps = jnp.where(jnp.abs(x[0] - 2.2) < 0.3, 0.5, 0.0)
        return 0.8 * jnp.exp(-8 * ((x[0] - 1) ** 2 + (x[1] - 1) ** 2)) + steps + 0.1 * jnp.sin(20 * x[0] - 9 * x[1])

    def run_over(ground: Any, u: Any, time: float) -> Any:
        reading = pj.FiniteVolume(grid, MUSCL(), HLL(), Reflecting(), positivity=True)
        return pj.solve(pj.equations.ShallowWater(9.81, ground), reading, u, jnp.linspace(0, time, 4)).u

    lake = jnp.stack([2.0 - rough(grid.coordinates()), 0 * x, 0 * x])
    velocity = jnp.max(jnp.abs(run_over(rough, lake, 1.0)[-1, 1:]))
    text += _row("lake at rest, 96 x 64, t = 1", "largest discharge", f"{float(velocity):.1e}")

    def island(x: Any) -> Any:
        return 0.9 * jnp.exp(-10 * ((x[0] - 1.7) ** 2 + (x[1] - 0.8) ** 2)) + 0.1 * x[0]

    ground = island(grid.coordinates())
    depth = jnp.maximum(jnp.where(x < 0.8, 1.0, 0.0) - ground, 1e-6)
    frames = run_over(island, jnp.stack([depth, 0 * depth, 0 * depth]), 1.2)
    change = float(jnp.sum(frames[-1, 0]) / jnp.sum(depth) - 1)
    text += _row("dam and island, 96 x 64, t = 1.2", "change of the volume", f"{change:.1e}")
    text += _row("", "least depth", f"{float(jnp.min(frames[:, 0])):.1e}")
    surface = jnp.where(frames[:, 0] > 1e-3, frames[:, 0] + ground, jnp.nan)
    figure = pj.plotting.plot_field(surface[1:], grid, names=[f"surface, t = {t:.1f}" for t in (0.4, 0.8, 1.2)])
    figure.savefig(PICTURES / "island.png", dpi=110)
    return text


SECTIONS = {
    "Tubes": shock_tubes,
    "Without an exact solution": without_exact_solution,
    "In the plane": in_the_plane,
    "Over a bottom": over_a_bottom,
    "Magnetohydrodynamics": magnetohydrodynamics,
}


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    page, named = REPOSITORY / "docs" / "shocks.md", sys.argv[1:]
    if not named:
        page.write_text(HEADER.format(today=date.today().isoformat()) + "".join(make() for make in SECTIONS.values()))
        return
    # The text of each section, from its title to the next.
    head, *parts = re.split(r"(?=\n## )", page.read_text())
    written = {part.split("\n")[1].removeprefix("## "): part for part in parts}
    written |= {name: SECTIONS[name]() for name in named}
    page.write_text(head + "".join(written[name] for name in SECTIONS if name in written))


def draw_tubes(rows: list[Any]) -> None:
    names = list(dict.fromkeys(name for name, *_ in rows))
    figure, panels = plt.subplots((len(names) + 1) // 2, 2, figsize=(10, 2.1 * len(names) / 2), layout="constrained")
    for panel, name in zip(panels.ravel(), names, strict=False):
        for label, scheme, x, u, exact in rows:
            if label == name:
                panel.plot(x, u, ".", markersize=3, label=scheme)
                panel.plot(x, exact, "k-", linewidth=0.6)
        panel.set_title(name, fontsize=9)
    panels[0, 0].legend(fontsize=7)
    figure.savefig(PICTURES / "tubes.png", dpi=110)
    plt.close(figure)


def _beside(finest: Any, name: str, solved: Callable[..., Any], draw: Callable[..., Any]) -> str:
    """A row per scheme: the error of the density at each size beside a finer solution; 200 cells are drawn."""
    text = ""
    for scheme in SCHEMES:
        errors = []
        for n in SIZES:
            x, u = solved(n, scheme)
            errors.append(float(jnp.mean(jnp.abs(u - finest.reshape(len(u), n, -1).mean(axis=2))[0])))
            if n == 200:
                draw(x, u, f"{scheme}, 200 cells")
        text += _row(name, scheme, *(f"{error:.1e}" for error in errors))
    return text


def _row(*cells: str) -> str:
    line = f"| {' | '.join(cells)} |\n"
    print(line, end="", flush=True)
    return line


if __name__ == "__main__":
    main()
