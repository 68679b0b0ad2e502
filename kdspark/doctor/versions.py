"""Python, Java and the libraries of this machine, against what this kdspark asks for."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kdspark import __version__
from kdspark.doctor.check import Finding, Patient, check

_JAVA = (17, 24)  # Spark 4.0 runs on 17 and 21, and no longer on 24
_REMEDY = "pip install kdspark with its constraints.txt into a fresh environment."


@check("Python")
def python(patient: Patient) -> Iterator[Finding]:
    """Python's version."""
    wanted = importlib.metadata.metadata("kdspark")["Requires-Python"]
    version = platform.python_version()
    fits = version in SpecifierSet(wanted)
    yield Finding("Python", "ok" if fits else "FAIL", f"{version}, of {wanted}", "" if fits else "Use one of these.")


@check("libraries")
def libraries(patient: Patient) -> Iterator[Finding]:
    """Versions of all that kdspark needs."""
    bad, named = [], []
    for text in importlib.metadata.requires("kdspark") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = installed(requirement.name)
        if requirement.name in ("pyspark", "pyarrow", "torch", "petastorm"):
            named.append(f"{requirement.name} {version}")
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            bad.append(f"{requirement.name} {version or 'is missing'} ({requirement.specifier or 'any'} wanted)")
    if bad:
        yield Finding("libraries", "FAIL", "; ".join(bad), _REMEDY)
    else:
        yield Finding("libraries", "ok", f"kdspark {__version__}, {', '.join(named)}")


def installed(name: str) -> str | None:
    """Version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@check("Java")
def java(patient: Patient) -> Iterator[Finding]:
    """The Java that Spark starts with."""
    home = os.environ.get("JAVA_HOME")
    program = os.path.join(home, "bin", "java") if home else shutil.which("java")  # noqa: PTH118
    remedy = "Install Java 17 or 21 and set JAVA_HOME."
    if program is None or not os.access(program, os.X_OK):
        yield Finding("Java", "FAIL", f"none at {program}" if program else "none on the PATH", remedy)
        return
    said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60).stderr
    match = re.search(r'version "(\d+)[^"]*"', said)
    version = int(match[1]) if match else 0
    fits = _JAVA[0] <= version < _JAVA[1]
    yield Finding("Java", "ok" if fits else "FAIL", f"{version} at {program}", "" if fits else remedy)
