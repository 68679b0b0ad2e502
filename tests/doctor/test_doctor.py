"""The doctor: each check with a fault that it has to find, the whole on a healthy machine, and the exit code."""

import importlib.metadata
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from kdspark.cli import main
from kdspark.config import SparkConfig, parse_config
from kdspark.doctor import cluster, machine, storage, versions
from kdspark.doctor.check import CHECKS, Finding, Patient, examine
from kdspark.doctor.run import UNFIT, table
from kdspark.errors import ConfigError
from tests.config.test_load import minimal
from tests.faults.disks import fill, small_disk
from tests.stages.tiny import tiny_config


def patient(root: Path | None = None, **spark: Any) -> Patient:
    config = parse_config({**minimal(), "spark": spark})
    return Patient(config, root, lambda _: pytest.fail("no session needed"))


def only(findings: Any) -> Finding:
    (found,) = findings
    assert isinstance(found, Finding)
    assert bool(found.remedy) == (found.status != "ok")
    return found


def test_other_pythons_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(versions.python(patient())).status == "ok"
    assert only(versions.libraries(patient())).status == "ok"
    monkeypatch.setattr(versions.platform, "python_version", lambda: "3.13.1")
    assert only(versions.python(patient())).status == "FAIL"
    wrong = {"pyarrow": "16.1.0", "petastorm": None}
    monkeypatch.setattr(versions, "installed", lambda name: wrong.get(name, importlib.metadata.version(name)))
    found = only(versions.libraries(patient()))
    assert found.status == "FAIL"
    assert "pyarrow 16.1.0 (<15,>=14.0.2 wanted)" in found.found
    assert "petastorm is missing" in found.found


@pytest.mark.parametrize(
    ("said", "status"), [("17.0.9", "ok"), ("21", "ok"), ("11.0.2", "FAIL"), ("24", "FAIL"), (None, "FAIL")]
)
def test_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, status: str) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if said is not None:
        program = tmp_path / "bin" / "java"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{said}\" 2024' >&2\n")
        program.chmod(0o755)
    assert only(versions.java(patient())).status == status


@pytest.mark.parametrize(("heap", "status"), [("1g", "ok"), ("6144m", "warning"), ("8g", "FAIL"), ("8192", "FAIL")])
def test_a_heap_as_large_as_the_machine(monkeypatch: pytest.MonkeyPatch, heap: str, status: str) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 8 << 30)
    assert only(machine.driver_memory(patient(settings={"spark.driver.memory": heap}))).status == status


@pytest.mark.parametrize(
    ("spark", "status"),
    [
        ({"master": "local[4,4]"}, "ok"),
        ({"master": "local[5]"}, "warning"),
        ({"master": "local[2]", "settings": {"spark.task.cpus": "8"}}, "FAIL"),
        ({"master": "yarn"}, "ok"),
    ],
)
def test_more_tasks_than_processors(monkeypatch: pytest.MonkeyPatch, spark: dict[str, Any], status: str) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert only(machine.threads(patient(**spark))).status == status
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert [found.status for found in machine.threads(patient(**spark))] == [status, "warning"]


@pytest.mark.parametrize(("soft", "status"), [(65536, "ok"), (1024, "warning"), (256, "FAIL")])
def test_few_open_files(monkeypatch: pytest.MonkeyPatch, soft: int, status: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, 1 << 20))
    assert only(machine.open_files(patient())).status == status


def test_no_shared_memory(tmp_path: Path) -> None:
    assert only(machine.shared_memory(patient(), tmp_path / "none")).status == "warning"
    with small_disk(tmp_path / "shm") as folder:
        assert only(machine.shared_memory(patient(), folder)).status == "warning"


def test_a_root_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [found.status for found in storage.root(patient(tmp_path / "root"))] == ["ok"] * 3
    assert list((tmp_path / "root").iterdir()) == []

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage, "write_bytes", refuse)
    assert storage.writable("--root", tmp_path).status == "FAIL"
    monkeypatch.setattr(storage, "write_bytes", lambda path, data: path.write_bytes(b"old"))
    assert "not seen at once" in storage.writable("--root", tmp_path).found
    monkeypatch.setattr(storage.fcntl, "flock", refuse)
    assert storage.locks(tmp_path).status == "warning"
    (tmp_path / "file").touch()
    failed = only(examine(patient(tmp_path / "file" / "root"), [storage])[:1])
    assert (failed.check, failed.status) == ("--root", "FAIL")


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as folder:
        fill(folder)
        assert storage.room("disk of --root", folder).status == "FAIL"
        found = [one for one in storage.disks(patient(folder)) if one.check == "disk of --root"]
        assert only(found).status == "FAIL"
        assert storage.writable("--root", folder).status == "FAIL"
    settings = {"spark.local.dir": str(tmp_path / "to be made")}
    assert only(storage.local_dir(patient(settings=settings))).status == "ok"


def test_clocks_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert storage.clock("clock", tmp_path).status == "ok"
    now = time.time
    monkeypatch.setattr(storage.time, "time", lambda: now() - 5)
    assert storage.clock("clock", tmp_path).status == "warning"
    monkeypatch.setattr(storage.time, "time", lambda: now() + 40)
    assert storage.clock("clock", tmp_path).status == "FAIL"


@pytest.mark.parametrize(("umask", "status"), [("027", "ok"), ("077", "warning"), ("022", "warning")])
def test_who_may_read(umask: str, status: str) -> None:
    config = parse_config(minimal(), [f"privacy.umask='{umask}'"])
    assert only(storage.file_modes(Patient(config, None, lambda _: pytest.fail("no session")))).status == status
    assert only(storage.file_modes(patient())).status == "ok"


def published_to(url: str, spark: SparkSession) -> Patient:
    return Patient(parse_config({**minimal(), "publish": {"to": url}}), None, lambda _: spark)


def test_where_nights_are_published(spark: SparkSession, tmp_path: Path) -> None:
    """A folder, which may not be there yet; and a file system that nobody knows."""
    folder = tmp_path / "elsewhere"
    found = only(storage.publish_to(published_to(folder.as_uri(), spark)))
    assert (found.status, found.found) == ("ok", f"{folder.as_uri()} is written and renamed")
    assert list(folder.rglob("*")) == []
    assert list(storage.publish_to(patient())) == []
    ill = [one for one in examine(published_to("nowhere://x/y", spark), [storage]) if one.check == "publish.to"]
    assert only(ill).status == "FAIL"
    assert "nowhere" in only(ill).found


def wrong_root(answer: dict[str, Any]) -> None:
    answer["reads"] = "No such file or directory"


def elsewhere(answer: dict[str, Any]) -> None:
    Path(answer["made"]).unlink()


ILL: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("executors' versions", lambda answer: answer["packages"].update(kdspark=None)),
    ("executors' versions", lambda answer: answer["packages"].update(torch="1.0")),
    ("executors' versions", lambda answer: answer.update(python="3.10.1")),
    ("executors' --root", wrong_root),
    ("executors' --root", lambda answer: answer.update(writes="Permission denied")),
    ("executors' --root", elsewhere),
    ("executors' scratch", lambda answer: answer.update(scratch="No space left on device")),
    ("executors' clocks", lambda answer: answer.update(time=answer["time"] + 3600)),
]


@pytest.mark.slow
def test_executors_that_are_not_as_they_should_be(spark: SparkSession, tmp_path: Path) -> None:
    """Their real answers, one of them changed at a time."""
    examined = Patient(None, tmp_path, lambda _: spark)
    healthy = list(cluster.executors(examined))
    assert {one.status for one in healthy} == {"ok"}
    assert list(tmp_path.iterdir()) == []
    token = tmp_path / "token"
    token.touch()
    started = time.time()
    answers = cluster._ask(examined, token)
    took = time.time() - started
    for check, harm in ILL:
        changed = json.loads(json.dumps(answers))
        for answer in changed:
            Path(answer["made"]).touch()
        harm(changed[-1])
        found = {one.check: one for one in cluster.judged(examined, changed, token, started, took)}
        assert [name for name, one in found.items() if one.status != "ok"] == [check]
        assert found[check].remedy


@pytest.mark.slow
def test_the_whole_from_the_terminal(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdspark.spark.session.build_session", lambda *_: spark)
    path = tmp_path / "night.yaml"
    path.write_text(yaml.safe_dump(tiny_config(tmp_path)))
    options = ["doctor", "--config", str(path), "--root", str(tmp_path / "root")]

    def run(*more: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stopped:
            main([*options, *more])
        return int(stopped.value.code or 0), capsys.readouterr().out

    code, said = run("--json")
    found = json.loads(said)
    assert {one["check"] for one in found} >= CHECKS.keys() - {"publish.to", "executors", "inputs", "disks"}
    assert code == (UNFIT if any(one["status"] == "FAIL" for one in found) else 0)
    assert {one["check"]: one["status"] for one in found}["data.interactions"] == "ok"
    (tmp_path / "log.csv").unlink()
    code, said = run()
    assert code == UNFIT
    assert "FAIL     data.interactions" in said
    assert "-> Check the path or glob" in said
    assert list((tmp_path / "root").iterdir()) == []


def test_no_session_is_a_finding_and_not_the_end(tmp_path: Path) -> None:
    def refuse(_: SparkConfig) -> SparkSession:
        raise ConfigError("`spark.master`: 'x' is no master.", "Write another.")

    found = examine(Patient(parse_config(minimal()), tmp_path, refuse), [cluster])
    assert [(one.check, one.status, one.remedy) for one in found] == [
        ("executors", "FAIL", "Write another."),
        *[(name, "FAIL", "Write another.") for name in ("inputs",)],
    ]
    assert list(tmp_path.iterdir()) == []
    assert table(found).splitlines()[-1] == "2 FAIL"
