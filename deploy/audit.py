"""``python -m deploy.audit REPORT``: what pip-audit's report means, said so that silence is never taken for safety.

pip-audit ends with status 0 when its database knows none of the packages, as behind a registry that mirrors files
without advisories. Here a package that could not be asked about is counted, and shown.
"""

import sys
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

CLEAN: Final = 0
VULNERABLE: Final = 1


class Advisory(Struct, frozen=True):
    """One known vulnerability of a package."""

    id: str
    fix_versions: list[str] = field(default_factory=list)


class Dependency(Struct, frozen=True):
    """A locked package, as pip-audit reports it (``--format json``)."""

    name: str
    version: str = ""
    skip_reason: str | None = None
    vulns: list[Advisory] = field(default_factory=list)


class Report(Struct, frozen=True):
    """The report."""

    dependencies: list[Dependency]


def judge(report: bytes) -> tuple[int, list[str]]:
    """Say what a report means.

    Parameters
    ----------
    report : bytes
        pip-audit's JSON.

    Returns
    -------
    status : int
        ``VULNERABLE`` if any package has a known vulnerability, else ``CLEAN``.
    lines : list of str
        Every vulnerability with the versions that mend it, then one line of counts.

    Raises
    ------
    msgspec.DecodeError
        If it is not a report.
    """
    dependencies = msgspec.json.decode(report, type=Report).dependencies
    unasked = [dependency for dependency in dependencies if dependency.skip_reason is not None]
    lines = [
        f"{one.name} {one.version}: {advisory.id}, mended in {', '.join(advisory.fix_versions) or 'no release yet'}"
        for one in dependencies
        for advisory in one.vulns
    ]
    asked = len(dependencies) - len(unasked)
    if not asked:
        return CLEAN, [f"NOT AUDITED: the database knows none of the {len(dependencies)} packages; ask one that does"]
    counts = f"{asked} packages audited, {len(lines)} known vulnerabilities, {len(unasked)} not to be asked about"
    return (VULNERABLE if lines else CLEAN), [*lines, counts]


def main() -> None:
    """Print the verdict on a report file and end with its status."""
    status, lines = judge(Path(sys.argv[1]).read_bytes())
    print("\n".join(lines))
    sys.exit(status)


if __name__ == "__main__":
    main()
