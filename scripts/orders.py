"""Writes docs/orders.md: the observed orders of finite differences between walls, as the tests measure them.

python scripts/orders.py
"""

import sys
from datetime import date
from pathlib import Path

import jax

REPOSITORY = Path(__file__).resolve().parents[1]
HEADER = """# Observed orders between walls

`python scripts/orders.py`, {today}: what `tests/fields/test_boundaries.py` asserts. A manufactured solution of
`u_t = 0.3 u_xx - 0.5 u_x - 3 u + s(x, t)` (with an outflow: `u_t = -0.9 u_x - u + s`), whose data at the walls are
functions of x and t; the order of the L2 error of the discrete solution between the two numbers of points. Orders 2, 4
and 6 are asserted within 0.2. With order 8 errors are at rounding before they are asymptotic, and those of the walls,
which fall faster, still have their share: 7.8 to 9 is asserted.

| condition | points | order 2 | order 4 | order 6 | order 8 |
|---|---|---|---|---|---|
"""
BY_PARTS = """
With `closure="summation by parts"` (on nodes; {low} and {high} points), as `tests/fields/test_summation_by_parts.py`
asserts within 0.2: 2, 4, 5.5, 6.5, and 2, 3, 4, 5 for the transport from an inflow to an outflow. The rows at the walls
have half the order of the interior, m. Where diffusion reaches the walls the solution's error has order m + 2 there, in
a layer of a few cells, of which the L2 norm sees the square root of the thickness; transport carries an error of order
m + 1 along.

| condition | order 2 | order 4 | order 6 | order 8 |
|---|---|---|---|---|
"""


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    sys.path.insert(0, str(REPOSITORY))
    from tests.fields.test_boundaries import KINDS, SIZES, order_between_walls
    from tests.fields.test_summation_by_parts import NUM_POINTS, orders_by_parts

    lines = []
    for kind in KINDS:
        for points in ("nodes", "centres"):
            orders = [f"{order_between_walls(order, points, kind):.2f}" for order in SIZES]
            lines.append(f"| {kind} | {points} | {' | '.join(orders)} |")
            print(lines[-1], flush=True)
    sizes = "; ".join(f"order {order}: {n} and {m}" for order, (n, m, _) in SIZES.items())
    text = HEADER.format(today=date.today().isoformat()) + "\n".join(lines) + f"\n\nPoints: {sizes}.\n"
    by_parts = [orders_by_parts(order) for order in SIZES]
    rows = [f"| {kind} | {' | '.join(f'{orders[kind]:.2f}' for orders in by_parts)} |" for kind in KINDS]
    text += BY_PARTS.format(low=NUM_POINTS[0], high=NUM_POINTS[1]) + "\n".join(rows) + "\n"
    (REPOSITORY / "docs" / "orders.md").write_text(text)


if __name__ == "__main__":
    main()
