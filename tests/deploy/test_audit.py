import json
from typing import Any

import msgspec
import pytest

from deploy.audit import CLEAN, VULNERABLE, judge


def _report(*dependencies: dict[str, Any]) -> bytes:
    return json.dumps({"dependencies": dependencies, "fixes": []}).encode()


HEALTHY = {"name": "numpy", "version": "2.4.6", "vulns": []}
SICK = {
    "name": "urllib3",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1", "1.9"], "aliases": [], "description": "..."}],
}
UNASKED = {"name": "aiohttp", "skip_reason": "Dependency not found on PyPI and could not be audited: aiohttp (3.14.5)"}


def test_judge_a_vulnerable_package_fails_and_names_the_way_out() -> None:
    status, lines = judge(_report(HEALTHY, SICK, UNASKED))
    assert status == VULNERABLE
    assert lines == [
        "urllib3 1.0: PYSEC-1, mended in 2.1, 1.9",
        "2 packages audited, 1 known vulnerabilities, 1 not to be asked about",
    ]


def test_judge_a_vulnerability_without_a_release_says_so() -> None:
    _, lines = judge(_report(SICK | {"vulns": [{"id": "PYSEC-2", "fix_versions": []}]}))
    assert lines[0] == "urllib3 1.0: PYSEC-2, mended in no release yet"


def test_judge_clean_packages_pass() -> None:
    assert judge(_report(HEALTHY)) == (
        CLEAN,
        ["1 packages audited, 0 known vulnerabilities, 0 not to be asked about"],
    )


def test_judge_a_database_that_knows_nothing_is_not_called_safety() -> None:
    status, lines = judge(_report(UNASKED))
    assert status == CLEAN
    assert lines[0].startswith("NOT AUDITED")


def test_judge_something_else_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        judge(b'{"packages": []}')
