"""Block devices that take a known time, measured by rules: null_blk, scsi_debug and dm-delay."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import MS, PATIENCE, assert_accounted, only_rule, read_directly, run_rules
from test_block import completed_reads, device_number

pytestmark = pytest.mark.kernel

READS = 41
SIZE = 4096
#: How much longer than the device says a request may take in an emulated machine, for half of them.
BAND = 30 * MS

REQUESTS = """
rule reads {
  param device: int = 0
  in block_rq_issue key (dev, sector) where dev == device
  out block_rq_complete key (dev, sector)
  thresh 1ns
  rate 1000000 per 1s
}
"""
BIOS = REQUESTS.replace("block_rq_issue", "block_bio_queue").replace("block_rq_complete", "block_bio_complete")


@contextmanager
def module(name: str, **settings: object) -> Iterator[None]:
    """Have a module loaded with these parameters."""
    subprocess.run(["modprobe", name, *(f"{key}={value}" for key, value in settings.items())], check=True)
    try:
        yield
    finally:
        subprocess.run(["modprobe", "--remove", name], check=True)


def assert_takes(rule: str, device: Path, ns: int) -> None:
    """Assert that a rule measures each read of a device once, and as long as the device takes at the least."""
    before = completed_reads(device)[0]
    alerts, stats = run_rules(rule, lambda: read_directly(device, READS, SIZE), {"device": device_number(device)})
    assert completed_reads(device)[0] - before == READS
    assert sorted(a.key["sector"] for a in alerts) == [i * SIZE // 512 for i in range(READS)]
    latencies = sorted(a.latency_ns for a in alerts)
    assert latencies[0] >= ns
    assert latencies[READS // 2] < ns + BAND
    assert only_rule(stats).latency.count == READS
    assert_accounted(only_rule(stats))


@pytest.mark.parametrize("ms", [3, 20])
def test_null_blk_completes_by_a_timer(ms: int) -> None:
    with module("null_blk", nr_devices=1, gb=1, queue_mode=2, irqmode=2, completion_nsec=ms * MS):
        assert_takes(REQUESTS, Path("/dev/nullb0"), ms * MS)


def test_scsi_debug_answers_late() -> None:
    with module("sd_mod"), module("scsi_debug", ndelay=15 * MS, dev_size_mb=8):
        device = scsi_disk()
        assert_takes(REQUESTS, device, 15 * MS)


def scsi_disk() -> Path:
    """Return the disk of scsi_debug, which the kernel finds in the background."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for model in Path("/sys/block").glob("sd*/device/model"):
            if model.read_text().strip() == "scsi_debug":
                return Path("/dev") / model.parts[3]
        time.sleep(0.05)
    pytest.fail("scsi_debug shows no disk")


@pytest.fixture
def delayed() -> Iterator[Path]:
    """Yield a device that waits 25 ms before it passes a request on to a disk that takes no time."""
    with module("null_blk", nr_devices=1, gb=1), module("dm-delay"):
        sectors = int(Path("/sys/block/nullb0/size").read_text())
        dmsetup("create", "slow", "--table", f"0 {sectors} delay /dev/nullb0 0 25")
        try:
            minor = dmsetup("info", "slow", "--columns", "--noheadings", "-o", "minor")
            yield Path(f"/dev/dm-{minor.strip()}")
        finally:
            dmsetup("remove", "slow")


def dmsetup(verb: str, *arguments: str) -> str:
    """Run dmsetup without waiting for udev, which a guest has not; return what it says."""
    done = subprocess.run(
        ["dmsetup", verb, "--noudevsync", *arguments], check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
    )
    return done.stdout


def test_dm_delay_holds_a_bio_back(delayed: Path) -> None:
    assert_takes(BIOS, delayed, 25 * MS)
