"""The benchmark of the scoring job on a small shape: what it checks, not how long it takes."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pyspark.sql import SparkSession

from kdspark.errors import StageError


@pytest.mark.slow
def test_the_job_gives_the_kernels_lists(
    spark: SparkSession, distill: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import score  # found beside `distill`

    monkeypatch.setattr(score, "build_session", lambda *_: spark)
    shape = score.Shape(users=120, items=200, dims=5, als=False)
    result = score.run(tmp_path, (shape,), repeats=1, k=7)
    assert [row["method"] for row in result["rows"]] == ["score", "kernel"]
    assert set(result["ratios"]) == {"score_wall_vs_kernel"}
    assert "score_wall_vs_kernel" in score.text_table(result)

    kernel = score.Drawn.kernel
    monkeypatch.setattr(score.Drawn, "kernel", lambda self: tuple(np.roll(part, 1) for part in kernel(self)))
    with pytest.raises(StageError, match="not those of the kernel"):
        score.run(tmp_path, (shape,), repeats=1, k=7)


def test_processor_time_of_all_that_was_started(distill: ModuleType) -> None:
    import subprocess
    import sys

    import processes  # found beside `distill`

    before = processes.cpu_seconds()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    assert 0.4 < processes.cpu_seconds() - before < 30
