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

"""
STRETCHED = """
## On stretched points

The same on points that are half as far apart at the walls as in the middle, `Stretched({stretching})`.
Order 8 is asserted from 7.8 to 9.5. This script asserts all of these figures, the tests one order of each line.

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


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    sys.path.insert(0, str(REPOSITORY))
    import pdejax as pj
    from pdejax.stretching import TowardsWall
    from tests.fields import test_boundaries as tests
    from tests.fields.test_stretched import layer_error

    text = HEADER.format(today=date.today().isoformat())
    for stretched, sizes in ((False, tests.SIZES), (True, tests.STRETCHED_SIZES)):
        text += (STRETCHED.format(stretching=tests.STRETCHING) if stretched else "") + COLUMNS
        for kind in tests.KINDS:
            for points in tests.PLACEMENTS:
                orders = {order: tests.order_between_walls(order, points, kind, stretched) for order in sizes}
                for order, observed in orders.items():
                    tests.assert_order(order, observed, stretched)
                text += f"| {kind} | {points} | {' | '.join(f'{observed:.2f}' for observed in orders.values())} |\n"
                print(text.splitlines()[-1], flush=True)
        text += f"\nPoints: {'; '.join(f'order {order}: {n} and {m}' for order, (n, m, _) in sizes.items())}.\n"
    towards = TowardsWall(2.5, "upper")
    text += LAYER.format(map=towards)
    for n in (20, 40, 80, 160, 320, 640):
        text += f"| {n} | {layer_error('nodes', n):.1e} | {layer_error(pj.Stretched(towards), n):.1e} |\n"
    (REPOSITORY / "docs" / "orders.md").write_text(text)


if __name__ == "__main__":
    main()
