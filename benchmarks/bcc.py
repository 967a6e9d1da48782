"""The wakeup rule as a bcc program: `python -m benchmarks.bcc THRESH_NS` runs it and prints what took longer.

bcc wants kernel headers, of which this program uses next to nothing: where there are none, a directory of a few small
files takes their place.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from bcc import BPF

#: Pairs by pid, as the rule does, with a histogram as every rule has one.
PROGRAM = """
struct alert { u32 pid; u64 latency; };

BPF_HASH(opened, u32, u64, 16384);
BPF_HISTOGRAM(latency, u64);
BPF_PERF_OUTPUT(alerts);

TRACEPOINT_PROBE(sched, sched_wakeup)
{
	u32 pid = args->pid;
	u64 now = bpf_ktime_get_ns();

	opened.update(&pid, &now);
	return 0;
}

TRACEPOINT_PROBE(sched, sched_switch)
{
	u32 pid = args->next_pid;
	u64 *begin = opened.lookup(&pid);
	struct alert alert = {};

	if (!begin)
		return 0;
	alert.pid = pid;
	alert.latency = bpf_ktime_get_ns() - *begin;
	opened.delete(&pid);
	latency.increment(bpf_log2l(alert.latency));
	if (alert.latency > THRESH)
		alerts.perf_submit(args, &alert, sizeof(alert));
	return 0;
}
"""
_TYPES = """
typedef unsigned char u8, __u8, uint8_t;
typedef unsigned short u16, __u16, __be16, __le16, __sum16;
typedef unsigned int u32, __u32, __be32, __le32, __wsum;
typedef unsigned long long u64, __u64, __be64, __le64;
typedef signed char s8, __s8;
typedef short s16, __s16;
typedef int s32, __s32, pid_t;
typedef long long s64, __s64;
typedef unsigned long size_t, uintptr_t;
typedef _Bool bool;
#define __aligned_u64 __u64 __attribute__((aligned(8)))
"""
_VERSION = """
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION({}, {}, {})
"""
#: What bcc's own headers include, by path.
HEADERS = {
    "linux/kconfig.h": "#define CONFIG_BPF_SYSCALL 1\n",
    "linux/types.h": _TYPES,
    "linux/bpf_common.h": "",
    "linux/log2.h": "",
    "asm/page.h": "",
    "uapi/linux/bpf.h": "",
    "uapi/linux/if_packet.h": "",
}


def main() -> None:
    """Run the program until it is interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as an exception it would be lost in a callback of bcc's
    (thresh,) = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="ltrules-bench-") as name:
        if not Path(f"/lib/modules/{platform.release()}/build").exists():
            make_headers(Path(name, "include"))
            os.environ["BCC_KERNEL_SOURCE"] = name
        bpf = BPF(text=PROGRAM, cflags=[f"-DTHRESH={int(thresh)}ULL"])

    def show(_cpu: int, data: Any, _size: int) -> None:
        alert = bpf["alerts"].event(data)
        print(alert.pid, alert.latency)

    bpf["alerts"].open_perf_buffer(show)
    print("attached", flush=True)
    while True:
        bpf.perf_buffer_poll()


def make_headers(directory: Path) -> None:
    """Write the files that stand for kernel headers."""
    release = [int(n) for n in re.findall(r"\d+", platform.release())[:3]]
    files = HEADERS | {"linux/version.h": _VERSION.format(*release, *[0] * (3 - len(release)))}
    for path, text in files.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    main()
