"""Plan in, BPF C out: a leaf package that knows nothing of rules, parsers or engines."""

from pathlib import Path

from bpf_codegen.render import render

#: The directory of the headers that generated programs include.
INCLUDE = Path(__file__).parent / "include"

__all__ = ["INCLUDE", "render"]
