"""Results as JUnit XML, which continuous integration reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from ltrules.report import render
from ltrules.testing.results import Result
from ltrules.testing.suites import Loaded
from ltrules.testing.text import failure_lines

#: Characters that XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(files: Sequence[tuple[Loaded, Sequence[Result]]]) -> str:
    """Return the XML document; a file with mistakes has a case of its own for them."""
    top = ElementTree.Element("testsuites", name="ltrules")
    for loaded, results in files:
        name = loaded.source.name
        cases = [_case(result) for result in results]
        if not loaded.sound:
            cases.append(_mistakes(loaded))
        suite = ElementTree.SubElement(
            top,
            "testsuite",
            name=_clean(name),
            tests=str(len(cases)),
            failures=str(sum(case.find("failure") is not None for case in cases)),
            errors=str(sum(case.find("error") is not None for case in cases)),
            skipped=str(sum(case.find("skipped") is not None for case in cases)),
        )
        suite.extend(cases)
    ElementTree.indent(top)
    return ElementTree.tostring(top, encoding="unicode", xml_declaration=True) + "\n"


def _case(result: Result) -> ElementTree.Element:
    case = result.case
    rules = ", ".join(rule.name for rule in case.rules.rules)
    element = ElementTree.Element(
        "testcase", name=_clean(case.title), classname=_clean(rules), file=_clean(case.span.source.name),
        line=str(case.span.line),
    )  # fmt: skip
    match result.outcome:
        case "error":
            ElementTree.SubElement(element, "error", message=_clean(str(result.trouble)))
        case "todo":
            ElementTree.SubElement(element, "skipped", message="marked `# ltrules: todo`, and fails")
        case "failed" | "mended":
            unmet = sum(not verdict.passed for verdict in result.verdicts)
            message = f"{unmet} of {len(result.verdicts)} expectations not met" if unmet else "marked todo, and passes"
            text = "\n".join(failure_lines(result))
            ElementTree.SubElement(element, "failure", message=message).text = _clean(text)
    return element


def _mistakes(loaded: Loaded) -> ElementTree.Element:
    element = ElementTree.Element("testcase", name="(mistakes in the text)", classname="check")
    error = ElementTree.SubElement(element, "error", message="the file has mistakes")
    error.text = _clean(render(loaded.diagnostics))
    return element


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
