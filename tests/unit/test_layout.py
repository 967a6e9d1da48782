"""What user space reads lies where C puts it: sizes, offsets and buckets, as clang sees them."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf_codegen import INCLUDE, layout, plan, render
from bpf_codegen.scope import rule_scopes
from golden import CASES, case_names, case_plan
from ltrules.engines.compiler import FLAGS, find_clang
from ltrules.engines.decode import bucket_bounds

HEAD = ("rule", "kind", "opened", "closed", "latency", "limit", "suppressed", "cpu", "flags")
LOG2 = plan.Histogram("log2", plan.Latency(), plan.Group("all", (), ()))


def member_asserts(sort: str, path: str, members: tuple[plan.Member, ...], position: int) -> Iterator[str]:
    """Iterate over assertions on the offset and size of members that start at a position."""
    for member in members:
        yield f"__builtin_offsetof({sort}, {path}{member.name}) == {position}"
        yield f"sizeof((({sort} *)0)->{path}{member.name}) == {member.size}"
        position += member.size


def asserts(planned: plan.Plan) -> Iterator[str]:
    """Iterate over what must hold in the C of a plan for `layout` to be right."""
    yield f"sizeof(struct head) == {struct.calcsize('=' + layout.HEAD)}"
    yield f"sizeof(struct counters) == {struct.calcsize(layout.counters_format())}"
    yield f"sizeof(struct statistic) == {struct.calcsize(layout.STATISTIC)}"
    for i, name in enumerate(HEAD):
        yield f"__builtin_offsetof(struct head, {name}) == {struct.calcsize('=' + layout.HEAD[:i])}"
    for i, name in enumerate(plan.COUNTERS):
        yield f"__builtin_offsetof(struct counters, {name}) == {8 * i}"
    for name, offset in layout.control_offsets(planned).items():
        yield f"__builtin_offsetof(struct control, {name}) == {offset}"
    yield f"sizeof(struct pace) == {struct.calcsize(layout.PACE)}"
    for scope in rule_scopes(planned):
        rule = scope.rule
        if rule.sets:
            yield f"sizeof(struct {rule.name}_set) == {layout.set_size(rule)}"
            yield f"{layout.set_size(rule)} % 64 == 0"  # so that the states of a set lie in one cache line
        start = struct.calcsize("=" + layout.HEAD)
        sort = f"struct {rule.name}_record"
        if rule.timeout is not None or rule.thresh is not None:
            yield f"sizeof({sort}) == {struct.calcsize(layout.record_format(rule))}"
            for part, members in (("key", rule.key), ("in", rule.saved), ("out", rule.closing)):
                yield from member_asserts(sort, f"{part}.", members, start)
                start += sum(m.size for m in members)
        for histogram in rule.histograms:
            size = struct.calcsize(layout.histogram_format(histogram))
            yield f"sizeof(struct histogram_{histogram.buckets}) == {size}"
        for group in rule.groups:
            size = struct.calcsize("=" + layout.member_format(group.members))
            yield f"sizeof(struct {scope.group_map(group)}_key) == {size}"


@pytest.mark.parametrize("case", case_names())
def test_formats_are_those_of_the_generated_c(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clang = find_clang()
    if clang is None:
        pytest.skip("clang is not installed")
    monkeypatch.chdir(CASES / case)
    planned, _ = case_plan(CASES / case)
    if planned is None:
        return
    text = render(planned) + "".join(f'_Static_assert({each}, "");\n' for each in asserts(planned))
    done = subprocess.run(
        [clang, *FLAGS, "-I", INCLUDE, "-fsyntax-only", "-x", "c", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def bucket_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[int]], list[int]]:
    """The header's `bucket_of`, compiled for this machine."""
    clang = find_clang()
    if clang is None:
        pytest.skip("clang is not installed")
    directory = tmp_path_factory.mktemp("buckets")
    source, binary = directory / "buckets.c", directory / "buckets"
    source.write_text(
        "#include <stdio.h>\n"
        '#include "ltrules.bpf.h"\n'
        'int main(void) { u64 v; while (scanf("%llu", &v) == 1) printf("%u\\n", bucket_of(v)); return 0; }\n'
    )
    subprocess.run([clang, "-O1", "-w", "-ffreestanding", "-I", INCLUDE, source, "-o", binary], check=True)

    def run(values: list[int]) -> list[int]:
        done = subprocess.run([binary], input="\n".join(map(str, values)), capture_output=True, text=True, check=True)
        return [int(line) for line in done.stdout.split()]

    return run


@given(values=st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 1 << 45) | st.integers(0, 1 << 20), min_size=20))
@settings(max_examples=40, deadline=None)
def test_bucket_of_a_value_holds_it(bucket_of: Callable[[list[int]], list[int]], values: list[int]) -> None:
    for value, index in zip(values, bucket_of(values), strict=True):
        low, high = bucket_bounds(LOG2, index)
        assert index < plan.BUCKETS
        assert low <= value < high or (index == plan.BUCKETS - 1 and value >= high)


def test_bucket_edges(bucket_of: Callable[[list[int]], list[int]]) -> None:
    bounds = [bucket_bounds(LOG2, i) for i in range(plan.BUCKETS)]
    assert bounds[0] == (0, 1)
    assert all(here[1] == after[0] for here, after in pairwise(bounds))
    assert bounds[-1][1] == 1 << (plan.TOP_EXPONENT + 1)
    assert bucket_of([low for low, _ in bounds]) == list(range(plan.BUCKETS))
    assert bucket_of([high - 1 for _, high in bounds]) == list(range(plan.BUCKETS))
    assert all((high - low) * plan.SUB_BUCKETS <= max(low, plan.SUB_BUCKETS) for low, high in bounds)


def test_linear_buckets_have_open_ends() -> None:
    linear = plan.Histogram("linear", plan.Latency(), plan.Group("all", (), ()), low=-8, step=8, buckets=4)
    assert [bucket_bounds(linear, i) for i in range(4)] == [(-16, -8), (-8, 0), (0, 8), (8, 16)]


def test_headers_name_what_layout_counts() -> None:
    header = Path(INCLUDE / "ltrules.bpf.h").read_text()
    assert f"KIND_ALERT = {layout.KIND_ALERT}, KIND_TIMEOUT = {layout.KIND_TIMEOUT}" in header
    assert f"FLAG_LATE = {layout.FLAG_LATE}, OUTCOME_SHIFT = {layout.OUTCOME_SHIFT}" in header
    assert f"#define WAYS {plan.WAYS}\n" in header


def test_rules_share_maps_and_not_what_is_in_them() -> None:
    """Whatever the rules are: no entry of a shared map belongs to two things."""
    for case in case_names():
        planned, _ = case_plan(CASES / case)
        if planned is None:
            continue
        found = layout.places(planned)
        taken: set[tuple[str, int]] = set()
        for kind in (found.tables, found.histograms, found.statistics, found.rates, found.groups):
            for place in kind.values():
                entries = {(place.map, place.base + i) for i in range(place.count)}
                assert not entries & taken
                taken |= entries
                assert place.base + place.count <= found.sizes()[place.map]
