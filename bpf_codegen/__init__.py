"""Plan in, BPF C out: a leaf package that knows nothing of rules."""
