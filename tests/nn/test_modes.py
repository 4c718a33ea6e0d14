import pytest

from pdejax.nn import Modes


def test_the_two_conventions_keep_exactly_these_frequencies():
    classic = Modes.classic((3, 5), ndim=2)
    assert list(classic.frequencies(0)) == [-3, -2, -1, 0, 1, 2]
    assert list(classic.frequencies(1)) == [0, 1, 2, 3, 4]

    total = Modes.neuraloperator((16, 16))
    assert list(total.frequencies(0)) == list(range(-8, 8))
    assert list(total.frequencies(1)) == list(range(9))
    assert total.shape == (16, 9)


def test_neuraloperator_is_the_classic_half_with_one_column_more():
    total, classic = Modes.neuraloperator((16, 10, 16)), Modes.classic((8, 5, 9), ndim=3)
    assert total == classic


@pytest.mark.parametrize(
    ("points", "lowest", "highest"),
    [(32, -16, 15), (33, -16, 16)],
)
def test_everything_that_a_grid_resolves_may_be_kept_and_nothing_more(points, lowest, highest):
    Modes((lowest, 0), (highest, points // 2)).check_resolved((points, points), "FNO")
    with pytest.raises(ValueError, match="axis 0"):
        Modes((lowest - 1, 0), (highest, 0)).check_resolved((points, points), "FNO")
    with pytest.raises(ValueError, match="axis 0"):
        Modes((lowest, 0), (highest + 1, 0)).check_resolved((points, points), "FNO")
    with pytest.raises(ValueError, match="axis 1"):
        Modes((lowest, 0), (highest, points // 2 + 1)).check_resolved((points, points), "FNO")


def test_the_error_names_the_modes_the_axis_and_the_remedy():
    message = (
        "FNO keeps 20 modes along axis 1, whose 32 points resolve 17. On 64x32 points use modes <= 17, or one number "
        "per axis, up to (32, 17); or take a finer grid."
    )
    with pytest.raises(ValueError) as error:
        Modes.classic((4, 20), ndim=2).check_resolved((64, 32), "FNO")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Modes.classic((3, 4), ndim=3), "3 axes but `modes` has 2"),
        (lambda: Modes.classic(0, ndim=2), "positive whole numbers"),
        (lambda: Modes.neuraloperator((15, 16)), "14 or 16"),
        (lambda: Modes((-2, -1), (2, 1)), "start at 0 on the last axis"),
        (lambda: Modes((1, 0), (2, 1)), "include frequency 0"),
    ],
)
def test_bad_modes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
