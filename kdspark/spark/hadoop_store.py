"""Published runs on a file system that Hadoop knows: HDFS, or any other whose rename happens at once.

The driver copies the files; readers then see them under names that never change. Where a rename is a copy and a
removal, as on object stores, a pointer may be missing for a moment, and nothing here helps.

`kdspark.workspace.store.Store` says what is asked for.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from py4j.protocol import Py4JJavaError

from kdspark.workspace.owners import owned

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_T = TypeVar("_T")
_COPIED_AT_ONCE = 4


class HadoopStore:
    """Below a URL such as hdfs://name-node/recommendations."""

    def __init__(self, spark: "SparkSession", root: str) -> None:
        self._root = root.rstrip("/")
        self._gateway: Any = spark.sparkContext._gateway
        self._jvm: Any = spark.sparkContext._jvm
        self._fs = _io(lambda: self._path("").getFileSystem(self._conf(spark)))
        uri = self._fs.getUri()
        self._context = _io(lambda: self._jvm.org.apache.hadoop.fs.FileContext.getFileContext(uri, self._conf(spark)))

    def url(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes:
        def read() -> bytes:
            stream = self._fs.open(self._path(name))
            try:
                return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
            finally:
                stream.close()

        return _io(read)

    def write(self, name: str, data: bytes) -> None:
        scratch = owned(f"{name}.tmp")

        def write() -> None:
            stream = self._fs.create(self._path(scratch), True)
            try:
                stream.write(bytearray(data))
                stream.hsync()
            finally:
                stream.close()
            self._rename(scratch, name, "OVERWRITE")

        try:
            _io(write)
        finally:
            _io(lambda: self._fs.delete(self._path(scratch), False))

    def exists(self, name: str) -> bool:
        return bool(_io(lambda: self._fs.exists(self._path(name))))

    def folders(self, name: str) -> list[str]:
        try:
            found = _io(lambda: list(self._fs.listStatus(self._path(name))))
        except FileNotFoundError:
            return []
        return sorted(str(one.getPath().getName()) for one in found if one.isDirectory())

    def files(self, name: str) -> dict[str, int]:
        def list_all() -> dict[str, int]:
            above = len(self._fs.makeQualified(self._path(name)).toUri().getPath()) + 1
            found, files = {}, self._fs.listFiles(self._path(name), True)
            while files.hasNext():
                file = files.next()
                found[str(file.getPath().toUri().getPath())[above:]] = int(file.getLen())
            return dict(sorted(found.items()))

        return _io(list_all)

    def sha256(self, name: str) -> str:
        def digest() -> str:
            stream = self._fs.open(self._path(name))
            try:
                return str(self._jvm.org.apache.commons.codec.digest.DigestUtils.sha256Hex(stream))
            finally:
                stream.close()

        return _io(digest)

    def put(self, folder: Path, name: str) -> None:
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] not in "._"]

        def copy(path: Path) -> None:
            source = self._jvm.org.apache.hadoop.fs.Path(path.absolute().as_uri())
            target = self._path(f"{name}/{path.relative_to(folder).as_posix()}")
            _io(lambda: self._fs.copyFromLocalFile(False, False, source, target))

        _io(lambda: self._fs.mkdirs(self._path(name)))
        with ThreadPoolExecutor(_COPIED_AT_ONCE) as pool:
            list(pool.map(copy, paths))

    def fetch(self, name: str, folder: Path) -> None:
        def copy(file: str) -> None:
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            target = self._jvm.org.apache.hadoop.fs.Path(path.absolute().as_uri())
            _io(lambda: self._fs.copyToLocalFile(False, self._path(f"{name}/{file}"), target, True))

        for file in self.files(name):
            copy(file)

    def rename(self, name: str, new: str) -> None:
        _io(lambda: self._rename(name, new, "NONE"))

    def delete(self, name: str) -> None:
        _io(lambda: self._fs.delete(self._path(name), True))

    def _rename(self, name: str, new: str, how: str) -> None:
        kind = self._jvm.org.apache.hadoop.fs.Options.Rename
        hows = self._gateway.new_array(kind, 1)
        hows[0] = getattr(kind, how)
        self._context.rename(self._path(name), self._path(new), hows)

    def _path(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self._root}/{name}" if name else self._root)

    @staticmethod
    def _conf(spark: "SparkSession") -> Any:
        return spark.sparkContext._jsc.hadoopConfiguration()


def _io(work: Callable[[], _T]) -> _T:
    """Its errors as Python knows them."""
    try:
        return work()
    except Py4JJavaError as error:
        kind = error.java_exception.getClass().getName()
        text = f"{kind}: {error.java_exception.getMessage()}"
        raise (FileNotFoundError if kind == "java.io.FileNotFoundException" else OSError)(text) from None
