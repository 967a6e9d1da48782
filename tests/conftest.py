"""The marker `kernel`: such tests are skipped, with a reason, where they cannot run, and fail there if demanded.

Also the option `--update-golden`, and what tests of the command line share.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from golden import Golden
from ltrules.catalog import save_catalog
from ltrules.catalog.machine import shipped_catalog
from ltrules.raw import struct_paths

# A test is not there to measure time: a busy machine may take as long as it likes.
hypothesis.settings.register_profile("ltrules", deadline=None)
hypothesis.settings.load_profile("ltrules")


def kernel_lack() -> str:
    """Return why nothing can be attached here, "" if it can."""
    if os.geteuid() != 0:
        return "not root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "this kernel has no BTF"
    return ""


def kernel_tests_demanded() -> bool:
    return os.environ.get("LTRULES_KERNEL_TESTS") == "1" or os.environ.get("CI") == "true"


def pytest_runtest_setup(item: pytest.Item) -> None:
    lack = kernel_lack() if item.get_closest_marker("kernel") else ""
    if lack and kernel_tests_demanded():
        pytest.fail(f"kernel tests were asked for, but: {lack}", pytrace=False)
    if lack:
        pytest.skip(f"{lack} (LTRULES_KERNEL_TESTS=1 makes this a failure)")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files of tests/cases")


@pytest.fixture(scope="module")
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that neither helps nor suffers from what else runs here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A catalog file that depends on no machine."""
    path = tmp_path_factory.mktemp("catalog") / "events.json.gz"
    save_catalog(shipped_catalog(), path, struct_paths())
    return str(path)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(update=request.config.getoption("--update-golden"))
