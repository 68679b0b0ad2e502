"""Names and texts that would be SQL, globs or code: fault 37. Spark's settings are in tests/spark/test_settings.py."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark.cli import main
from kdspark.config import load_config, parse_config
from kdspark.errors import ConfigError
from tests.config.test_load import minimal
from tests.stages.test_prepare import prepare

HOSTILE = [
    "`",
    "``; DROP TABLE x --",
    "a.b",
    "') or 1=1 --",
    '"',
    "a\nb",
    "${env:HOME}",
    "${spark.jars}",
    "user_idx",
    "*",
]
FILES = [
    "a{b,c}.csv",
    "[x]*?.csv",
    "it's; DROP TABLE x--.csv",
    "100%2F..%2f.csv",
    "${x}.csv",
    "back\\slash `q`.csv",
]


def rows_of(columns: dict[str, str]) -> pd.DataFrame:
    """Twelve users with six events each."""
    data = {
        columns["user"]: [f"u{n // 6}" for n in range(72)],
        columns["item"]: [f"i{(n + n // 6) % 9}" for n in range(72)],
        columns["timestamp"]: [float(n) for n in range(72)],
    }
    return pd.DataFrame(data)


@pytest.mark.slow
def test_fault_37_columns_of_hostile_names(spark: SparkSession, tmp_path: Path) -> None:
    """Each is that of a column which is used, in the log or in a side table; the log has the others besides, unused."""
    columns = {"user": HOSTILE[0], "item": HOSTILE[1], "timestamp": HOSTILE[3]}
    log = rows_of(columns).assign(**{name: "x" for name in HOSTILE if name not in columns.values()})
    log.to_parquet(tmp_path / "log.parquet")
    side = {name: [f"{name}{n % 2}" for n in range(9)] for name in HOSTILE[4:]}
    pd.DataFrame({HOSTILE[2]: [f"i{n}" for n in range(9)], **side}).to_parquet(tmp_path / "items.parquet")
    data = {
        "interactions": {"paths": str(tmp_path / "log.parquet")},
        "columns": columns,
        "items": {"paths": str(tmp_path / "items.parquet"), "id": HOSTILE[2], "categorical": HOSTILE[4:]},
    }
    runner = prepare(spark, tmp_path / "root", data)
    assert runner.manifest("prepare").rows["interactions"] == 72
    codes = pd.read_parquet(runner.output("prepare") / "item_codes")
    assert set(codes["column"]) == set(HOSTILE[4:])
    assert set(codes["value"]) - {""} == {f"{name}{n}" for name in HOSTILE[4:] for n in range(2)}


@pytest.mark.slow
def test_fault_37_files_of_hostile_names(spark: SparkSession, tmp_path: Path) -> None:
    """Each is read, once, and what its name would match as a glob is not."""
    columns = {"user": "u", "item": "i", "timestamp": "t"}
    folder = tmp_path / "log {x} [y]"
    folder.mkdir()
    log = rows_of(columns)
    for number, name in enumerate(FILES):
        log.iloc[number * 12 : number * 12 + 12].to_csv(folder / name, index=False)
    (tmp_path / "log x y").mkdir()
    log.assign(u="stranger").to_csv(tmp_path / "log x y" / "ab.csv", index=False)
    escaped = str(folder).replace("{", "\\{").replace("}", "\\}").replace("[", "\\[").replace("]", "\\]")
    data = {"interactions": {"paths": escaped, "format": "csv"}, "columns": columns}
    runner = prepare(spark, tmp_path / "root", data)
    assert runner.manifest("prepare").rows["interactions"] == 72
    assert len(runner.manifest("prepare").facts["files"]["interactions"]) == len(FILES)
    users = set(pd.read_parquet(runner.output("prepare") / "user_ids")["user_id"])
    assert users == {f"u{n}" for n in range(12)}


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir [MARKER]",
        "seed: !!python/object/apply:os.mkdir [MARKER]",
        "name: !!python/name:os.system",
        "data: !include /etc/passwd",
    ],
)
def test_fault_37_yaml_makes_no_objects(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "night.yaml"
    path.write_text(text.replace("MARKER", str(marker)))
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(path)
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_config(minimal(), [f"seed={text.partition(': ')[2] or text}".replace("MARKER", str(marker))])
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--config", str(path), "--date", "2024-01-02", "--root", str(tmp_path / "root")])
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not marker.exists()


def test_fault_37_texts_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is put in for `${…}` or `$…`, and the environment changes no key."""
    monkeypatch.setenv("SEED", "7")
    monkeypatch.setenv("KDSPARK_SEED", "7")
    raw: dict[str, Any] = minimal()
    raw["data"]["interactions"]["paths"] = ["${env:HOME}/log", "$HOME/x", "~/y", "${oc.env:HOME}", "{{ 7 * 7 }}"]
    config = parse_config(raw)
    assert list(config.data.interactions.paths) == raw["data"]["interactions"]["paths"]
    assert config.seed == 42


@pytest.mark.parametrize("name", ["../x", "a b", "a/b", "a'b", "${x}", "", "a\n"])
def test_fault_37_a_nights_name_is_a_word(name: str) -> None:
    with pytest.raises(ConfigError, match="`name`"):
        parse_config({**minimal(), "name": name})
