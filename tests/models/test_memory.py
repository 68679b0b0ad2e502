"""Memory is asked for before dense work starts."""

import pytest

from kdspark.errors import TrainingError
from kdspark.models import memory


def test_the_lower_of_machine_and_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", ())
    machine = memory.memory_bytes()
    assert machine > 2**28
    limits = [tmp_path / "memory.max", tmp_path / "gone", tmp_path / "unlimited"]
    limits[0].write_text("123456789\n")
    limits[2].write_text("max\n")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", tuple(map(str, limits)))
    assert memory.memory_bytes() == 123456789
    limits[0].write_text(str(machine * 2))
    assert memory.memory_bytes() == machine


def test_what_cannot_fit_says_how_much_and_what_to_change(monkeypatch):
    monkeypatch.setattr(memory, "memory_bytes", lambda device: 2**30)
    memory.require_memory(2**30, "a matrix", "Make it smaller.")
    with pytest.raises(TrainingError, match=r"a matrix needs at least 3\.0 GiB, .* has 1\.0 GiB\. Make"):
        memory.require_memory(3 * 2**30, "a matrix", "Make it smaller.")
