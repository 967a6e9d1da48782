"""The command line: every verb, every kind of wrong argument, and what works without privileges."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import ltrules as package
from ltrules.catalog import load_catalog, machine_catalog
from ltrules.cli import VERBS, ltrules
from ltrules.cli import run as run_module
from ltrules.engines import features
from ltrules.engines.features import Host
from ltrules.errors import EngineUnavailable, InputError, LtrulesError, RuleError
from ltrules.resources import shipped_rules
from ltrules.source import LARGEST_FILE

TOP = Path(__file__).parent.parent
GOOD = "in sched_wakeup key pid, out sched_switch key next_pid, thresh 5ms"
BAD = "in sched_wakup key pid, out sched_switch key next_pid, thresh 5"
WITH_PARAM = f"param limit: duration = 5ms range 1us to 1s\na: {GOOD.replace('5ms', 'limit')}"
NOBODY = 65534


pytestmark = pytest.mark.usefixtures("private_cache")


def call(*arguments: str, text: str | bytes | None = None) -> Result:
    """Run the command line in this process; an error of ours is left in `exception`."""
    result = CliRunner().invoke(ltrules, arguments, input=text, prog_name="ltrules")
    assert result.exception is None or isinstance(result.exception, LtrulesError | SystemExit), result.exc_info
    return result


def refused(*arguments: str, text: str | bytes | None = None) -> str:
    """Return the sentence of an input error."""
    result = call(*arguments, text=text)
    assert isinstance(result.exception, InputError), (result.output, result.exception)
    assert result.exception.exit_status == 2
    assert "\n" not in str(result.exception)
    return str(result.exception)


def program(
    *arguments: str, user: int | None = None, env: dict[str, str] | None = None, text: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a program; it never shows a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "ltrules", *arguments],
        input=text, capture_output=True, timeout=60, user=user, env={**os.environ, **(env or {})}, check=False,
        extra_groups=[] if user else None, cwd="/",
    )  # fmt: skip
    found = subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
    assert "Traceback" not in found.stdout + found.stderr, found.stderr
    return found


# ------------------------------------------------------------------------- help and version
@pytest.mark.parametrize("verb", [*VERBS, "catalog save"])
def test_help_of_every_verb(verb: str) -> None:
    for option in ("--help", "-h"):
        result = call(*verb.split(), option)
        assert result.exit_code == 0
        assert result.output.startswith(f"Usage: ltrules {verb}")
        assert max(map(len, result.output.splitlines())) <= 100


def test_help_names_every_verb() -> None:
    result = call("--help")
    assert result.exit_code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in result.output


def test_version() -> None:
    assert call("--version").output == f"ltrules {package.__version__}\n"
    assert call("-V").output == f"ltrules {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nosuch",), "No such command 'nosuch'"),
        (("check", "--nosuch"), "No such option"),
        (("check", "--format", "xml", "-e", GOOD), "'xml' is not one of 'full', 'concise', 'json', 'github'"),
        (("run", "-e", GOOD, "-d", "5"), "`5`: a duration is a number and a unit (ns us ms s m h)"),
        (("run", "-e", GOOD, "-d", "5q"), "`q` is not a unit"),
        (("run", "-e", GOOD, "-d", "-1s"), "`-1s`"),
        (("run", "-e", GOOD, "-n", "0"), "0 is not in the range x>=1"),
        (("run", "-e", GOOD, "--engine", "magic"), "'magic' is not one of"),
        (("record", "-e", GOOD), "Missing option '-o' / '--output'"),
        (("record", "-e", GOOD, "-o", "x", "--buffer", "5"), "`5`: a size is a number and a unit"),
        (("record", "-e", GOOD, "-o", "x", "--buffer", "1KiB"), "`1KiB`: from 4KiB to 1GiB"),
        (("record", "-e", GOOD, "-o", "x", "--buffer", "2GiB"), "`2GiB`: from 4KiB to 1GiB"),
        (("completion", "tcsh"), "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        (("events", "a", "b"), "unexpected extra argument"),
        (("catalog", "save"), "Missing argument 'FILE'"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert said in result.output


# ------------------------------------------------------------------------------------ check
def test_check_of_right_rules(catalog: str) -> None:
    result = call("check", "-e", GOOD, "--catalog", catalog)
    assert result.exit_code == 0
    assert result.stdout.startswith("1 rule right (catalog: ")
    assert call("check", "-q", "-e", GOOD, "--catalog", catalog).output == ""


def test_check_of_wrong_rules(catalog: str) -> None:
    result = call("check", "-e", BAD, "--catalog", catalog)
    assert result.exit_code == 1
    assert "error[LT201]: there is no event `sched_wakup`" in result.stdout
    assert "did you mean `sched_wakeup`?" in result.stdout
    assert "error[LT103]: `5` needs a unit" in result.stdout
    assert result.stderr.startswith("2 errors (catalog: ")


def test_mistakes_of_text_and_meaning_are_reported_together(catalog: str) -> None:
    result = call("check", "--format", "concise", "-e", "const = 5", "-e", BAD, "--catalog", catalog)
    assert re.findall(r"error (LT\d+)", result.stdout) == ["LT101", "LT201", "LT103"]


def test_check_formats(catalog: str) -> None:
    for form in ("json", "github", "concise"):
        result = call("check", "--format", form, "-e", BAD, "--catalog", catalog)
        assert result.exit_code == 1
        assert result.stderr == ""
        assert "LT201" in result.stdout
    found = json.loads(call("check", "--format", "json", "-e", BAD, "--catalog", catalog).stdout)
    assert [d["code"] for d in found["diagnostics"]] == ["LT201", "LT103"]
    assert json.loads(call("check", "--format", "json", "-e", GOOD, "--catalog", catalog).stdout)["diagnostics"] == []
    assert call("check", "--format", "github", "-e", GOOD, "--catalog", catalog).output == ""


def test_files_and_expressions_together(tmp_path: Path, catalog: str) -> None:
    path = tmp_path / "x.lt"
    path.write_text(f"first: {GOOD}\n")
    result = call("check", str(path), "-e", f"second: {GOOD}", "-e", GOOD, "--catalog", catalog)
    assert result.stdout.startswith("3 rules right")


def test_rules_from_standard_input(catalog: str) -> None:
    assert call("check", "-", "--catalog", catalog, text=GOOD).stdout.startswith("1 rule right")
    result = call("check", "-", "--catalog", catalog, text="in")
    assert result.exit_code == 1
    assert " --> <stdin>:1:" in result.stdout
    assert refused("check", "-", text=b"in a\xff") == "<stdin> is not UTF-8 text: byte 4, on line 1, cannot be read"
    assert "larger than" in refused("check", "-", text=b"#" * (LARGEST_FILE + 1))


@pytest.mark.parametrize("name", [p.stem for p in shipped_rules()])
def test_shipped_rules_are_right(name: str, catalog: str) -> None:
    paths = str(TOP / "rules" / f"{name}.lt"), str(TOP / "rules" / f"{name}_test.lt")
    result = call("check", f"std:{name}", *paths, "--catalog", catalog)
    assert result.exit_code == 0, result.output
    assert "right" in result.stdout


# ---------------------------------------------------------------------------------- bad input
def test_shipped_rules_that_do_not_exist() -> None:
    said = refused("check", "std:nosuch")
    assert said.startswith("there are no shipped rules `nosuch`; there are: block, ")
    assert "no shipped rules" in refused("check", "std:../secret")
    assert "no shipped rules" in refused("check", "std:block_test")


def test_no_rules_at_all(tmp_path: Path, catalog: str) -> None:
    assert refused("run").startswith("no rules: name a file, or give a rule with -e")
    (tmp_path / "empty.lt").write_text("# nothing\n")
    assert refused("show", str(tmp_path / "empty.lt"), "--catalog", catalog) == "there is no rule in what was given"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert refused("check", str(tmp_path)) == f"{tmp_path} is a directory, not a rule file"
    missing = tmp_path / "missing.lt"
    assert refused("check", str(missing)) == f"cannot read {missing}: No such file or directory"
    binary = tmp_path / "binary.lt"
    binary.write_bytes(b"#\n\xff\xfe")
    assert refused("check", str(binary)) == f"{binary} is not UTF-8 text: byte 2, on line 2, cannot be read"
    huge = tmp_path / "huge.lt"
    huge.write_bytes(b"# x\n" * (10 << 18))
    assert refused("check", str(huge)) == f"{huge} is larger than a rule file may be (1 MiB)"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("limit", "-p limit: write NAME=VALUE, as `-p limit=5ms`"),
        ("=5", "-p =5: write NAME=VALUE, as `-p limit=5ms`"),
        ("limmit=5ms", "-p limmit: no rule has this param; did you mean `limit`?"),
        ("b.limit=5ms", "-p b.limit: no rule has this param; did you mean `a.limit`?"),
        ("zzz=1", "-p zzz: no rule has this param (they have: a.limit, limit)"),
    ],
)
def test_unknown_settings(setting: str, said: str, catalog: str) -> None:
    assert refused("check", "-e", WITH_PARAM, "-p", setting, "--catalog", catalog) == said


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("limit=5", "-p limit=5: a duration is a number and a unit (ns us ms s m h)"),
        ("a.limit=xyz", "-p a.limit=xyz: a duration is a number"),
        ("limit=2s", "is outside 1us to 1s"),
    ],
)
def test_settings_with_a_wrong_value(setting: str, said: str, catalog: str) -> None:
    result = call("check", "-e", WITH_PARAM, "-p", setting, "--catalog", catalog)
    assert result.exit_code == 1
    assert said in result.stdout


def test_settings_reach_the_rule(catalog: str) -> None:
    result = call("explain", "-e", WITH_PARAM, "-p", "limit=7ms", "--catalog", catalog)
    assert "limit = 7ms" in result.stdout
    result = call("explain", "-e", WITH_PARAM, "-p", "limit=7ms", "-p", "a.limit=8ms", "--catalog", catalog)
    assert "limit = 8ms" in result.stdout


def test_command_that_cannot_run(monkeypatch: pytest.MonkeyPatch, catalog: str) -> None:
    monkeypatch.setattr(run_module.LibbpfEngine, "unavailable", lambda self: None)
    for command, said in (
        ("nosuchcommand x", "cannot run nosuchcommand: there is no such program"),
        ("/usr", "cannot run /usr: there is no such program"),
        ("'", "-c ': no closing quotation"),
        (" ", "-c needs a command"),
    ):
        assert refused("run", "-e", GOOD, "-c", command, "--catalog", catalog) == said


def test_alerts_and_events_do_not_share_standard_output(monkeypatch: pytest.MonkeyPatch, catalog: str) -> None:
    monkeypatch.setattr(run_module.LibbpfEngine, "unavailable", lambda self: None)
    said = refused("run", "-e", GOOD, "--record", "-", "--catalog", catalog)
    assert said == "--record needs a file: alerts go to standard output"


def test_run_refuses_wrong_rules_before_all_else(catalog: str) -> None:
    result = call("run", "-e", BAD, "--catalog", catalog)
    assert isinstance(result.exception, RuleError)
    assert result.exception.exit_status == 1
    assert "LT201" in result.stderr
    assert result.stdout == ""


# ------------------------------------------------------------------------------ other verbs
def test_show(catalog: str) -> None:
    code = call("show", "-e", GOOD, "--catalog", catalog).stdout
    assert 'SEC("tp' in code and "int on_sched_switch" in code
    assert call("show", "--c", "-e", GOOD, "--catalog", catalog).stdout == code
    assert "Plan" in call("show", "--plan", "-e", GOOD, "--catalog", catalog).stdout
    tree = call("show", "--syntax", "-e", "x: in a key b, thresh 5us").stdout
    assert tree.splitlines()[0] == "Rule name='x'"
    assert "Number value=5000 unit='duration'" in tree
    broken = call("show", "--syntax", "-e", "in")
    assert isinstance(broken.exception, RuleError)
    assert "LT101" in broken.stderr


def test_explain(catalog: str) -> None:
    text = call("explain", "-e", f"x: {GOOD}, timeout 1s", "--catalog", catalog).stdout
    assert text.startswith("x: ")
    for part in (
        "sched:sched_switch (out)",
        "sched:sched_wakeup (in)",
        "pairing table",
        "    1s, then the measurement",
    ):
        assert part in text
    named = call("explain", "wakeup", "--catalog", catalog).stdout
    assert named.startswith("wakeup: ")
    assert "rt_wakeup:" not in named
    assert refused("explain", "nosuch") == "`nosuch` is neither a file nor a shipped rule"


def test_events(catalog: str) -> None:
    full = call("events", "sched_switch", "--catalog", catalog)
    assert full.exit_code == 0
    assert full.stdout.splitlines()[0] == "sched:sched_switch"
    assert "next_pid" in full.stdout
    assert call("events", "sched:sched_switch", "--catalog", catalog).stdout == full.stdout
    listing = call("events", "--catalog", catalog).stdout.splitlines()
    assert "sched:sched_wakeup" in listing
    assert all(not line.startswith(" ") for line in listing)
    assert call("events", "sched:*switch", "--catalog", catalog).stdout == full.stdout
    rows = [json.loads(row) for row in call("events", "softirq", "--json", "--catalog", catalog).stdout.splitlines()]
    assert {"irq:softirq_entry", "irq:softirq_exit"} <= {row["event"] for row in rows}
    assert rows[0]["fields"][0]["name"] == "vec"


def test_events_that_do_not_exist(catalog: str) -> None:
    assert refused("events", "sched_swich", "--catalog", catalog) == (
        "no event matches `sched_swich`; did you mean `sched_switch`?"
    )
    assert refused("events", "zzzzzz", "--catalog", catalog) == "no event matches `zzzzzz`"


def test_saved_catalog(tmp_path: Path) -> None:
    path = tmp_path / "c.json.gz"
    result = call("catalog", "save", str(path))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{path}: ")
    assert set(load_catalog(path).names()) == set(machine_catalog().names())
    assert call("check", "-e", GOOD, "--catalog", str(path)).exit_code == 0
    assert "cannot write" in refused("catalog", "save", str(tmp_path / "none" / "x"))


def test_catalogs_that_are_none(tmp_path: Path) -> None:
    assert "No such file" in refused("check", "-e", GOOD, "--catalog", str(tmp_path / "missing"))
    assert "cannot read" in refused("events", "--catalog", str(tmp_path))
    path = tmp_path / "x.json"
    path.write_text("{}")
    assert str(path) in refused("events", "--catalog", str(path))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    result = call("completion", shell)
    assert result.exit_code == 0
    assert "_LTRULES_COMPLETE" in result.stdout


def test_completion_completes() -> None:
    env = {"_LTRULES_COMPLETE": "bash_complete", "COMP_WORDS": "ltrules ex", "COMP_CWORD": "1"}
    code = "from ltrules.cli import main; import sys; sys.argv[0] = 'ltrules'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "plain,explain\n"


def test_doctor() -> None:
    result = call("doctor", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == (0 if found["can_run"] else 3)
    assert {"btf", "clang", "libbpf"} <= {f["name"] for f in found["features"]}
    assert len(call("doctor").stdout.splitlines()) >= len(found["features"])


# ----------------------------------------------------------------------- trouble with engines
def test_engine_that_cannot_run_is_one_sentence(monkeypatch: pytest.MonkeyPatch, catalog: str, tmp_path: Path) -> None:
    status = tmp_path / "proc" / "self"
    status.mkdir(parents=True)
    (status / "status").write_text("CapEff:\t000001ffffffffff\n")
    monkeypatch.setattr(features, "Host", lambda: Host(root=tmp_path))
    result = call("run", "-e", GOOD, "--catalog", catalog)
    assert isinstance(result.exception, EngineUnavailable)
    assert result.exception.exit_status == 3
    assert str(result.exception) == features.NEEDS_BTF
    assert result.output == ""


@pytest.fixture(scope="module")
def open_home() -> dict[str, str]:
    """An environment for a user who owns nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if subprocess.run(["test", "-r", TOP / "ltrules" / "cli"], user=NOBODY, extra_groups=[], check=False).returncode:
        pytest.skip(f"other users cannot read {TOP}")
    return {"HOME": "/nonexistent", "XDG_CACHE_HOME": "", "PYTHONPATH": str(TOP)}


def test_run_without_privileges_says_what_is_missing(open_home: dict[str, str]) -> None:
    for form in ("text", "json"):
        done = program("run", "-e", GOOD, "--format", form, "-d", "1s", user=NOBODY, env=open_home)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == f"ltrules: {features.NEEDS_PRIVILEGE}\n"
    path = "/tmp/not-made-by-ltrules.jsonl"  # noqa: S108 - nothing is written there
    done = program("record", "-e", GOOD, "-o", path, "-d", "1s", user=NOBODY, env=open_home)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", f"ltrules: {features.NEEDS_PRIVILEGE}\n")
    assert not Path(path).exists()
    for verb in ("check", "show", "events"):
        assert f"`ltrules {verb}`" in features.NEEDS_PRIVILEGE


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "-e", GOOD),
        ("check", "std:block"),
        ("show", "-e", GOOD),
        ("events", "sched_switch"),
        ("explain", "-e", GOOD),
        ("test", "std:irq"),
    ],
    ids=lambda a: a[0],
)
def test_what_works_without_privileges(arguments: tuple[str, ...], open_home: dict[str, str]) -> None:
    done = program(*arguments, user=NOBODY, env=open_home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_doctor_without_privileges(open_home: dict[str, str]) -> None:
    done = program("doctor", user=NOBODY, env=open_home)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == features.NEEDS_PRIVILEGE


def test_unreadable_file_without_privileges(tmp_path: Path, open_home: dict[str, str]) -> None:
    path = tmp_path / "secret.lt"
    path.write_text(GOOD)
    path.chmod(0o600)
    done = program("check", str(path), user=NOBODY, env=open_home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"ltrules: cannot read {path}: Permission denied\n"


# ----------------------------------------------------------------------------- as a program
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("check", "-e", GOOD), 0, ""),
        (("check", "-e", BAD), 1, "2 errors"),
        (("run", "-e", BAD), 1, "ltrules: 2 errors in the rules"),
        (("check", "/nonexistent/x.lt"), 2, "ltrules: cannot read /nonexistent/x.lt: No such file or directory"),
        (("nosuch",), 2, "No such command"),
    ],
)
def test_exit_status(arguments: tuple[str, ...], status: int, said: str) -> None:
    done = program(*arguments)
    assert done.returncode == status
    assert said in done.stderr


@pytest.mark.parametrize(
    ("encoding", "arguments"),
    [
        ("utf-8", ("check", "-e", "in \udcff key pid")),
        ("ascii", ("check", "-e", "in \udcff key pid")),
        ("utf-8", ("check", "/nonexistent/\udcff.lt")),
        ("ascii", ("events", "\udcff")),
        ("latin-1", ("check", "-e", GOOD, "-p", "\udcff=1")),
        ("ascii", ("check", "-e", 'in a key x where y == "\x1b[31m\u65e5\u672c"\x07, out b')),
    ],
)
def test_text_that_no_terminal_can_show(encoding: str, arguments: tuple[str, ...]) -> None:
    done = program(*arguments, env={"PYTHONIOENCODING": encoding})
    assert done.returncode in (1, 2)
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout + done.stderr


def test_a_reader_that_leaves_is_no_trouble() -> None:
    command = f"{sys.executable} -m ltrules events | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False, cwd=TOP)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.parametrize(("variable", "painted"), [("", True), ("NO_COLOR", False)])
def test_colour_on_a_terminal(variable: str, painted: bool, catalog: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    if variable:
        environment[variable] = "1"
    here, there = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "ltrules", "check", "-e", "in", "--catalog", catalog],
            stdout=there, stderr=there, env=environment, timeout=30, check=False, cwd=TOP,
        )  # fmt: skip
        shown = os.read(here, 1 << 16).decode()
    finally:
        os.close(here)
        os.close(there)
    assert "LT101" in shown
    assert ("\x1b[31m" in shown) is painted


def test_every_command_is_known_to_click() -> None:
    context = click.Context(ltrules)
    assert ltrules.list_commands(context) == list(VERBS)
    assert all(isinstance(ltrules.get_command(context, verb), click.Command) for verb in VERBS)
    assert ltrules.get_command(context, "nosuch") is None
