"""What the figures were measured on."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path


def describe(quick: bool) -> str:
    """Return one line with machine, kernel, tools and date."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = found[1] if found else platform.machine()
    tools = [f"Python {platform.python_version()}", *(_version(tool) for tool in ("clang", "bpftrace", "perf"))]
    today = datetime.datetime.now(datetime.timezone.utc).date()
    rounds = ", quick" if quick else ""
    return f"{model}, {os.cpu_count()} CPUs, Linux {os.uname().release}, {', '.join(tools)}; {today}{rounds}"


def _version(tool: str) -> str:
    if shutil.which(tool) is None:
        return f"no {tool}"
    text = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(?:\.\d+)+", text)
    return f"{tool} {found[0]}" if found else tool
