"""A recording from a stranger: links and things that are no files, in every place and for everything that opens one."""

import os
import shutil
import socket
import stat
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest
import zstandard
from _pytest.mark import ParameterSet
from storing import fast

import pmlive as pm
from pmlive.cli import main
from pmlive.errors import StoreError
from pmlive.pipeline.journal import rebuild
from pmlive.records import Record
from pmlive.store import Recorder, compact, read_manifest, records
from pmlive.store.log import encode_block

_SEALED = 60

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need a privilege there, and there are no FIFOs")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a recording with sealed files, one that is merged, and a log."""
    folder = tmp_path_factory.mktemp("made") / "night"
    given = list(islice(records(pm.sample()), _SEALED))
    for part in (given, [msgspec.structs.replace(one, seq=one.seq + 1_000_000) for one in given]):
        recorder = Recorder(folder, rebuild=rebuild, options=fast(merge_files=0))
        for item in part:
            recorder.log(item)
        for table, frame in rebuild(part).items():
            if frame.height and table in recorder.status().rows:
                recorder.rows(table, frame)
        recorder.close()
    compact(folder, grace=3600)
    log = [msgspec.structs.replace(one, seq=one.seq + 2_000_000) for one in given]
    (folder / "wal/000003.wal").write_bytes(encode_block(log, number=0, compressor=zstandard.ZstdCompressor()))
    return folder


def _file(folder: Path, pattern: str) -> Path:
    return next(iter(sorted(folder.glob(pattern))))


# Each place in a recording where something of a stranger's may be; those that end in .tmp are not there by themselves.
_PLACES: dict[str, Callable[[Path], Path]] = {
    "manifest": lambda folder: folder / "manifest.json",
    "manifest aside": lambda folder: folder / ".manifest.json.tmp",
    "lock": lambda folder: folder / ".lock",
    "log": lambda folder: folder / "wal",
    "file of the log": lambda folder: folder / "wal/000003.wal",
    "next file of the log": lambda folder: folder / "wal/000004.wal",
    "frames": lambda folder: folder / "raw",
    "day of frames": lambda folder: _file(folder, "raw/date=*"),
    "file of frames": lambda folder: _file(folder, "raw/date=*/*.zst"),
    "frames aside": lambda folder: _file(folder, "raw/date=*") / ".1-00000000-000001.log.zst.tmp",
    "table": lambda folder: folder / "book_deltas",
    "day of a table": lambda folder: _file(folder, "book_deltas/date=*"),
    "replaced file of a table": lambda folder: _file(folder, "book_deltas/date=*/*.parquet"),
    "merged": lambda folder: folder / "merged",
    "merged table": lambda folder: folder / "merged/book_deltas",
    "merged day": lambda folder: _file(folder, "merged/book_deltas/date=*"),
    "merged file": lambda folder: _file(folder, "merged/book_deltas/date=*/*.parquet"),
    "table aside": lambda folder: _file(folder, "book_deltas/date=*") / ".1-00000000-000001.parquet.tmp",
}


def _to_the_same(place: Path, outside: Path) -> None:
    """Link to what would be right, only that it is somebody else's."""
    same = outside / "mine" / place.relative_to(_root(place))
    if not same.exists():
        same.write_text("CANARY")
    place.symlink_to(os.path.relpath(same, place.parent))


def _root(place: Path) -> Path:
    return next(above for above in place.parents if above.name == "stranger")


def _to_a_file(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "id_rsa")


def _to_a_folder(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "letters")


def _to_nothing(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "not there")


def _to_a_device(place: Path, _outside: Path) -> None:
    place.symlink_to("/dev/zero")


def _fifo(place: Path, _outside: Path) -> None:
    os.mkfifo(place)


def _socket(place: Path, _outside: Path) -> None:
    # Names of sockets are short.
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(place.parent)
        try:
            listener.bind(place.name)
        finally:
            os.chdir(before)


def _folder(place: Path, _outside: Path) -> None:
    place.mkdir()
    (place / "in it").write_text("nothing")


_Kind: TypeAlias = Callable[[Path, Path], None]
_KINDS: Sequence[_Kind] = (_to_the_same, _to_nothing, _fifo, _to_a_file, _to_a_folder, _to_a_device, _socket, _folder)


def _recorded(folder: Path, given: Iterable[Record]) -> None:
    recorder = Recorder(folder, rebuild=rebuild, options=fast())
    for item in given:
        recorder.log(item)
    recorder.close()


def _record(folder: Path, _out: Path) -> int:
    with suppress(StoreError):
        recorder = Recorder(folder, rebuild=rebuild, options=fast(patience=0.1))
        recorder.log(msgspec.structs.replace(next(records(pm.sample())), seq=recorder.next_seq))
        recorder.close()
    return 0


def _read(folder: Path, _out: Path) -> int:
    recording = pm.open_recording(folder)
    for table in recording.tables:
        recording.scan(table).collect()
    return 0


def _rebuild(folder: Path, out: Path) -> int:
    pm.open_recording(folder).rebuild(into=out)
    return 0


def _replay(folder: Path, _out: Path) -> int:
    pm.open_recording(folder).replay(speed="max").close()
    return 0


def _replay_with_another(folder: Path, out: Path) -> int:
    other = out.parent / "other"
    _recorded(other, islice(records(pm.sample("updown")), _SEALED))
    pm.open_recording(folder).replay(other, speed="max").close()
    return 0


def _import(folder: Path, _out: Path) -> int:
    """Import into it, as if it were new."""
    capture = folder.parent / "capture.jsonl"
    capture.write_bytes(b"\n".join(frame.data for frame in islice(records(pm.sample()), _SEALED) if frame.conn))
    return main(["import", str(capture), "--out", str(folder)])


def _command(*words: str) -> Callable[[Path, Path], int]:
    return lambda folder, out: main([word.format(folder=folder, out=out) for word in words])


_OPERATIONS: dict[str, Callable[[Path, Path], int]] = {
    "read": _read,
    "verify": _command("verify", "{folder}"),
    "quality": _command("quality", "{folder}"),
    "ls": _command("ls", "{folder}/.."),
    "info": _command("info", "{folder}"),
    "csv": _command("export", "{folder}", "--to", "csv", "{out}"),
    "hftbacktest": _command("export", "{folder}", "--to", "hftbacktest", "{out}"),
    "replay": _replay,
    "merged replay": _replay_with_another,
    "rebuild": _rebuild,
    "import": _import,
    "record": _record,
    "repair": _command("repair", "{folder}"),
    "compact": _command("compact", "{folder}"),
}


def _snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    return {str(path): _state(path) for path in (folder, *sorted(folder.rglob("*")))}


def _state(path: Path) -> tuple[object, ...]:
    found = path.lstat()
    content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
    return found.st_mode, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, content


def _is_in(path: Path, text: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and text in path.read_bytes()


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


@pytest.fixture
def outside(tmp_path: Path, night: Path) -> Path:
    """What is not the stranger's: a recording of one's own, a key, a folder."""
    folder = tmp_path / "outside"
    shutil.copytree(night, folder / "mine")
    (folder / "id_rsa").write_text("CANARY")
    (folder / "letters").mkdir()
    (folder / "letters/000001.wal").write_text("CANARY")
    return folder


def _cases() -> Generator[ParameterSet]:
    """Yield each place with each kind; one kind of every second place is quick, another for the next of them."""
    for number, place in enumerate(_PLACES):
        for at, kind in enumerate(_KINDS):
            is_quick = number % 2 == 0 and at == number // 2 % len(_KINDS)
            marks = [] if is_quick else [pytest.mark.slow]
            yield pytest.param(place, kind, marks=marks, id=f"{place}-{kind.__name__}")


@pytest.mark.parametrize(("place", "kind"), list(_cases()))
def test_nothing_outside_a_recording_is_read_or_changed(
    tmp_path: Path,
    night: Path,
    outside: Path,
    capfd: pytest.CaptureFixture[str],
    *,
    place: str,
    kind: Callable[..., None],
) -> None:
    pattern = tmp_path / "pattern" / "stranger"
    shutil.copytree(night, pattern)
    spoilt = _PLACES[place](pattern)
    _remove(spoilt)
    kind(spoilt, outside)
    before = _snapshot(outside)

    for name, operation in _OPERATIONS.items():
        stranger = tmp_path / name / "stranger"
        _copy(pattern, stranger)
        with suppress(StoreError):
            assert operation(stranger, tmp_path / name / "out") in (0, 1, 2)
        assert _snapshot(outside) == before, name
        made = [path for path in (tmp_path / name).rglob("*") if _is_in(path, b"CANARY")]
        assert made == [], name

    said = "".join(capfd.readouterr())
    assert "CANARY" not in said
    assert "Traceback" not in said
    assert "a fault of its own" not in said
    assert "pmlive --help" not in said


def _copy(pattern: Path, folder: Path) -> None:
    """Copy a recording with its links as they are, and its FIFOs and sockets as far as they can be."""
    folder.mkdir(parents=True)
    for path in sorted(pattern.rglob("*")):
        copy = folder / path.relative_to(pattern)
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            copy.symlink_to(path.readlink())
        elif stat.S_ISDIR(mode):
            copy.mkdir()
        elif stat.S_ISREG(mode):
            shutil.copy2(path, copy)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(copy)
        else:
            _socket(copy, folder)


_LISTED = ("file of frames", "day of frames", "frames", "merged file", "merged day", "merged table", "merged")


@pytest.mark.parametrize("place", [*_LISTED, "manifest", "log", "file of the log"])
@pytest.mark.parametrize("command", ["verify", "repair", "compact"])
def test_a_link_is_named_and_what_to_do(
    tmp_path: Path, night: Path, outside: Path, capsys: pytest.CaptureFixture[str], *, place: str, command: str
) -> None:
    """The files that it leads to are those that are listed, so only the link is wrong."""
    stranger = tmp_path / "copy" / "stranger"
    shutil.copytree(night, stranger)
    spoilt = _PLACES[place](stranger)
    _remove(spoilt)
    _to_the_same(spoilt, outside)

    assert main([command, str(stranger)]) == (1 if command == "verify" and place in _LISTED else 2)

    said = "".join(capsys.readouterr())
    assert f"{spoilt.name}' is a symbolic link" in said
    assert "remove it" in said


def test_the_folder_of_a_recording_may_be_a_link(tmp_path: Path, night: Path) -> None:
    shutil.copytree(night, tmp_path / "disk" / "night")
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    (tmp_path / "tonight").symlink_to("data/night")

    for folder in (tmp_path / "data" / "night", tmp_path / "tonight"):
        for command in ("verify", "repair", "compact"):
            assert main([command, str(folder)]) == 0
        assert pm.open_recording(folder).scan("book_deltas").collect().height
    assert _record(tmp_path / "tonight", tmp_path) == 0
    assert len(read_manifest(tmp_path / "disk" / "night").of("raw")) == 4


@pytest.mark.parametrize("held", [b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"12 and more", b"\x00"])
def test_what_is_no_lock_is_not_written_into(tmp_path: Path, night: Path, held: bytes) -> None:
    """A second name of a file cannot be told from its first."""
    stranger = tmp_path / "stranger"
    shutil.copytree(night, stranger)
    key = tmp_path / "id_rsa"
    key.write_bytes(held)
    (stranger / ".lock").unlink()
    (stranger / ".lock").hardlink_to(key)

    with pytest.raises(StoreError, match="is not a lock"):
        compact(stranger)

    assert key.read_bytes() == held


_FOREIGN = ("notes.txt", "raw/notes.txt", "raw/date=2026-11-25/notes.txt", "wal/000003.wal", ".lock", "manifest.json")


@pytest.mark.parametrize("path", [*_FOREIGN, "book_deltas/date=2026-11-25/1-00000000-000001.exe", "raw/../notes.txt"])
@pytest.mark.parametrize("table", ["raw", "book_deltas"])
@pytest.mark.parametrize("command", ["repair", "compact", "verify"])
def test_a_file_is_left_alone_that_is_listed_and_that_no_recorder_writes(
    tmp_path: Path, night: Path, *, path: str, table: str, command: str
) -> None:
    stranger = tmp_path / "stranger"
    shutil.copytree(night, stranger)
    (stranger / "notes.txt").write_text("mine")
    manifest = read_manifest(stranger)
    listed = msgspec.structs.replace(manifest.of(table)[0], path=path)
    changed = msgspec.structs.replace(manifest, files=[*manifest.files, listed])
    (stranger / "manifest.json").write_bytes(msgspec.json.encode(changed))
    before = _snapshot(stranger)

    assert main([command, str(stranger)]) == 2

    assert _snapshot(stranger) == before


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_nobody_else_may_read_what_is_recorded_or_exported(tmp_path: Path, night: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = tmp_path / "given"
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        for place in (folder, tmp_path / "new" / "night"):
            _recorded(place, islice(records(pm.sample()), _SEALED))
        shutil.copytree(night, tmp_path / "repaired")
        there = set((tmp_path / "repaired").rglob("*"))
        _PLACES["merged file"](tmp_path / "repaired").write_bytes(b"")
        assert main(["repair", str(tmp_path / "repaired")]) == 0
        for kind in ("csv", "hftbacktest", "duckdb"):
            assert main(["export", str(night), "--to", kind, str(tmp_path / "exported" / kind)]) in (0, 1)
    finally:
        os.umask(before)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o755  # it was there, and its owner has chosen
    made = [path for place in (folder, tmp_path / "new", tmp_path / "exported") for path in place.rglob("*")]
    repaired = set((tmp_path / "repaired").rglob("*.parquet")) - there
    assert repaired
    for path in (*made, *repaired, tmp_path / "new", tmp_path / "exported"):
        assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600), path
