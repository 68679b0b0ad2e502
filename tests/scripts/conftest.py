"""The benchmarks, which are scripts and no package."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "scripts" / "benchmarks"


@pytest.fixture(scope="module")
def distill() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        import distill

        yield distill
    finally:
        sys.path.remove(str(FOLDER))
