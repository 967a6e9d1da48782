"""`ltrules test`: run the tests of rule files."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from pathlib import Path

import click

from ltrules import report
from ltrules.catalog import Catalog, load_catalog
from ltrules.catalog.machine import shipped_catalog
from ltrules.cases import Case
from ltrules.check.tests import check_tests
from ltrules.cli.loading import catalog_option, parse_file, shipped, wants_color
from ltrules.diagnostics import Diagnostic
from ltrules.errors import InputError
from ltrules.parse import parse
from ltrules.resources import resource
from ltrules.testing.files import find_sources
from ltrules.testing.results import Result, run_cases
from ltrules.testing.text import TextReport
