"""Erasure, pseudonyms, permissions, and fault 38: secrets; whole nights."""

import os
import stat
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from kdspark.cli import main
from kdspark.spark.keyed import pseudonym
from tests.faults.nights import DATE, NEXT, FaultyNight
from tests.faults.test_crash import in_session
from tests.stages.tiny import tiny_config

USER = "user-canary-{}"
KEY, HADOOP, AZURE = "canary-0123456789-of-a-key-0123456789", "canary-of-hadoop-0123", "canary-of-azure-0123"


def names_for_numbers(folder: Path, **changes: Any) -> FaultyNight:
    """A night whose users have telling ids, and whose log has bad rows of theirs."""
    night = FaultyNight(folder, **changes)
    log = pd.read_csv(folder / "log.csv", dtype=str)
    log["u"] = [USER.format(user) for user in log["u"]]
    bad = log[:3].assign(t="no time")
    pd.concat([log, bad]).to_csv(folder / "log.csv", index=False)
    return night


def files_with(folder: Path, text: str) -> list[str]:
    """Files whose bytes, or whose values if they are Parquet, hold a text."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        values = str(pq.read_table(path).to_pydict()) if path.suffix == ".parquet" else ""
        if text.encode() in path.read_bytes() or text in values:
            found.append(str(path.relative_to(folder)))
    return found


def open_to_others(folder: Path) -> list[str]:
    return [str(path) for path in [folder, *folder.rglob("*")] if stat.S_IMODE(path.lstat().st_mode) & 0o027]


@pytest.mark.faults
def test_fault_38_secrets_and_ids_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf, events = tmp_path / "conf", tmp_path / "events"
    conf.mkdir()
    events.mkdir()
    settings = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": events.as_uri(),
        "spark.hadoop.fs.s3a.secret.key": HADOOP,
        "spark.hadoop.fs.azure.account.key.somewhere": AZURE,
    }
    (conf / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    monkeypatch.setenv("SPARK_CONF_DIR", str(conf))
    monkeypatch.setenv("THE_KEY", KEY)
    night = names_for_numbers(tmp_path / "night", privacy={"pseudonyms": {"key_env": "THE_KEY"}})
    process, lines = night.start(), set()
    while process.poll() is None:
        lines |= {*in_session(process.pid)}
        time.sleep(0.2)
    log = night.log.read_text()
    assert process.returncode == 0, log
    assert len(lines) > 2
    assert any("SparkSubmit" in line for line in lines)
    for secret in (KEY, HADOOP, AZURE, "user-canary"):
        assert secret not in log
        assert not [line for line in lines if secret in line]
        assert files_with(events, secret) == []
        assert files_with(night.root, secret) == []
    assert sum(path.stat().st_size for path in events.rglob("*")) > 100_000
    expected = {pseudonym(USER.format(number), KEY.encode()) for number in range(40)}
    assert {row[0] for row in night.rows} == expected
    assert open_to_others(night.root) == []
    gone = night.ask("erase", "--user", USER.format(3), "--grace", "0", "--config", str(night.config))
    assert gone.code == 0, gone.log
    assert {row[0] for row in night.rows} == expected - {pseudonym(USER.format(3), KEY.encode())}
    assert open_to_others(night.root) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"interactions": {"paths": f"s3a://me:{KEY}@bucket/x"}}}, "holds credentials"),
        ({"data": {"interactions": {"paths": f"wasbs://c@a.net/x?sv=1&sig={KEY}"}}}, "holds credentials"),
        ({"publish": {"to": f"hdfs://me:{KEY}@name-node/x"}}, "holds credentials"),
        ({"privacy": {"pseudonyms": {"key": KEY}}}, "`privacy.pseudonyms.key`: unknown key"),
        ({"spark": {"settings": {"spark.hadoop.fs.s3a.secret.key": KEY}}}, "is not allowed"),
    ],
    ids=["password", "signature", "publish.to", "key", "setting"],
)
def test_fault_38_secrets_in_configurations_are_refused_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], words: str
) -> None:
    raw = tiny_config(tmp_path)
    given = {name: {**raw.get(name, {}), **section} for name, section in changes.items()}
    (tmp_path / "night.yaml").write_text(yaml.safe_dump({**raw, **given}))
    with pytest.raises(SystemExit) as ended:
        main(["run", "--config", str(tmp_path / "night.yaml"), "--date", DATE, "--root", str(tmp_path / "root")])
    assert ended.value.code == 2
    said = "".join(capsys.readouterr())
    assert words in said
    assert "canary" not in said
    assert not (tmp_path / "root").exists() or files_with(tmp_path / "root", KEY) == []


@pytest.mark.faults
def test_an_erased_user_is_nowhere_and_does_not_come_back(tmp_path: Path) -> None:
    training = {"epochs": 2, "learning_rate": 0.05}
    student = {"kind": "mf", "dim": 3, "training": training}
    night = names_for_numbers(tmp_path, student=student, warm_start={"share": 0.5})
    assert night.run().code == 0
    gone, stays = USER.format(3), USER.format(33)
    assert files_with(night.root, f"{gone}'")
    rows = night.rows
    erased = night.ask("erase", "--user", gone, "--grace", "0")
    assert erased.code == 0, erased.log
    assert "canary" not in erased.log
    assert files_with(night.root, f"{gone}'") == files_with(night.root, f'{gone}"') == []
    assert night.rows == [row for row in rows if row[0] != gone]
    again = night.run(date=NEXT)
    assert again.code == 0, again.log
    assert "warm start from" in again.log
    assert "canary" not in again.log
    assert files_with(night.root, f"{gone}'") == files_with(night.root, f'{gone}"') == []
    found = {row[0] for row in night.rows}
    assert stays in found
    assert gone not in found
    assert len(found) == 39
    assert night.ask("verify", "--all").code == 0


@pytest.mark.faults
def test_a_list_of_erased_users_is_honoured_by_the_next_night(tmp_path: Path) -> None:
    night = names_for_numbers(tmp_path)
    assert night.run().code == 0
    gone = USER.format(7)
    (tmp_path / "erased.csv").write_text(f"who\n{gone}\nnobody\n")
    config = yaml.safe_load(night.config.read_text())
    listed = {"paths": str(tmp_path / "erased.csv"), "format": "csv", "id": "who"}
    night.config.write_text(yaml.safe_dump({**config, "privacy": {"erased": listed}}))
    ended = night.run(date=NEXT)
    assert ended.code == 0, ended.log
    assert "other users are erased" in ended.log
    assert gone not in {row[0] for row in night.rows}
    assert len({row[0] for row in night.rows}) == 39
    newest = max((night.root / "stages" / "prepare").iterdir(), key=os.path.getmtime)
    assert files_with(newest, f"{gone}'") == []
