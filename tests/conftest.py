"""What every test runs under: checked shapes, a chosen precision, no window, and no skip that nobody expects."""

import gc
import os
import sys
from pathlib import Path

# JAX reads this one when it is first imported. Double precision is the default here, because every test that computes
# runs in it.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import jaxtyping
import pytest

# Every annotation of the package is checked at run time. Modules imported before the hook would escape it.
assert "pdejax" not in sys.modules, "pdejax was imported before the hook that checks its shapes"
jaxtyping.install_import_hook("pdejax", "beartype.beartype")

import jax

# Tracing makes millions of objects that stay: looking through them for cycles took a twelfth of the time.
gc.set_threshold(100_000, 20, 20)

REPOSITORY = Path(__file__).resolve().parents[1]
EXPECTED_SKIPS = ("reference data", "optional peer")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of data that this project did not make; every figure read from it has a second form without it."""
    folder = Path(os.environ.get("PDEJAX_REFERENCE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"reference data: no folder {folder}; name one in PDEJAX_REFERENCE_DATA")
    return folder


@pytest.fixture
def without_shape_checks():
    """For a test of an error message: the arguments reach the package's own checks, as they do for its users."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def pytest_report_header(config):
    return f"precision: {'double' if jax.config.jax_enable_x64 else 'single'}"


# What is trained, stored and scored is so in single precision; all of it that needs double precision is marked.
SINGLE_BY_HABIT = ("data", "evaluate", "initial", "interop", "models", "nn", "training")


def pytest_addoption(parser):
    parser.addoption(
        "--each-once",
        action="store_true",
        help=f"for `make test`: {', '.join(SINGLE_BY_HABIT)} in single precision, but for what is marked float64; in "
        "double precision alone what is marked either, because it sets the precision itself or compares none",
    )


def pytest_collection_modifyitems(config, items):
    # Deselected and not skipped: in single precision these tests have nothing to say.
    single, once = not jax.config.jax_enable_x64, config.getoption("--each-once")

    def says_nothing(item):
        if item.get_closest_marker("float64"):
            return single
        habit = item.path.relative_to(REPOSITORY / "tests").parts[0] in SINGLE_BY_HABIT
        return once and (not single if habit else single and item.get_closest_marker("either") is not None)

    deselected = [item for item in items if says_nothing(item)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in set(deselected)]
    # The processes of `make test` start with equal parts of the list: in front of it a module is in one of these.
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


_unexpected_skips: list[str] = []


def _check_skip(report):
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    *where, reason = report.longrepr if isinstance(report.longrepr, tuple) else (str(report.longrepr),)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(EXPECTED_SKIPS):
        _unexpected_skips.append(f"{':'.join(str(part) for part in where)}: {reason}")


def pytest_runtest_logreport(report):
    _check_skip(report)


def pytest_collectreport(report):
    _check_skip(report)


def pytest_sessionfinish(session, exitstatus):
    # A worker of pytest-xdist hands its reports on; only the process that the user started decides.
    if _unexpected_skips and not hasattr(session.config, "workerinput") and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    if _unexpected_skips:
        terminalreporter.section("unexpected skips fail the run", red=True)
        for line in sorted(set(_unexpected_skips)):
            terminalreporter.line(line)
        terminalreporter.line(f"A skip is expected when its reason starts with one of {EXPECTED_SKIPS}.")
