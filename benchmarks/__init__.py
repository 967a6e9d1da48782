"""Measurements of ltrules beside its peers; run with `python -m benchmarks`. Ratios count, not times."""
