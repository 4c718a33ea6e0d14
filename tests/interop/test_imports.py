"""Packages of the extra `interop` are imported by those alone who name its modules."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.either


def run(code):
    return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)


def test_the_core_imports_neither_flax_nor_jaxopt():
    names = "[name for name in ('flax', 'jaxopt') if name in sys.modules]"
    result = run(f"import sys, pdejax, pdejax.interop.with_jaxopt; assert not {names}, {names}")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", ["linen", "nnx"])
def test_without_flax_the_error_says_what_to_install(module):
    result = run(f"import sys; sys.modules['flax'] = None; import pdejax.interop.{module}")
    assert result.returncode != 0
    assert result.stderr.strip().splitlines()[-1].endswith("needs flax: pip install 'pdejax[interop]'.")
