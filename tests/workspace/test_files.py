"""Files are whole or not there, JSON is JSON, and digests are of content."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from kdspark.workspace import read_json, write_bytes, write_json
from kdspark.workspace.files import digest_of, link_or_copy, sha256_file


def test_json_comes_back(tmp_path):
    value = {"b": [1, 2.5, None, True], "a": "ünï\u2028"}
    write_json(tmp_path / "new" / "x.json", value)
    assert read_json(tmp_path / "new" / "x.json") == value
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.json"]


@pytest.mark.parametrize("value", [float("nan"), {"x": float("inf")}, {"x": object()}])
def test_what_is_not_json_leaves_the_old_file(tmp_path, value):
    write_json(tmp_path / "x.json", "old")
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == "old"


def test_a_crash_before_the_rename_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    write_bytes(tmp_path / "x", b"old")

    def crash(self, target):
        raise OSError("disk gone")

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="disk gone"):
        write_bytes(tmp_path / "x", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]


def test_digests(tmp_path):
    data = bytes(range(256)) * 9000  # several blocks
    write_bytes(tmp_path / "x", data)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_a_second_name_costs_no_copy_and_outlives_the_first(tmp_path):
    (tmp_path / "x").write_bytes(b"rows")
    link_or_copy(tmp_path / "x", tmp_path / "y")
    assert (tmp_path / "x").samefile(tmp_path / "y")
    (tmp_path / "x").unlink()
    assert (tmp_path / "y").read_bytes() == b"rows"


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_copy_where_links_do_not_reach(tmp_path, monkeypatch, reason):
    def refuse(source, target):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "x").write_bytes(b"rows")
    link_or_copy(tmp_path / "x", tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == b"rows"
    assert not (tmp_path / "x").samefile(tmp_path / "y")


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        link_or_copy(tmp_path / "x", tmp_path / "y")
    assert (tmp_path / "y").read_text() == "y"
