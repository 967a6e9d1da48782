"""Catalogs in files: what is saved is what is loaded, always the same bytes, and nothing damaged passes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrules.catalog.events import Catalog, Event, Field, Shape
from ltrules.catalog.saved import load_catalog, save_catalog
from ltrules.errors import InputError

PID = Field("pid", "pid_t", Shape.INT, 24, 4, signed=True)
COMM = Field("comm", "char[16]", Shape.STRING, 8, 16, element_size=1)
NAME = Field("name", "__data_loc char[]", Shape.DYNAMIC_STRING, 12, 4)
VEC = Field("vec", "unsigned int", Shape.INT, 8, 4, symbols={0: "HI", 3: "NET_RX", -1: "none"})
WAKEUP = Event(
    "sched",
    "sched_wakeup",
    {"comm": COMM, "pid": PID},
    "trace_event_raw_sched_wakeup_template",
    ("struct task_struct *",),
    print_text='"comm=%s pid=%d", REC->comm, REC->pid',
)
WAKING = Event("sched", "sched_waking", WAKEUP.fields, WAKEUP.record, ("struct task_struct *",), WAKEUP.print_text)
SOFTIRQ = Event("irq", "softirq_entry", {"vec": VEC}, None, None)
EMPTY = Event("my-driver", "sched_waking", {}, None, ())
EVENTS = {event.full_name: event for event in (SOFTIRQ, EMPTY, WAKEUP, WAKING)}


class Fixed:
    """A catalog of the four events above."""

    description = "this machine, 6.1.0-test"
    machine = "riscv64"

    def find(self, name: str) -> tuple[Event, ...]:
        return tuple(event for event in EVENTS.values() if name in (event.name, event.full_name))

    def names(self) -> Iterator[str]:
        return iter(sorted(EVENTS))

    def has_path(self, struct: str, path: str) -> bool | None:
        return None if struct == "unknown" else path == "mm.pgd"


PATHS = [("task_struct", "mm.pgd"), ("task_struct", "mm.x"), ("unknown", "x")]


@pytest.fixture(params=["c.json", "c.json.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def saved(path: Path) -> Catalog:
    save_catalog(Fixed(), path, PATHS)
    return load_catalog(path)


def test_what_was_saved_is_loaded(path: Path) -> None:
    catalog = saved(path)
    assert list(catalog.names()) == sorted(EVENTS)
    assert {name: catalog.find(name) for name in EVENTS} == {name: (event,) for name, event in EVENTS.items()}
    assert (catalog.description, catalog.machine) == ("saved, 6.1.0-test", "riscv64")


def test_a_bare_name_finds_it_in_every_category(path: Path) -> None:
    catalog = saved(path)
    assert catalog.find("sched_waking") == (EMPTY, WAKING)
    assert catalog.find("sched_wakeup") == (WAKEUP,)
    assert catalog.find("nothing") == catalog.find("sched:nothing") == ()


def test_paths_are_true_false_or_not_known(path: Path) -> None:
    catalog = saved(path)
    assert catalog.has_path("task_struct", "mm.pgd") is True
    assert catalog.has_path("task_struct", "mm.x") is False
    assert catalog.has_path("task_struct", "other") is None
    assert catalog.has_path("unknown", "x") is None


def test_the_same_catalog_gives_the_same_bytes(path: Path) -> None:
    save_catalog(Fixed(), path, PATHS)
    first = path.read_bytes()
    save_catalog(load_catalog(path), path, reversed(PATHS))
    assert path.read_bytes() == first


def test_events_of_a_class_share_their_fields(tmp_path: Path) -> None:
    save_catalog(Fixed(), tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["events"]["sched:sched_wakeup"]["layout"] == content["events"]["sched:sched_waking"]["layout"]
    assert len(content["layouts"]) == 3


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*/nowhere/c\.json"):
        save_catalog(Fixed(), tmp_path / "nowhere" / "c.json")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[]", "not a saved catalog"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"ltrules_catalog": 2}', "version 2"),
        (b'{"ltrules_catalog": 1}', "`kernel`"),
        (b'{"ltrules_catalog": 1, "kernel": "\\u001b[2J", "machine": "", "layouts": [], "events": {}}', "not a name"),
        (b'{"ltrules_catalog": 1, "kernel": "", "machine": "", "layouts": [], "events": {"x y": {}}}', "'x y'"),
        (gzip.compress(b"{}" * 500)[:-9], "cut short"),
        (b"\x1f\x8bnonsense", "damaged"),
        (gzip.compress(b"x")[:10] + b"\xff" * 20, "damaged"),
        (gzip.compress(b" " * (65 << 20), 1), "refused"),
    ],
)
def test_what_is_no_catalog_is_refused_in_words(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_catalog(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*nothing: No such file"):
        load_catalog(tmp_path / "nothing")


def frame(event: Any, field: Any) -> dict[str, Any]:
    events = {"a:b": event}
    return {
        "ltrules_catalog": 1,
        "kernel": "k",
        "machine": "m",
        "layouts": [[field]],
        "prints": ['""', "\0"],
        "events": events,
    }


GOOD_FIELD = {"name": "x", "type": "int", "offset": 8, "size": 4}


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({}, GOOD_FIELD),
        ([], GOOD_FIELD),
        (7, GOOD_FIELD),
        ({"layout": 1}, GOOD_FIELD),
        ({"layout": -1}, GOOD_FIELD),
        ({"layout": True}, GOOD_FIELD),
        ({"layout": 0, "record": "x; system()"}, GOOD_FIELD),
        ({"layout": 0, "arguments": "int"}, GOOD_FIELD),
        ({"layout": 0, "arguments": ['int"']}, GOOD_FIELD),
        ({"layout": 0, "print": 2}, GOOD_FIELD),
        ({"layout": 0, "print": "0"}, GOOD_FIELD),
        ({"layout": 0, "print": 1}, GOOD_FIELD),
        ({"layout": 0}, {}),
        ({"layout": 0}, "x"),
        ({"layout": 0}, {**GOOD_FIELD, "name": "a b"}),
        ({"layout": 0}, {**GOOD_FIELD, "type": "int; int y"}),
        ({"layout": 0}, {**GOOD_FIELD, "shape": "round"}),
        ({"layout": 0}, {**GOOD_FIELD, "shape": []}),
        ({"layout": 0}, {**GOOD_FIELD, "offset": 1e3}),
        ({"layout": 0}, {**GOOD_FIELD, "size": 1 << 40}),
        ({"layout": 0}, {**GOOD_FIELD, "signed": "yes"}),
        ({"layout": 0}, {**GOOD_FIELD, "symbols": {"a": "A"}}),
        ({"layout": 0}, {**GOOD_FIELD, "symbols": {"1": 1}}),
        ({"layout": 0}, {**GOOD_FIELD, "symbols": []}),
    ],
)
def test_a_damaged_event_is_refused_when_it_is_asked_for(event: Any, field: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(frame(event, field)))
    catalog = load_catalog(path)
    with pytest.raises(InputError, match="the event a:b is "):
        catalog.find("a:b")


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_changed_files_give_a_catalog_or_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.json"
    save_catalog(Fixed(), path, PATHS)
    text = path.read_bytes()
    at = data.draw(st.integers(0, len(text)))
    path.write_bytes(text[:at] + data.draw(st.binary(max_size=4)) + text[at + data.draw(st.integers(0, 8)) :])
    try:
        catalog = load_catalog(path)
        for name in catalog.names():
            catalog.find(name)
        catalog.has_path("task_struct", "mm.pgd")
    except InputError as error:
        assert str(path) in str(error)
