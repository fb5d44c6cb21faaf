"""Apache Kafka's jars, fetched once by Maven into a cache directory outside the repository.

``EMOTION_KAFKA_CACHE`` names another cache directory; the default follows the XDG base directory specification.
"""

import fcntl
import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
# Kafka 4 runs on Java 17 and newer (its upgrade notes).
OLDEST_JAVA = 17


class JarsUnavailableError(Exception):
    """Kafka cannot run from jars here; the message says what is missing."""


@functools.cache
def kafka_classpath() -> str:
    """Give the class path of Apache Kafka, fetching its jars if the cache has none for this ``pom.xml``.

    Returns
    -------
    str
        The value of Java's ``-cp``.

    Raises
    ------
    JarsUnavailableError
        If Java 17 or Maven is missing, or Maven cannot fetch the jars.
    """
    _check_java()
    version = re.findall(r"<version>(.+?)</version>", POM.read_text())[1]
    directory = _cache_directory() / version
    directory.mkdir(parents=True, exist_ok=True)
    stamp = directory / f"complete-{POM.stat().st_size}"
    # Two test runs on one machine must not copy into the same directory at once.
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            _fetch(directory / "jars")
            stamp.touch()
    return f"{directory / 'jars'}/*"


def _cache_directory() -> Path:
    named = os.environ.get("EMOTION_KAFKA_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emotion-stream" / "kafka"


def _check_java() -> None:
    if shutil.which("java") is None:
        raise JarsUnavailableError("no java on PATH")
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', told.stderr + told.stdout)
    if found is None or int(found[1]) < OLDEST_JAVA:
        raise JarsUnavailableError(f"Java {OLDEST_JAVA} or newer is needed, this is {found[1] if found else 'unknown'}")


def _fetch(directory: Path) -> None:
    if shutil.which("mvn") is None:
        raise JarsUnavailableError("no mvn on PATH to fetch Kafka's jars")
    command = ["mvn", "-B", "-q", "-f", str(POM), COPY_DEPENDENCIES]
    command += [f"-DoutputDirectory={directory}", "-DincludeScope=runtime"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise JarsUnavailableError(f"Maven could not fetch Kafka's jars: {(done.stdout + done.stderr)[-400:]}")
