"""Which tracepoints exist and the fields that they carry.

A catalog is a value that is asked, never enumerated unless someone lists it: reading 2,300 format files takes longer
than everything else `ltrules run` does. It comes from this machine (`machine.py`) or from a saved file (`saved.py`).
"""

from ltrules.catalog.events import Catalog, Event, Field, Shape
from ltrules.catalog.machine import machine_catalog
from ltrules.catalog.saved import load_catalog, save_catalog

__all__ = ["Catalog", "Event", "Field", "Shape", "load_catalog", "machine_catalog", "save_catalog"]
