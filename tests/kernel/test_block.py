"""Block requests counted by rules and by the device itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import assert_accounted, catalog, loop_device, only_rule, read_directly, run_rules

pytestmark = pytest.mark.kernel

READS = 197
SIZE = 4096


def completed_reads(device: Path) -> tuple[int, int]:
    """Return how many reads, and sectors, the device has done since it was made."""
    words = Path(f"/sys/block/{device.name}/stat").read_text().split()
    return int(words[0]), int(words[2])


def device_number(device: Path) -> int:
    """Return the kernel's own number of a device, as the block events show it."""
    major, minor = Path(f"/sys/block/{device.name}/dev").read_text().split(":")
    return int(major) << 20 | int(minor)


@pytest.mark.parametrize("pair", [("block_rq_issue", "block_rq_complete"), ("block_io_start", "block_io_done")])
def test_requests_are_those_that_the_device_counts(tmp_path: Path, pair: tuple[str, str]) -> None:
    if not catalog().find(f"block:{pair[0]}"):
        pytest.skip(f"this kernel has no event {pair[0]}")
    rule = f"""
rule reads {{
  param device: int = 0
  in {pair[0]} key (dev, sector) where dev == device capture bytes
  out {pair[1]} key (dev, sector)
  thresh 1ns
  rate 1000000 per 1s
  stat count as requests
  stat sum in.bytes as volume
}}
"""
    with loop_device(tmp_path / "image") as device:
        number = device_number(device)
        before = completed_reads(device)
        alerts, stats = run_rules(rule, lambda: read_directly(device, READS, SIZE), {"device": number})
        after = completed_reads(device)
    reads, sectors = (b - a for a, b in zip(before, after, strict=True))
    assert (reads, sectors) == (READS, READS * SIZE // 512)
    assert sorted(a.key["sector"] for a in alerts) == [i * SIZE // 512 for i in range(READS)]
    assert {a.key["dev"] for a in alerts} == {number}
    assert {a.captured["in"]["bytes"] for a in alerts} == {SIZE}
    numbers = only_rule(stats)
    assert_accounted(numbers)
    assert numbers.counters["unmatched"] == 0 or numbers.counters["opened"] == reads
    assert {s.name: s.groups for s in numbers.statistics} == {
        "requests": (((), reads),),
        "volume": (((), sectors * 512),),
    }
