"""The features: each lack is seen, named, and comes with advice."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ltrules.engines import features
from ltrules.engines.features import Feature, Host, probe_features, require_engine
from ltrules.errors import EngineUnavailable

WHOLE = {
    "proc/self/status": "Name:\tpython3\nCapEff:\t000001ffffffffff\n",
    "proc/self/uid_map": "         0          0 4294967295\n",
    "proc/version": "Linux version 6.12.0 SMP PREEMPT_RT\n",
    "proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
    "sys/kernel/btf/vmlinux": "",
    "sys/kernel/tracing/events/header_page": "",
    "sys/kernel/tracing/uprobe_events": "",
    "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "sys/bus/event_source/devices/kprobe/type": "6\n",
    "bcc/__init__.py": "",
    "bcc/libbcc.py": "",
}


class Kernel:
    """Stands for libbpf: refuses the numbers and targets it is told to."""

    def __init__(self, *refused: object) -> None:
        self.refused = refused

    def libbpf_version_string(self) -> bytes:
        return b"v1.1"

    def libbpf_probe_bpf_map_type(self, number: int, _options: None) -> int:
        return number not in self.refused

    def libbpf_probe_bpf_prog_type(self, number: int, _options: None) -> int:
        return number not in self.refused

    def libbpf_probe_bpf_helper(self, _type: int, number: int, _options: None) -> int:
        return number not in self.refused

    def libbpf_find_vmlinux_btf_id(self, name: bytes, _kind: int) -> int:
        raise OSError(errno.ESRCH, f"no {name.decode()}")


def whole(tmp_path: Path, **changes: Any) -> Host:
    """Return a host that lacks nothing but fentry and tp_btf, which its kernel cannot load."""
    for name, text in WHOLE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    host = Host(
        root=tmp_path,
        find_clang=lambda: Path("/usr/bin/clang-19"),
        anything_cached=lambda: False,
        library=lambda: Kernel(),
        packages=(str(tmp_path),),
    )
    return dataclasses.replace(host, **changes)


def feature(host: Host, name: str) -> Feature:
    return next(each for each in probe_features(host) if each.name == name)


def no_library() -> Any:
    raise EngineUnavailable("the library libbpf.so.1 is missing")


def test_a_whole_host_lacks_nothing(tmp_path: Path) -> None:
    lacking = [each.name for each in probe_features(whole(tmp_path)) if not each.present]

    assert lacking == ["tp_btf programs", "fentry"]
    require_engine(whole(tmp_path))


def test_each_lack_comes_with_advice_and_nothing_else_does(tmp_path: Path) -> None:
    empty = Host(tmp_path, lambda: None, lambda: False, no_library, ())

    for each in (*probe_features(empty), *probe_features(whole(tmp_path))):
        assert bool(each.advice) == (not each.present and each.name != "realtime kernel")
        assert each.detail


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("sys/kernel/btf/vmlinux", "btf"),
        ("sys/bus/event_source/devices/kprobe/type", "kprobes"),
        ("sys/kernel/tracing/uprobe_events", "uprobes"),
        ("bcc/__init__.py", "bcc"),
        ("bcc/libbcc.py", "bcc"),
        ("proc/version", "realtime kernel"),
        ("proc/sys/kernel/unprivileged_bpf_disabled", "unprivileged bpf off"),
    ],
)
def test_a_missing_file_is_a_lack(tmp_path: Path, path: str, name: str) -> None:
    host = whole(tmp_path)
    (tmp_path / path).unlink()
    if path.endswith("kprobe/type"):
        (tmp_path / path).parent.rmdir()

    assert not feature(host, name).present


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (27, "ring buffer"),
        (31, "syscall programs"),
        (164, "bpf_for_each_map_elem"),
        (169, "bpf_timer"),
        (181, "bpf_loop"),
    ],
)
def test_what_the_kernel_refuses_is_a_lack(tmp_path: Path, number: int, name: str) -> None:
    assert feature(whole(tmp_path), name).present
    assert not feature(whole(tmp_path, library=lambda: Kernel(number)), name).present


@pytest.mark.parametrize(
    ("capabilities", "able"),
    [
        ("0", False),
        (f"{1 << 21:x}", True),  # CAP_SYS_ADMIN
        (f"{1 << 39:x}", False),  # CAP_BPF alone
        (f"{1 << 39 | 1 << 38:x}", True),
    ],
)
def test_privilege_is_told_by_capabilities(tmp_path: Path, capabilities: str, able: bool) -> None:
    host = whole(tmp_path)
    (tmp_path / "proc/self/status").write_text(f"CapEff:\t{capabilities}\n")

    assert host.privileged() is able


def test_root_of_a_user_namespace_is_not_privileged(tmp_path: Path) -> None:
    host = whole(tmp_path)
    (tmp_path / "proc/self/uid_map").write_text("0 1000 1\n")

    assert not host.privileged()


def test_without_privilege_the_kernel_is_not_asked(tmp_path: Path) -> None:
    host = whole(tmp_path)
    (tmp_path / "proc/self/status").write_text("CapEff:\t0\n")

    ring = feature(host, "ring buffer")

    assert (ring.present, ring.detail) == (False, "unknown: only root can ask the kernel")
    assert ring.advice == features.ASK_ROOT


def test_unmounted_tracefs_is_told_how_to_mount(tmp_path: Path) -> None:
    host = whole(tmp_path)
    (tmp_path / "sys/kernel/tracing/events/header_page").unlink()
    (tmp_path / "sys/kernel/tracing/events").rmdir()

    tracefs = feature(host, "tracefs")

    assert tracefs.detail == "not mounted"
    assert "mount -t tracefs" in tracefs.advice


def test_confidentiality_lockdown_forbids(tmp_path: Path) -> None:
    host = whole(tmp_path)
    (tmp_path / "sys/kernel/security/lockdown").write_text("none integrity [confidentiality]\n")

    assert not feature(host, "lockdown permits").present


def test_tracing_programs_are_tried_and_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    monkeypatch.setattr(features, "os", SimpleNamespace(close=closed.append, access=features.os.access))
    kernel = SimpleNamespace(
        libbpf_find_vmlinux_btf_id=lambda name, kind: 5,
        bpf_prog_load=lambda *arguments: 70 + arguments[-1].expected_attach_type,
        bpf_raw_tracepoint_open=lambda name, program: program + 100,
    )
    host = whole(tmp_path, library=lambda: kernel)

    assert features._tp_btf(host) == (True, "works")
    assert features._fentry(host) == (True, "works")
    assert closed == [93, 194, 94]


@pytest.mark.parametrize(
    ("lack", "sentence"),
    [
        ("privilege", "needs root"),
        ("btf", "no BTF"),
        ("libbpf", "libbpf.so.1 is missing"),
        ("clang", "clang is missing"),
    ],
)
def test_require_engine_names_the_one_thing(tmp_path: Path, lack: str, sentence: str) -> None:
    host = whole(tmp_path)
    if lack == "privilege":
        (tmp_path / "proc/self/status").write_text("CapEff:\t0\n")
    elif lack == "btf":
        (tmp_path / "sys/kernel/btf/vmlinux").unlink()
    elif lack == "libbpf":
        host = dataclasses.replace(host, library=no_library)
    else:
        host = dataclasses.replace(host, find_clang=lambda: None)

    with pytest.raises(EngineUnavailable, match=sentence) as caught:
        require_engine(host)

    assert "\n" not in str(caught.value)


def test_cached_objects_make_up_for_clang(tmp_path: Path) -> None:
    require_engine(whole(tmp_path, find_clang=lambda: None, anything_cached=lambda: True))


def test_this_machine_can_be_probed() -> None:
    assert [each.name for each in probe_features()] == [name for name, _probe, _advice in features.PROBES]
