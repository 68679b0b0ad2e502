"""Where nights write: room, rights, renames, locks and clocks, seen from the driver."""

import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from kdspark.config import PrivacyConfig
from kdspark.doctor.check import Finding, Patient, check
from kdspark.spark.full_disk import LOCAL_DIR, free_bytes, places
from kdspark.workspace import Workspace
from kdspark.workspace.files import write_bytes
from kdspark.workspace.owners import owned

_FEW_BYTES, _SOME_BYTES = 1 << 30, 10 << 30
_LATE_S, _LEASE_S = 2.0, 30.0  # leases count on clocks that agree to within half a minute
_PROBE = "doctor"


@check("--root")
def root(patient: Patient) -> Iterator[Finding]:
    """Writing, replacing by a rename, and locking a file at ROOT."""
    if patient.root is None:
        return
    folder = Workspace(patient.root).root
    yield writable("--root", folder)
    yield locks(folder)
    yield clock("clock at --root", folder)


@check("disks")
def disks(patient: Patient) -> Iterator[Finding]:
    """Room where nights write."""
    for what, folders in places(patient.root or Path("/"), patient.spark.settings).items():
        for folder in folders if what != "--root" or patient.root is not None else []:
            yield room(f"disk of {what}", folder)


@check(LOCAL_DIR)
def local_dir(patient: Patient) -> Iterator[Finding]:
    """Rights where Spark shuffles."""
    for folder in places(Path("/"), patient.spark.settings)[LOCAL_DIR]:
        nearest = next((path for path in (folder, *folder.parents) if path.is_dir()), folder)
        yield writable(LOCAL_DIR, nearest)


@check("publish.to")
def publish_to(patient: Patient) -> Iterator[Finding]:
    """Writing and renaming where nights are published, if that is elsewhere."""
    if patient.config is None or patient.config.publish.to is None:
        return
    from kdspark.spark.hadoop_store import HadoopStore

    to = patient.config.publish.to
    store, name = HadoopStore(patient.session, to), owned(_PROBE)
    try:
        for content in (b"old", b"new"):
            store.write(f"{name}/probe", content)
        store.rename(name, f"{name}-renamed")
        same = store.read(f"{name}-renamed/probe") == b"new"
    finally:
        store.delete(name)
        store.delete(f"{name}-renamed")
    remedy = "" if same else "Publish to a file system with renames (HDFS, a shared folder)."
    yield Finding("publish.to", "ok" if same else "FAIL", f"{to} is written and renamed", remedy)


@check("file modes")
def file_modes(patient: Patient) -> Iterator[Finding]:
    """Whether readers may read what nights publish, and nobody else."""
    privacy = patient.config.privacy if patient.config is not None else PrivacyConfig()
    found = f"umask {privacy.mask:03o}"
    if not privacy.mask & 0o004:
        remedy = "Set `privacy.umask` to 027, unless anybody on these machines may read users' lists and tables."
        yield Finding("file modes", "warning", found, remedy)
    elif privacy.mask & 0o040:
        remedy = "Set `privacy.umask` to 027 where readers are other users, of the same group."
        yield Finding("file modes", "warning", found, remedy)
    else:
        yield Finding("file modes", "ok", f"{found}: the owner writes, the group reads")


def writable(name: str, folder: Path) -> Finding:
    """Whether a file can be written, replaced at once, and removed."""
    probe = folder / owned(_PROBE)
    try:
        write_bytes(probe, b"old")
        write_bytes(probe, b"new")
        whole = probe.read_bytes() == b"new"
    except OSError as error:
        return Finding(name, "FAIL", f"{folder}: {error.strerror}", "Make it writable for this user, or name another.")
    finally:
        probe.unlink(missing_ok=True)
    if not whole:
        return Finding(name, "FAIL", f"{folder}: a rename is not seen at once", "Use another file system.")
    return Finding(name, "ok", f"{folder}: written and renamed")


def locks(folder: Path) -> Finding:
    """Whether one process at a time can hold a file: leases and searches count on it."""
    probe = folder / owned(_PROBE)
    try:
        with probe.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Finding("locks", "warning", f"{folder}: none ({error.strerror})", "See to it that each date runs once.")
    finally:
        probe.unlink(missing_ok=True)
    return Finding("locks", "ok", f"{folder}: files can be locked")


def room(name: str, folder: Path) -> Finding:
    """Free space of a disk."""
    free = free_bytes(folder)
    found = f"{free / 2**30:,.1f} GiB free at {folder}"
    if free < _FEW_BYTES:
        return Finding(name, "FAIL", found, "Make room, or name another place.")
    if free < _SOME_BYTES:
        return Finding(name, "warning", found, "A night of 20M events takes about 6 GiB (`publish.keep`).")
    return Finding(name, "ok", found)


def clock(name: str, folder: Path) -> Finding:
    """This machine's clock against that of the file system."""
    probe = folder / owned(_PROBE)
    try:
        before = time.time()
        probe.touch()
        behind = probe.stat().st_mtime - before
    finally:
        probe.unlink(missing_ok=True)
    return judged_clock(name, behind, "the file system's clock")


def judged_clock(name: str, ahead_s: float, whose: str) -> Finding:
    """A clock that is so many seconds ahead of this machine's."""
    found, remedy = f"{whose} differs by {abs(ahead_s):.1f} s", "Synchronise the clocks (NTP): leases count on them."
    if abs(ahead_s) > _LEASE_S:
        return Finding(name, "FAIL", found, remedy)
    return Finding(name, "warning", found, remedy) if abs(ahead_s) > _LATE_S else Finding(name, "ok", found)
