"""What the kernel of a guest has is what docs/kernels.md says that it has."""

from __future__ import annotations

import os

import pytest

from helpers import catalog
from ltrules.engines.features import probe_features
from ltrules.raw import RAW_EVENTS
from tests.vm.page import columns

pytestmark = pytest.mark.kernel

#: The features of a kernel, not of the software or the user.
FEATURES = (
    *("btf", "ring buffer", "tp_btf programs", "syscall programs", "bpf_for_each_map_elem", "bpf_timer", "bpf_loop"),
    *("kprobes", "uprobes", "fentry", "realtime kernel"),
)


def absent_events() -> list[str]:
    """Return the events of the field table that this kernel has not."""
    return [name for name in RAW_EVENTS if not catalog().find(name)]


def absent_fields() -> list[str]:
    """Return the fields of the field table that events of this kernel have not."""
    events = [(name, catalog().find(name)) for name in RAW_EVENTS]
    return [f"{name}.{field}" for name, found in events for event in found for field in RAW_EVENTS[name].fields
            if field not in event.fields]  # fmt: skip


def test_the_page_says_what_this_kernel_has() -> None:
    features = {feature.name: "yes" if feature.present else "no" for feature in probe_features()}
    found = {name: features[name] for name in FEATURES}
    found["absent events"] = " ".join(absent_events()) or "none"
    found["absent fields"] = " ".join(absent_fields()) or "none"
    assert columns()[os.environ["LTRULES_KERNEL"]] == found
