"""Erasing users from what nights left: published runs, vocabularies, students; whatever interrupts it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from kdspark.config import MFConfig
from kdspark.errors import ConfigError, InputError, LeaseError
from kdspark.failpoints import VARIABLE, FailpointError
from kdspark.models.batch import FeatureSizes, ItemTable
from kdspark.models.build import build_model
from kdspark.models.storage import load_model, save_model
from kdspark.spark.hadoop_store import HadoopStore
from kdspark.spark.io import read_table
from kdspark.stages.erase import erase
from kdspark.stages.published import note_place
from kdspark.stages.results import list_runs, verify
from kdspark.workspace import (
    ErasedUsers,
    LocalStore,
    Manifest,
    Publication,
    Store,
    Workspace,
    digest_of,
    held,
    parse_date,
)
from kdspark.workspace.manifest import read_manifest

USERS = [f"user-{number}" for number in range(6)]
ITEMS = ItemTable.without_features(np.ones(4, np.int64))
DATES = ["2024-01-02", "2024-01-03"]
STUDENTS = "train_student", "train_plain"


class Root:
    """Two published nights that go on from one another, and a stage of which nothing was published.

    Args:
        store: where they are published, which is the folder `readers`; None: at ROOT.
    """

    def __init__(self, folder: Path, store: Store | None = None, readers: Path | None = None, **settings: Any) -> None:
        self.folder, self.settings = folder / "root", settings
        self.readers = readers or self.folder
        self.workspace = Workspace(self.folder)
        self.publication = Publication(store or LocalStore(self.folder))
        for number, date in enumerate(DATES):
            self.night(number, date, USERS[: 5 + number])
        self.stage("prepare", 9, {}, {"user_ids": ids_of(["somebody else"])})

    def stage(self, name: str, number: int, inputs: dict[str, str], tables: dict[str, pa.Table]) -> str:
        key = digest_of([name, number])
        with self.workspace.staging(name, key) as out:
            for table, rows in tables.items():
                (out / table).mkdir()
                for part in range(2):
                    half = rows.slice(part * (rows.num_rows // 2), (rows.num_rows + part) // 2)
                    pq.write_table(half, out / table / f"part-{part}.parquet")
            if name in STUDENTS:
                model = build_model(MFConfig(dim=3), 5 + number, 4, ITEMS, FeatureSizes(), 1)
                model.get_parameter("user_encoder.table.weight").data.fill_(1.0)
                save_model(model, out / "model")
            self.workspace.finish(out, Manifest(name, key, inputs, {"settings": self.settings}))
        return key

    def night(self, number: int, date: str, users: list[str]) -> None:
        index = pa.array(range(len(users)), pa.int32())
        items = pa.table({"item_idx": index, "item_id": [f"i{n}" for n in range(len(users))]})
        events = pa.table({"user_idx": index, "item_idx": index})
        vocabularies = {"user_ids": ids_of(users), "item_ids": items, "user_codes": items, "item_codes": items}
        needs = {"prepare": self.stage("prepare", number, {}, {**vocabularies, "interactions": events})}
        for name in STUDENTS:
            needs[name] = self.stage(name, number, {"prepare": needs["prepare"]}, {})
        lists = pa.table({"user_id": np.repeat(users, 2), "rank": [1, 2] * len(users)})
        needs["score"] = self.stage("score", number, needs, {"recommendations": lists})
        self.stage("evaluate", number, needs, {"per_user": events})
        (self.folder / "checkpoints" / "train_student" / "x").mkdir(parents=True, exist_ok=True)
        facts = {
            "rows": lists.num_rows,
            "users": len(users),
            "stages": {name: key[:20] for name, key in needs.items() if name in ("prepare", "score")},
        }
        table = self.workspace.stage_folder("score", needs["score"]) / "recommendations"
        self.publication.publish(parse_date(date), f"r{number}", table, facts)

    def lists(self, run: str) -> list[str]:
        folder = next(self.readers.glob(f"published/*/{run}/recommendations"))
        return sorted(set(pd.read_parquet(folder)["user_id"]))

    @property
    def latest(self) -> str:
        return str(json.loads((self.readers / "latest.json").read_text())["run_id"])

    def files_with(self, text: str) -> list[Path]:
        """Files whose bytes, or whose values if they are Parquet, hold it."""
        found = []
        folders = {self.folder, self.readers}
        for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
            values = str(pq.read_table(path).to_pydict()) if path.suffix == ".parquet" else ""
            if text.encode() in path.read_bytes() or text in values:
                found.append(path)
        return found


def ids_of(users: list[str]) -> pa.Table:
    return pa.table({"user_idx": pa.array(range(len(users)), pa.int32()), "user_id": users})


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def test_what_is_kept_can_be_read_by_spark(spark: SparkSession, root: Root, tmp_path: Path) -> None:
    """Which wrote a checksum beside each file."""
    jvm: Any = spark._jvm
    disk = jvm.org.apache.hadoop.fs.FileSystem.getLocal(spark._jsc.hadoopConfiguration())
    parts = list(root.folder.glob("stages/prepare/*/user_ids/*.parquet"))
    for part in parts:
        copy = tmp_path / part.name
        disk.copyFromLocalFile(*(jvm.org.apache.hadoop.fs.Path(str(path)) for path in (part, copy)))
        (tmp_path / f".{part.name}.crc").rename(part.with_name(f".{part.name}.crc"))
    erase(str(root.folder), ["user-1"])
    for folder in {part.parent for part in parts if part.exists()}:
        assert read_table(spark, folder).count() == pq.read_table(folder).num_rows


def test_what_is_published_and_kept_forgets_the_user(root: Root) -> None:
    assert len(root.files_with("user-1")) > 5
    receipt = json.loads(erase(str(root.folder), ["user-1", "user-5"]).read_text())
    check_erased(root, ["user-1", "user-5"])
    assert root.lists("r0-e1") == ["user-0", "user-2", "user-3", "user-4"]
    runs = {
        run["run"]: (run["rows"], run["users"], run["latest"]) for run in json.loads(list_runs(str(root.folder), True))
    }
    assert runs == {"r0-e1": (8, 4, False), "r1-e1": (8, 4, True)}
    assert receipt["finished"]
    assert receipt["users"] == 2
    assert [run["rows"] for run in receipt["runs"]] == [2, 4]
    changed = [pair for run in receipt["runs"] for pair in run["files"].values() if pair["before"] != pair["after"]]
    assert len(changed) == 3  # user-5 is in a second file, of the second night alone
    vocabulary = pd.concat(map(pd.read_parquet, sorted(root.folder.glob("stages/prepare/*/user_ids"))))
    assert sorted(vocabulary["user_id"].dropna()) == ["somebody else", *sorted([*USERS[:1], *USERS[2:5]] * 2)]
    assert len(vocabulary) == 12  # numbers stay


def check_erased(root: Root, users: list[str]) -> None:
    for user in users:
        assert root.files_with(user) == []
    assert verify(str(root.folder), every=True).startswith("Published runs: 2,")
    assert root.latest == "r1-e1"
    kept = {path.parts[-3] for path in root.folder.glob("stages/*/*/*") if path.is_dir()}
    assert kept == {"prepare", *STUDENTS}
    for stage in root.folder.glob("stages/*/*"):
        found = read_manifest(stage)
        assert found is not None
        assert root.workspace.damage(found) == []
        tables = {name.partition("/")[0] for name in found.files}
        assert tables <= {"user_ids", "item_ids", "user_codes", "item_codes", "model"}
    for folder in root.folder.glob("stages/train_*/*/model"):
        rows = load_model(folder, ITEMS).get_parameter("user_encoder.table.weight").detach().numpy()
        assert rows.any(axis=1).tolist() == [f"user-{n}" not in users for n in range(len(rows))]
    assert not list(root.folder.rglob("staging-*"))
    assert not (root.folder / "checkpoints").exists()
    assert len(ErasedUsers(root.folder).digests()) == len(users)


def test_what_was_made_without_the_user_stays_as_it_was(root: Root) -> None:
    stages = [(name, n) for name in ("prepare", *STUDENTS, "score", "evaluate") for n in (0, 9)]
    first = {"r0", *(digest_of([*stage])[:20] for stage in stages)}
    before = {path: path.read_bytes() for path in root.folder.rglob("*") if path.is_file() and first & {*path.parts}}
    erase(str(root.folder), ["user-5"])
    assert len(before) > 20
    assert all(path.read_bytes() == data for path, data in before.items())
    assert root.lists("r0") == USERS[:5]
    assert root.lists("r1-e1") == USERS[:5]
    erase(str(root.folder), ["nobody"])
    assert sorted(run["run"] for run in json.loads(list_runs(str(root.folder), True))) == ["r0", "r1-e1"]


@pytest.mark.parametrize("place", ["noted", "replaced", "published", "train_student", "prepare", "purged", "deleted"])
def test_an_interrupted_erasure_is_finished_by_the_next(
    root: Root, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"erase.{place}=raise")
    with pytest.raises(FailpointError):
        erase(str(root.folder), ["user-1", "user-5"])
    assert verify(str(root.folder), every=True)
    monkeypatch.delenv(VARIABLE)
    erase(str(root.folder), ["user-1", "user-5"])
    check_erased(root, ["user-1", "user-5"])
    states = [json.loads(path.read_text())["finished"] is None for path in sorted(root.folder.glob("receipts/*"))]
    assert states == [True, False]


def test_runs_that_are_published_elsewhere(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that Hadoop knows, from which they come to this machine, and go back."""
    for module in ("results", "erase"):
        monkeypatch.setattr(f"kdspark.stages.{module}.session", lambda: spark)
    readers = tmp_path / "elsewhere"
    root = Root(tmp_path, HadoopStore(spark, readers.as_uri()), readers)
    note_place(root.workspace, readers.as_uri())
    erase(str(root.folder), ["user-1", "user-5"])
    check_erased(root, ["user-1", "user-5"])
    assert root.lists("r0-e1") == root.lists("r1-e1") == ["user-0", "user-2", "user-3", "user-4"]
    assert not (root.folder / "published").exists()
    assert read_table(spark, readers / "published" / DATES[1] / "r1-e1" / "recommendations").count() == 8


def test_readers_always_have_a_whole_run(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(place: str, attempt: int = 0) -> None:
        run = root.publication.latest()
        seen.append((place, run.run_id, root.publication.damage(run), len(root.lists(run.run_id))))

    monkeypatch.setattr("kdspark.stages.erase.reached", look)
    monkeypatch.setattr("kdspark.workspace.published.reached", look)
    erase(str(root.folder), ["user-1"])
    assert {(run, users) for _, run, _, users in seen} == {("r1", 6), ("r1-e1", 5)}
    assert not any(damage for _, _, damage, _ in seen)


@pytest.fixture
def running(root: Root) -> Iterator[None]:
    with held(root.workspace.lease(parse_date(DATES[0])), "A night"):
        yield


@pytest.mark.usefixtures("running")
def test_no_night_runs_meanwhile(root: Root) -> None:
    with pytest.raises(LeaseError, match=r"The night of 2024-01-02 is being run by process"):
        erase(str(root.folder), ["user-1"])
    assert root.lists("r1") == USERS
    assert not ErasedUsers(root.folder)


def test_ids_come_from_a_file_and_are_named_in_no_error(root: Root, tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_text("user-1\n\nuser-2\n", encoding="utf-8")
    erase(str(root.folder), [], str(path))
    assert root.lists("r1-e1") == ["user-0", "user-3", "user-4", "user-5"]
    with pytest.raises(InputError, match="Nobody is named"):
        erase(str(root.folder), [])


def test_ids_are_of_the_tables_type(tmp_path: Path) -> None:
    root = Root.__new__(Root)
    root.folder, root.settings = tmp_path / "root", {}
    root.readers = root.folder
    root.workspace, root.publication = Workspace(root.folder), Publication(LocalStore(root.folder))
    root.night(0, DATES[0], [7, 77, 777])  # type: ignore[list-item]
    with pytest.raises(InputError) as error:
        erase(str(root.folder), ["seven-canary"])
    assert "canary" not in str(error.value)
    erase(str(root.folder), ["077"])
    assert root.lists("r0-e1") == [7, 777]  # type: ignore[comparison-overlap]
    registry = ErasedUsers(root.folder)
    assert registry.digests() == {registry.digest("77")}


def test_users_with_pseudonyms_are_erased_with_the_key_alone(tmp_path: Path) -> None:
    root = Root(tmp_path, privacy={"pseudonyms": "print"})
    with pytest.raises(ConfigError, match="their key is not given"):
        erase(str(root.folder), ["user-1"])
