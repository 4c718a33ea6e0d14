"""Writes docs/orders.md: the observed orders of finite differences between walls, as the tests measure them.

python scripts/orders.py
"""

import sys
from datetime import date
from pathlib import Path

import jax

REPOSITORY = Path(__file__).resolve().parents[1]
POINTS = ("nodes", "centres")
ORDERS = (2, 4, 6, 8)
HEADER = """# Observed orders between walls

`python scripts/orders.py`, {today}: what `tests/fields/test_boundaries.py` asserts. A manufactured solution of
`u_t = 0.3 u_xx - 0.5 u_x - 3 u + s(x, t)` (with an outflow: `u_t = -0.9 u_x - u + s`), whose data at the walls are
functions of x and t; the order of the L2 error of the discrete solution between the two numbers of points, asserted
within 0.2. With order 8 there are two figures: of the middle half of the axis, asserted within 0.2, and in brackets of
the whole, asserted from 7.8 to 9. The error beside the walls falls with order 9 and more, and is the larger one until
rounding is reached.

"""
STRETCHED = """
## On stretched points

The same on points that are half as far apart at the walls as in the middle, `Stretched({stretching})`,
asserted like the others.

"""
LAYER = """
## A thin layer on stretched points

The largest error of the steady solution of `-u_x + 0.01 u_xx = 0`, u(0) = 0, u(1) = 1, whose layer at x = 1 has the
thickness 0.01; order 4, nodes, uniform and `Stretched({map})`.

| points | uniform | stretched |
|---|---|---|
"""
COLUMNS = """| condition | points | order 2 | order 4 | order 6 | order 8 |
|---|---|---|---|---|---|
"""
BY_PARTS = """
## Summation by parts

With `closure="summation by parts"` (on nodes; {low} and {high} points), as `tests/fields/test_summation_by_parts.py`
asserts within 0.2: 2, 4, 5.5, 6.5, and 2, 3, 4, 5 for the transport from an inflow to an outflow. The rows at the walls
have half the order of the interior, m. Where diffusion reaches the walls the solution's error has order m + 2 there, in
a layer of a few cells, of which the L2 norm sees the square root of the thickness; transport carries an error of order
m + 1 along.

| condition | order 2 | order 4 | order 6 | order 8 |
|---|---|---|---|---|
"""
FLUX_FORM = """
## Varying diffusivity

The same of `u.diffusion(D)` in `u_t = d/dx(D u_x) - 3 u + s`, `D = 0.3 + 0.2 sin(2 x + t)`:
asserted as above by `tests/fields/test_flux_form.py`.

| condition | points | order 2 | order 4 | order 6 | order 8 |
|---|---|---|---|---|---|
"""
UPWIND = """
## Transport from upstream

`FiniteDifference(..., advection="upwind")`, between an inflow and an outflow: `u_t = -+0.9 u_x - c u + s`, to the right
and to the left, asserted within 0.2 by `tests/fields/test_upwind.py`. With order 7 the error of the inflow is
a thousand times that of the transport after it: c = 12 (1 otherwise) lets it decay before the middle half of
the axis, whose figure stands beside that of the whole in brackets, asserted from 6.8 to 8.

| transport | points | order 1 | order 3 | order 5 | order 7 |
|---|---|---|---|---|---|
"""
GROWTH = """
The largest growth rate of `u_t = -u_x` between an inflow and an outflow, extent 1, 40 points:

| advection | points | order=2 | order=4 | order=6 | order=8 |
|---|---|---|---|---|---|
"""
STEP = """
A step after one turn around a periodic axis of 100 points, exact in time: how far it lies outside of its two values,
and its total variation beyond that of the step.

| `order` | overshoot, central | overshoot, upwind | variation, central | variation, upwind |
|---|---|---|---|---|
"""


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    sys.path.insert(0, str(REPOSITORY))
    import pdejax as pj
    from pdejax.stretching import TowardsWall
    from tests.fields import test_boundaries, test_flux_form, test_upwind
    from tests.fields.test_stretched import layer_error
    from tests.fields.test_summation_by_parts import NUM_POINTS, orders_by_parts

    text = HEADER.format(today=date.today().isoformat())
    for stretched, sizes in ((False, test_boundaries.SIZES), (True, test_boundaries.STRETCHED_SIZES)):
        text += (STRETCHED.format(stretching=test_boundaries.STRETCHING) if stretched else "") + COLUMNS
        between_walls = {
            (points, order): test_boundaries.orders_between_walls(order, points, stretched)
            for points in POINTS
            for order in sizes
        }
        for kind in test_boundaries.KINDS:
            for points in POINTS:
                text += _row(kind, points, *(_order(order, between_walls[points, order][kind]) for order in sizes))
        text += f"\n{_points(sizes)}"
    towards = TowardsWall(2.5, "upper")
    text += LAYER.format(map=towards)
    for n in (20, 40, 80, 160, 320, 640):
        text += _row(str(n), *(f"{layer_error(points, n):.1e}" for points in ("nodes", pj.Stretched(towards))))
    text += BY_PARTS.format(low=NUM_POINTS[0], high=NUM_POINTS[1])
    by_parts = [orders_by_parts(order) for order in test_boundaries.SIZES]
    for kind in test_boundaries.KINDS:
        text += _row(kind, *(f"{orders[kind]:.2f}" for orders in by_parts))
    text += FLUX_FORM
    of_flux_form = {
        (points, order): test_flux_form.flux_form_orders(order, points) for points in POINTS for order in ORDERS
    }
    for kind in test_flux_form.KINDS:
        for points in POINTS:
            text += _row(kind, points, *(_order(order, of_flux_form[points, order][kind]) for order in ORDERS))
    text += f"\n{_points(test_flux_form.SIZES)}" + UPWIND
    of_upwind = {(points, order): test_upwind.upwind_orders(order, points) for points in POINTS for order in ORDERS}
    for index, way in enumerate(("to the right", "to the left")):
        for points in POINTS:
            text += _row(way, points, *(_order(order, of_upwind[points, order][index]) for order in ORDERS))
    text += f"\n{_points(test_upwind.SIZES, 1)}" + GROWTH
    for advection in ("central", "upwind"):
        for points in POINTS:
            growth = (max(test_upwind.growth(points, order, advection)[:2]) for order in ORDERS)
            # Zero but for the rounding of the eigenvalues.
            text += _row(advection, points, *(f"{0.0 if abs(rate) < 0.05 else rate:.1f}" for rate in growth))
    text += STEP
    for order in ORDERS:
        central, upwind = (test_upwind.ringing(test_upwind.carried_step(order, a)[1]) for a in ("central", "upwind"))
        pairs = zip(central, upwind, strict=True)
        text += _row(str(order), *(f"{max(value, 0.0):.2f}" for pair in pairs for value in pair))
    (REPOSITORY / "docs" / "orders.md").write_text(text)


def _row(*cells: str) -> str:
    line = f"| {' | '.join(cells)} |\n"
    print(line, end="", flush=True)
    return line


def _order(order: int, whole_and_middle: tuple[float, float]) -> str:
    whole, middle = whole_and_middle
    return f"{middle:.2f} ({whole:.2f})" if order == 8 else f"{whole:.2f}"


def _points(sizes: dict[int, tuple[int, int, float, float]], orders_below: int = 0) -> str:
    stated = (
        f"order {order - orders_below}: {n} and {m} on an extent of {extent}"
        for order, (n, m, _, extent) in sizes.items()
    )
    return f"Points: {'; '.join(stated)}.\n"


if __name__ == "__main__":
    main()
