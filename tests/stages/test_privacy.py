"""What a night leaves out, and users under other names, as far as the tables that a night is made from."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from kdspark import tables
from kdspark.config import parse_config
from kdspark.errors import ConfigError, InputError, StageError
from kdspark.spark.features import without_rare
from kdspark.spark.keyed import pseudonym
from kdspark.spark.rule_tables import read_rule
from kdspark.spark.sources import list_files
from kdspark.spark.withheld import Withheld
from kdspark.stages import privacy
from kdspark.stages.pipeline import run_night
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.workspace import ErasedUsers, Publication, Workspace, parse_date
from tests.faults.test_input import DATE, Log
from tests.faults.test_privacy import files_with
from tests.stages.test_increment import Published

KEY = "a key of this test, and of no other one"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def night_of(spark: SparkSession, root: Path, data: dict[str, Any], **changes: Any) -> Night:
    config = {"data": data, "teacher": {"kind": "ease"}, "student": {"kind": "mf", "dim": 4}, **changes}
    sizes = {"scoring": {"k": 1}, "evaluation": {"ks": [1]}, "gate": {"metric": "ndcg@1"}}
    return Night(parse_config({**config, **sizes}), parse_date(DATE), Workspace(root), lambda: spark)


def ids(runner: Runner, name: str) -> pd.Series:
    table = pd.read_parquet(runner.output("prepare") / f"{name}_ids")
    return table.set_index(f"{name}_idx")[f"{name}_id"]


def a_list(path: Path, values: list[str]) -> dict[str, Any]:
    path.write_text("\n".join(["who", *values, ""]))
    return {"paths": str(path), "format": "csv", "id": "who"}


@pytest.mark.slow
def test_erased_users_and_sensitive_items_are_in_no_table(
    spark: SparkSession, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = log.rows[log.rows["u"].isin(["u3", "u4", "u5"])].assign(t=-1.0)
    log.write(pd.concat([log.rows, bad]))
    users = tmp_path / "users.csv"
    pd.DataFrame({"u": ["u3", "u4", "u5", "only here"], "plan": list("abab")}).to_csv(users, index=False)
    data = log.data(
        users={"paths": str(users), "format": "csv", "id": "u", "categorical": ["plan"]},
        filters={"max_bad_fraction": 0.2},
    )
    left_out = {
        "erased": a_list(tmp_path / "erased.csv", ["u3", "nobody"]),
        "sensitive_items": a_list(tmp_path / "sensitive.csv", ["i4"]),
    }
    root = tmp_path / "root"
    ErasedUsers(root).add(["u5"])
    night = night_of(spark, root, data, privacy=left_out)
    runner = run_night(night, "prepare")
    out, rows = runner.output("prepare"), log.rows
    kept = rows[~rows["u"].isin(["u3", "u5"]) & (rows["i"] != "i4")]
    assert sorted(ids(runner, "user")) == sorted({*kept["u"], "only here"})
    assert sorted(ids(runner, "item")) == sorted(set(kept["i"]))
    assert len(pd.read_parquet(out / "interactions")) == len(kept)
    counts = runner.manifest("prepare").facts["input"]
    assert counts["interactions"]["erased user"] == 24
    assert (
        counts["interactions"]["sensitive item"]
        == ((rows["i"] == "i4") & ~rows["u"].isin(["u3", "u5"])).sum() + (bad["i"].eq("i4") & bad["u"].eq("u4")).sum()
    )
    assert counts["users"]["erased user"] == 2
    for user in ("u3", "u5"):
        assert files_with(root / "stages", f"'{user}'") == files_with(root / "stages", f'"{user}"') == []
    assert files_with(root / "stages", '"u4"')  # bad rows of others are kept as text
    # another night, which erases one more, and goes on from this one's numbers
    monkeypatch.setattr(Publication, "before", lambda *_: Published({"stages": {"prepare": out.name}}))
    ErasedUsers(root).add(["u7"])
    again = run_night(night_of(spark, root, data, privacy=left_out), "prepare")
    expected = ids(runner, "user").where(lambda name: name != "u7", None)
    pd.testing.assert_series_equal(ids(again, "user").sort_index(), expected.sort_index())
    for scope in ("train", "full"):
        users_now = pd.read_parquet(again.output("prepare") / f"users_{scope}")
        assert sorted(users_now["user_id"]) == sorted(expected.dropna())
    assert files_with(again.output("prepare"), "'u7'") == []


@pytest.mark.slow
def test_users_have_pseudonyms_everywhere(
    spark: SparkSession, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    log.rows["u"] = 10**15 + log.rows.index // 6
    bad = log.rows[:3].assign(t=-1.0)
    log.write(pd.concat([log.rows, bad]))
    users = tmp_path / "users.csv"
    numbers = [str(10**15 + number) for number in range(12)]
    pd.DataFrame({"u": numbers, "plan": list("abc") * 4}).to_csv(users, index=False)
    data = log.data(users={"paths": str(users), "format": "csv", "id": "u", "categorical": ["plan"]})
    root = tmp_path / "root"
    pseudonyms = {"key_env": "THE_KEY"}
    night = night_of(spark, root, data, privacy={"pseudonyms": pseudonyms})
    runner = run_night(night, "prepare")
    out = runner.output("prepare")
    names = ids(runner, "user")
    assert sorted(names) == sorted(pseudonym(number, KEY.encode()) for number in numbers)
    events = pd.read_parquet(out / "interactions").merge(names.reset_index()).merge(ids(runner, "item").reset_index())
    expected = {
        (pseudonym(str(user), KEY.encode()), item) for user, item in zip(log.rows["u"], log.rows["i"], strict=True)
    }
    assert set(zip(events["user_id"], events["item_id"], strict=True)) == expected
    assert len(pd.read_parquet(out / "quarantine")) == 3
    assert (pd.read_parquet(out / "users_full")["codes"].str[0] > 0).all()
    assert files_with(root, str(10**15)[:15]) == []
    assert files_with(root, KEY) == []
    assert runner.manifest("prepare").facts["id_types"] == {"user_id": "bigint", "item_id": "string"}
    # rules name users as the log does
    rule = tmp_path / "denied.csv"
    rule.write_text(f"who,what\n{10**15 + 3},i1\n")
    source = parse_config(
        {
            **{"data": data, "teacher": {"kind": "ease"}, "student": {"kind": "mf"}},
            "scoring": {
                "rules": {
                    "lists": [{"kind": "deny", "paths": str(rule), "format": "csv", "item": "what", "user": "who"}],
                }
            },
        }
    ).scoring.rules.tables["lists.0"]  # type: ignore[union-attr]
    withheld = privacy.withheld_of(night, privacy.settings(night))
    types = {
        name: spark.createDataFrame([], f"x {kind}").schema["x"].dataType
        for name, kind in runner.manifest("prepare").facts["id_types"].items()
    }
    found = read_rule(spark, "lists.0", source, list_files(spark, source), types, tmp_path / "rule", withheld).collect()
    assert [tuple(row) for row in found] == [("i1", pseudonym(numbers[3], KEY.encode()))]
    # and the next night has to know them by the same key
    privacy.check_names(night, out)
    for others in ({}, {"pseudonyms": {"key_env": "OTHER"}}):
        monkeypatch.setenv("OTHER", KEY[::-1])
        with pytest.raises(StageError, match="pseudonyms"):
            privacy.check_names(night_of(spark, root, data, privacy=others), out)


def test_rare_items_are_described_as_chosen_once(spark: SparkSession) -> None:
    rows = pd.DataFrame(
        {"user_idx": [0, 0, 0, 1, 1, 2], "item_idx": [0, 0, 1, 1, 2, 1], "split": ["train"] * 5 + ["test"]}
    )
    counts = spark.createDataFrame(
        pd.DataFrame({"item_idx": [0, 1, 2], "n_events": [2, 2, 1], "first_ts": [5, 6, 7], "last_ts": [8, 9, 10]})
    )
    found = without_rare(counts, spark.createDataFrame(rows), ["train"], 2).orderBy("item_idx").collect()
    assert [tuple(row) for row in found] == [(0, 1, None, None), (1, 2, 6, 9), (2, 1, None, None)]


def test_a_list_that_is_not_understood_stops_the_night(spark: SparkSession, tmp_path: Path) -> None:
    config = parse_config(
        {
            "data": {"interactions": {"paths": "/x"}, "columns": {"user": "u", "item": "i", "timestamp": "t"}},
            **{"teacher": {"kind": "ease"}, "student": {"kind": "mf"}},
            "privacy": {"erased": a_list(tmp_path / "erased.csv", ["12", "canary"])},
        }
    ).privacy.erased
    assert config is not None
    withheld = Withheld(spark, erased=(config, list_files(spark, config)), noted_key=b"k")
    rows = spark.createDataFrame([(12, None, "x"), (13, None, "y")], "user_id BIGINT, reason STRING, raw_row STRING")
    types = {tables.USER_ID: rows.schema["user_id"].dataType}
    with pytest.raises(InputError, match="ids that are no bigint") as error:
        withheld.judged(rows, types)
    assert "canary" not in str(error.value)
    (tmp_path / "erased.csv").write_text("who\n12\n")
    assert sorted(map(tuple, withheld.judged(rows, types).collect()), key=str) == [
        (13, None, "y"),
        (None, "erased user", None),
    ]


@pytest.mark.parametrize("given", [{"key_env": "NOT_THERE"}, {"key_file": "/not/there"}, {"key_env": "SHORT"}])
def test_a_night_without_its_key_does_not_begin(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "canary")
    raw = {"data": {"interactions": {"paths": "/x"}, "columns": {"user": "u", "item": "i", "timestamp": "t"}}}
    config = parse_config(
        {**raw, "teacher": {"kind": "ease"}, "student": {"kind": "mf"}, "privacy": {"pseudonyms": given}}
    )
    pseudonyms = config.privacy.pseudonyms
    assert pseudonyms is not None
    with pytest.raises(ConfigError, match=r"`privacy.pseudonyms`") as error:
        pseudonyms.key()
    assert "canary" not in str(error.value)
