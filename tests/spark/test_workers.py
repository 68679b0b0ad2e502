"""Zip archives on a worker's path: read again when they have changed, and only then."""

import importlib
import sys
import zipfile
import zipimport

import pytest

from kdspark.spark.workers import keep_zip_directories


def write(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"{name}.py", "")


@pytest.fixture
def reads(monkeypatch):
    """Archives whose directories were read, in order."""
    found = []
    original = zipimport.zipimporter.invalidate_caches

    def counted(importer):
        found.append(importer.archive)
        original(importer)

    monkeypatch.setattr(zipimport.zipimporter, "invalidate_caches", counted)
    keep_zip_directories.__wrapped__()
    return found


def test_an_archive_is_read_again_only_when_it_has_changed(reads, tmp_path):
    path = tmp_path / "modules.zip"
    write(path, ["one_of_a_zip"])
    importer = zipimport.zipimporter(str(path))
    for _ in range(3):
        importer.invalidate_caches()
    assert reads == [str(path)]
    write(path, ["one_of_a_zip", "two_of_a_zip"])
    importer.invalidate_caches()
    assert reads == [str(path)] * 2
    assert importer.find_spec("two_of_a_zip") is not None
    path.unlink()
    importer.invalidate_caches()
    assert importer.find_spec("one_of_a_zip") is None


def test_new_modules_are_found_as_before(reads, tmp_path, monkeypatch):
    path = tmp_path / "later.zip"
    monkeypatch.syspath_prepend(str(path))
    write(path, ["came_later_in_a_zip"])
    importlib.invalidate_caches()
    assert importlib.import_module("came_later_in_a_zip")
    del sys.modules["came_later_in_a_zip"]
