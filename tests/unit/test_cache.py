"""The cache is used only where nobody else can write, and losing it is never an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ltrules import cache


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tmp_path.chmod(0o700)
    return tmp_path


def test_what_is_written_is_read(home: Path) -> None:
    assert cache.read("x") is None
    cache.write("x", b"one")
    cache.write("x", b"two")
    assert cache.read("x") == b"two"
    entry = home / "ltrules" / "x"
    assert entry.stat().st_mode & 0o777 == 0o600
    assert entry.parent.stat().st_mode & 0o777 == 0o700
    assert list(entry.parent.iterdir()) == [entry]


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_directory_that_others_write_is_not_used(home: Path, mode: int) -> None:
    (home / "ltrules").mkdir()
    (home / "ltrules").chmod(mode)
    assert cache.cache_directory() is None
    cache.write("x", b"one")
    assert list((home / "ltrules").iterdir()) == []


def test_a_directory_under_one_that_others_write_is_not_used(home: Path) -> None:
    home.chmod(0o770)
    assert cache.cache_directory() is None


def test_a_link_is_not_used(home: Path) -> None:
    (home / "real").mkdir(mode=0o700)
    (home / "ltrules").symlink_to(home / "real")
    assert cache.cache_directory() is None


def test_an_entry_that_is_a_link_or_open_to_others_is_not_read(home: Path) -> None:
    cache.write("x", b"one")
    (home / "ltrules" / "y").symlink_to(home / "ltrules" / "x")
    assert cache.read("y") is None
    (home / "ltrules" / "x").chmod(0o622)
    assert cache.read("x") is None


def test_no_place_for_a_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.cache_directory() is None
    cache.write("x", b"one")
    assert cache.read("x") is None


def test_a_relative_place_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert cache.cache_directory() == tmp_path / ".cache" / "ltrules"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_another_user_owns_is_not_used(home: Path) -> None:
    cache.write("x", b"one")
    os.chown(home / "ltrules" / "x", 65534, -1)
    assert cache.read("x") is None
    os.chown(home / "ltrules", 65534, -1)
    assert cache.cache_directory() is None


def test_a_pipe_in_the_place_of_an_entry_holds_nobody(home: Path) -> None:
    cache.write("x", b"one")
    os.mkfifo(home / "ltrules" / "pipe", 0o600)
    (home / "ltrules" / "directory").mkdir()
    assert cache.read("pipe") is None
    assert cache.read("directory") is None


def test_what_cannot_be_kept_leaves_nothing(home: Path) -> None:
    cache.write("x", b"one")
    (home / "ltrules" / "y").mkdir()
    cache.write("y", b"two")
    assert sorted(p.name for p in (home / "ltrules").iterdir()) == ["x", "y"]
