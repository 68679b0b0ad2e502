"""Row groups of a folder of Parquet files as arrays, through Petastorm. The only module that names petastorm.

Why not `make_batch_reader` and `BatchedDataLoader` as they come: they stack lists row by row (2.7 times slower on rows
of 50 + 64 ints + 64 floats than flattening the Arrow columns; with the loader's shuffling 9 times), they shuffle by
torch's global generator, and they parse a local path as a URL, so that `#` or `?` in it breaks. `make_batch_reader`
only puts together a `Reader`, a pool and a worker class; here it is done with a worker class that keeps Arrow columns.

Petastorm's pools have a race: they ask "is nothing in flight?" and "is the ventilator done?" in this order, and a row
group handed out in between is given up silently. Asking once more after the end closes the race (by then the
ventilator is done for certain); rows are counted against the footers and the manifest all the same.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import petastorm.reader
import pyarrow as pa
import pyarrow.compute as pc
from petastorm.arrow_reader_worker import ArrowReaderWorker
from petastorm.cache import NullCache
from petastorm.fs_utils import get_filesystem_and_path_or_paths, normalize_dir_url
from petastorm.reader import Reader
from petastorm.unischema import Unischema
from petastorm.workers_pool import EmptyResultError
from petastorm.workers_pool.thread_pool import ThreadPool

from kdspark.distill.footers import is_list
from kdspark.distill.shuffling import Chunk
from kdspark.errors import InputError, StalledError
from kdspark.failpoints import reached

# A Reader asks first whether `_common_metadata` holds a pickled schema. Folders with one are refused (`footers`); what
# is planted afterwards is not looked at either: all there is to know stands in the Parquet schema.
petastorm.reader.infer_or_load_unischema = Unischema.from_arrow_schema
_READ_AHEAD = 4  # row groups held by the pool
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


class BadColumnError(Exception):
    """A column with nulls or with lists of different lengths; the message is its name."""


def open_folder(path: str) -> tuple[Any, str]:
    """The file system of a folder or URL, and the folder's path in it.

    Raises:
        InputError: no such folder.
    """
    with _quiet():
        if _URL.match(path) and not path.startswith("file://"):
            return get_filesystem_and_path_or_paths(normalize_dir_url(path))  # type: ignore[no-any-return]
        local = Path(path.removeprefix("file://")).absolute()
        if not local.is_dir():
            raise InputError(f"{path}: no such folder.", "Run the stage that writes it first.")
        filesystem, _ = get_filesystem_and_path_or_paths("file:///")
        return filesystem, str(local)  # not through a URL: `#`, `?` and `;` are letters of a path


@contextlib.contextmanager
def opened(
    filesystem: Any, root: str, columns: Sequence[str], shuffle_seed: int | None, rank: int, world: int
) -> Iterator[Iterator[Chunk]]:
    """One pass over a rank's row groups; on leaving, the reader and its threads are released.

    Args:
        filesystem, root: from `open_folder`.
        shuffle_seed: decides the order of row groups; None keeps that of the files.

    Yields:
        The row groups, each as arrays by column. Reading them raises BadColumnError, OSError or ArrowException.
    """
    with _quiet():
        reader = Reader(
            filesystem,
            root,
            schema_fields=[re.escape(name) + "$" for name in columns],
            worker_class=_ColumnWorker,
            reader_pool=ThreadPool(1, _READ_AHEAD),  # one worker: first in, first out, whatever the timing
            is_batched_reader=True,
            cache=NullCache(),
            num_epochs=1,
            seed=shuffle_seed,
            shuffle_row_groups=shuffle_seed is not None,
            cur_shard=rank if world > 1 else None,
            shard_count=world if world > 1 else None,
        )
    stalled = False
    try:
        yield _drained(reader)
    except StalledError:
        stalled = True
        raise
    finally:
        reader.stop()
        if not stalled:  # a blocked thread cannot be joined; it is a daemon
            reader.join()


class _Columns:
    """Takes the place of Petastorm's reader of results: Arrow columns become arrays without a Python loop."""

    batched_output = True

    def read_next(self, pool: Any, schema: Any, ngram: Any) -> Chunk:
        try:
            table = pool.get_results()
        except EmptyResultError:
            raise StopIteration from None
        return {name: _array(name, table.column(name)) for name in table.column_names}


class _ColumnWorker(ArrowReaderWorker):  # type: ignore[misc]
    """Petastorm's worker, which reads row groups by the pieces it is given and need not list the folder again.

    Not opening the deprecated dataset object in the worker's thread also keeps that thread free of warnings, which
    could be silenced there only for the whole process.
    """

    def __init__(self, worker_id: int, publish: Any, arguments: Sequence[Any]) -> None:
        super().__init__(worker_id, publish, arguments)
        self._dataset = SimpleNamespace(fs=arguments[0], partitions=None)

    def process(self, *arguments: Any, **named: Any) -> None:
        reached("loader.row_group")
        super().process(*arguments, **named)

    @staticmethod
    def new_results_queue_reader() -> _Columns:
        return _Columns()


def _drained(reader: Reader) -> Iterator[Chunk]:
    """All chunks of a reader; see the module's docstring for the second question after the end."""
    while (chunk := next(reader, None)) is not None or (chunk := next(reader, None)) is not None:
        yield chunk


def _array(name: str, column: pa.ChunkedArray) -> Any:
    array = pa.concat_arrays(column.chunks)
    if array.null_count:
        raise BadColumnError(name)
    if not is_list(array.type):
        return array.to_numpy(zero_copy_only=False)
    lengths, flat = pc.list_value_length(array), array.flatten()
    if flat.null_count or len(pc.unique(lengths)) > 1:
        raise BadColumnError(name)
    return flat.to_numpy(zero_copy_only=False).reshape(len(array), lengths[0].as_py())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what petastorm and the pyarrow interfaces it uses say about their age, here and nowhere else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
