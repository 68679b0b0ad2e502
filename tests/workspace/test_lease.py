"""One run per date; what a dead run held is free."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdspark.errors import LeaseError
from kdspark.workspace import Lease, held, read_json, write_json

_HOLD = """
import sys, pathlib
from kdspark.workspace import held
with held(pathlib.Path(sys.argv[1]), "The night"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "2024-01-01.json"
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LeaseError, match=rf"The night is being run by process {other.pid}") as refused:
            Lease(path, "The night")
        assert refused.value.exit_code == 8
        other.kill()
    with held(path, "The night") as lease:
        lease.check()
    assert not path.exists()


def test_of_another_machine_it_runs_out(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    foreign = {"host": "elsewhere", "pid": 1, "token": "t"}
    write_json(path, {**foreign, "until": time.time() + 60})
    with pytest.raises(LeaseError, match="process 1 on elsewhere"):
        Lease(path, "The night")
    write_json(path, {**foreign, "until": time.time() - 1})
    with held(path, "The night"):
        assert read_json(path)["host"] != "elsewhere"


def test_it_is_renewed_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    with held(path, "The night", lasts_s=0.3):
        first = read_json(path)["until"]
        deadline = time.monotonic() + 10
        while read_json(path)["until"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_who_has_lost_it_is_told_and_leaves_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    lease = Lease(path, "The night")
    other = {"host": "elsewhere", "pid": 1, "token": "t", "until": time.time() + 60}
    write_json(path, other)
    with pytest.raises(LeaseError, match="another run has taken over"):
        lease.check()
    lease.give_up()
    assert read_json(path) == other


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"host": 1}'])
def test_a_damaged_one_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lease.json"
    path.write_text(text)
    with held(path, "The night") as lease:
        lease.check()
