"""How the tools begin a line of text: task, CPU, time and event, before what the event itself prints."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Whole seconds and their fraction: 6 digits, or 9 where the tool was asked for them.
_TIME = r"(?P<seconds>[0-9]{1,11})\.(?P<fraction>[0-9]{6}|[0-9]{9})"
_CPU = r"\[(?P<cpu>[0-9]{1,5})\]"
_EVENT = r"(?:(?P<name>[A-Za-z_]\w{0,127}):(?P<payload>.*)|(?P<call>sys_\w{1,64})(?P<told>\(.*| -> .*))"

#: `trace` and `trace_pipe` of tracefs, and `trace-cmd report`, with a column of flags or without. The name of a buffer
#: may stand in front; else a line begins with a space, since a name of 15 letters is written 16 wide.
_FTRACE = re.compile(
    rf"(?:[^\s:]{{1,128}}: )? *(?P<comm>.{{1,64}}?)-(?P<tid>[0-9]{{1,10}}) +"
    rf"(?:\( *(?P<tgid>[0-9]{{1,10}}|-+)\) +)?{_CPU} +(?:[^\s]{{4,6}} +)?{_TIME}: +{_EVENT}",
    re.DOTALL | re.ASCII,
)
#: `perf script`, with the process or without, and with the period or without.
_PERF = re.compile(
    rf" *(?P<comm>.{{1,64}}?) +(?:(?P<tgid>-?[0-9]{{1,10}})/ *)?(?P<tid>-?[0-9]{{1,10}}) +{_CPU} +{_TIME}: +"
    r"(?:[0-9]{1,20} +)?(?P<name>[\w.-]{1,127}:\w{1,127}): ?(?P<payload>.*)",
    re.DOTALL | re.ASCII,
)
#: `CPU:1 [LOST 12 EVENTS]`, `CPU:0 [12 EVENTS DROPPED]`, `CPU 1 is empty`, `entries-in-buffer/entries-written: 10/25`.
_FTRACE_LOST = re.compile(
    r"(?:[^\s:]{1,128}: *)?CPU:[0-9]{1,5} \[(?:LOST )?(?P<lost>[0-9]{1,19})? ?EVENTS(?: DROPPED)?\]\s*"
    r"|# entries-in-buffer/entries-written: (?P<kept>[0-9]{1,19})/(?P<written>[0-9]{1,19}).*"
)
#: Comments, what trace-cmd says first, stacks, and calls as the function tracer writes them.
_FTRACE_QUIET = re.compile(
    r"#.*|\s*|cpus=[0-9]+|version = [0-9]+|CPU [0-9]+ is empty|trace-cmd: .*| => .*|.{1,256}: +[\w.]{1,256} <-[\w.]+.*",
    re.DOTALL,
)
_PERF_LOST = re.compile(r".*PERF_RECORD_LOST(?:_SAMPLES)? (?:events )?(?:lost )?(?P<lost>[0-9]{1,19}).*", re.DOTALL)
#: Comments, empty lines, stacks, and records that are no events.
_PERF_QUIET = re.compile(r"#.*|\s*|\s+[0-9a-f]{4,16} .*|.*: PERF_RECORD_\w+.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way to write traces.

    `line` matches events, `lost` marks of lost events, `quiet` what else belongs there. `idle` is how the idle task is
    called, whose name is swapper/N, and `nameless` a task whose name was not known.
    """

    name: str
    line: re.Pattern[str]
    lost: re.Pattern[str]
    quiet: re.Pattern[str]
    idle: str
    nameless: str


FTRACE = Dialect("text of ftrace or trace-cmd", _FTRACE, _FTRACE_LOST, _FTRACE_QUIET, "<idle>", "<...>")
PERF = Dialect("text of perf script", _PERF, _PERF_LOST, _PERF_QUIET, "swapper", ":-1")
