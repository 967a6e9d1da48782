"""Declarative kernel latency rules: this event opens, that event closes, tell me when it took too long."""

__version__ = "0.1.0"
