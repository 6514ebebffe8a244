"""A manifest that is wrong or old: what was sealed and is not listed is missed, and never removed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import msgspec
import pytest
from storing import fast
from support.taping import TOKENS, Tape, told
from zstandard import ZstdCompressor

import pmlive as pm
from pmlive.pipeline.journal import rebuild
from pmlive.recording import info
from pmlive.records import Kind
from pmlive.store import Manifest, Recorder, compact, read_manifest, records, repair
from pmlive.store.leftovers import unlisted_files
from pmlive.store.log import encode_block, read_segment
from pmlive.store.manifest import SealedSegment
from pmlive.store.reader import find_missing

Damage: TypeAlias = Callable[[Path, dict[str, Any]], None]
_TIMES = 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a recording of three segments."""
    folder = tmp_path_factory.mktemp("made") / "night"
    told(folder, 21)
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a recording of two segments that are sealed, and a third that is in the log only."""
    made = tmp_path_factory.mktemp("made")
    tape = Tape(made / "alive", Random(21))
    for _ in range(2):
        tape.steps(40)
        tape.cut()
    tape.steps(40)
    assert tape.recorder.flush(10)
    while tape.recorder.status().segments < 2:
        assert tape.recorder.flush(10)
    shutil.copytree(made / "alive", made / "night", ignore=shutil.ignore_patterns(".lock"))
    tape.end()
    return made / "night"


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return _copy(whole, tmp_path)


@pytest.fixture
def left(killed: Path, tmp_path: Path) -> Path:
    return _copy(killed, tmp_path)


def _copy(folder: Path, into: Path) -> Path:
    return Path(shutil.copytree(folder, into / "night", ignore=shutil.ignore_patterns(".lock")))


def _spoil(folder: Path, damage: Damage) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    damage(folder, manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _drop(folder: Path, manifest: dict[str, Any], is_gone: Callable[[str], bool], *, removed: bool) -> None:
    for file in [file for file in manifest["files"] if is_gone(file["path"])]:
        manifest["files"].remove(file)
        if removed:
            (folder / file["path"]).unlink()


def _entry(table: str, number: int, *, removed: bool) -> Damage:
    def damage(folder: Path, manifest: dict[str, Any]) -> None:
        _drop(
            folder, manifest, lambda path: path.startswith(f"{table}/") and f"-{number:06d}." in path, removed=removed
        )

    return damage


def _segment(number: int, *, removed: bool, noted: bool = True) -> Damage:
    """Leave out a segment; without ``noted`` in a recording of an earlier version, which did not note segments."""

    def damage(folder: Path, manifest: dict[str, Any]) -> None:
        _drop(folder, manifest, lambda path: f"-{number:06d}." in path, removed=removed)
        if not noted:
            del manifest["segments"]

    return damage


def _older(folder: Path, manifest: dict[str, Any]) -> None:
    """Put the manifest back as it was when two segments were sealed."""
    _drop(folder, manifest, lambda path: "-000003." in path, removed=False)
    manifest["segments"] = manifest["segments"][:2]
    manifest["sealed"] = 2
    manifest["last_recv"] = manifest["segments"][-1]["last_time"]
    manifest["next_seq"] = manifest["segments"][-1]["last_seq"] + 1


def _set(**values: object) -> Damage:
    return lambda _, manifest: manifest.update(values)


_KINDS: dict[str, tuple[Damage, int]] = {
    f"{table} of {number}, {'removed' if removed else 'there'}": (_entry(table, number, removed=removed), number)
    for table in ("gaps", "keyframes", "book_deltas", "book_snapshots", "trades", "checks", "raw")
    for number, removed in ((2, True), (2, False), (3, True))
} | {
    f"segment {number}, {'removed' if removed else 'there'}, {'noted' if noted else 'of an earlier version'}": (
        _segment(number, removed=removed, noted=noted),
        number,
    )
    for number in (1, 2, 3)
    for removed in (True, False)
    for noted in (True, False)
}


def _qualities(folder: Path, segment: SealedSegment) -> set[str]:
    """List how far the books of a segment are trusted."""
    recording = pm.open_recording(folder)
    step = (segment.last_time - segment.first_time) // _TIMES
    times = range(segment.first_time, segment.last_time, step)
    known = set(recording.scan("keyframes").select("token_id").collect()["token_id"])
    return {recording.book_at(token, time).quality for token in known & set(TOKENS) for time in times}


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", _KINDS)
def test_what_is_not_listed_is_missed(kind: str, folder: Path) -> None:
    damage, number = _KINDS[kind]
    segment = read_manifest(folder).segments[number - 1]
    assert "verified" in _qualities(folder, segment) or number == 1

    _spoil(folder, damage)

    found = pm.open_recording(folder).verify()
    assert any(finding.where.startswith("manifest.json") for finding in found.findings)
    assert "verified" not in _qualities(folder, segment)
    assert "disk" in pm.open_recording(folder).gaps["cause"].cast(str).to_list()
    assert [gap.cause for gap in info(folder).gaps if gap.cause == "disk"] == ["disk"]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("noted", [True, False])
def test_a_replay_tells_that_records_are_not_listed(number: int, noted: bool, folder: Path) -> None:  # noqa: FBT001
    segment = read_manifest(folder).segments[number - 1]
    _spoil(folder, _segment(number, removed=True, noted=noted))

    found = [record for record in records(folder) if record.kind == Kind.LOSS]

    assert len(found) == 1
    assert found[0].seq <= segment.last_seq + 1
    replay = pm.open_recording(folder).replay(speed="max")
    assert "disk" in replay.gaps["cause"].cast(str).to_list()


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (_older, "does not list it"),
        (_set(sealed=1), "the last that is sealed"),
        (_set(next_seq=5), "the next number"),
        (_set(last_recv=1), "the last record came"),
        (_set(last_recv=1_900_000_000_000_000_000), "the last record came"),
        (_set(files=[]), "are not listed"),
        (_set(files=[], segments=[]), "are not listed"),
    ],
)
def test_what_contradicts_the_files_is_found_and_nothing_is_removed(damage: Damage, word: str, folder: Path) -> None:
    _spoil(folder, damage)

    found = pm.open_recording(folder).verify()

    assert any(word in finding.what for finding in found.findings), found
    before = _contents(folder)
    numbers = [record.seq for record in records(folder)]
    _record_again(folder)
    assert before.items() <= _contents(folder).items()
    again = [record for record in records(folder) if record.seq > max(numbers, default=-1)]
    assert [record.seq for record in again] == sorted(record.seq for record in again)
    repair(folder, rebuild=rebuild)
    compact(folder, grace=0)
    assert {path for path in before if path in unlisted_files(folder)} <= _contents(folder).keys()


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob("*/date=*/*")
        if not path.name.startswith(".")
    }


def _record_again(folder: Path) -> None:
    with_no_merging = Recorder(folder, rebuild=rebuild, options=fast(merge_files=0))
    with_no_merging.close()


@pytest.mark.parametrize("noted", [True, False])
def test_a_start_that_records_nothing_does_not_hide_what_is_missing(noted: bool, folder: Path) -> None:  # noqa: FBT001
    _spoil(folder, _segment(4, removed=True))
    _spoil(folder, _segment(3, removed=True, noted=noted))
    last = read_manifest(folder).of("raw")[-1].last_time

    recorder = Recorder(folder, rebuild=rebuild, options=fast(merge_files=0))
    recorder.close()

    assert recorder.last_recv == last
    assert any("not listed" in finding.what for finding in pm.open_recording(folder).verify().findings)


def test_an_entry_that_is_listed_twice_counts_once(folder: Path) -> None:
    rows = pm.open_recording(folder).scan("book_deltas").collect()

    _spoil(folder, lambda _, manifest: manifest.update(files=manifest["files"] * 2))

    assert pm.open_recording(folder).scan("book_deltas").collect().equals(rows)
    assert pm.open_recording(folder).verify().ok


def test_a_file_of_the_same_form_that_nobody_lists_is_told(folder: Path) -> None:
    path = next(folder.glob("book_deltas/*/*-000001.parquet"))
    other = path.with_name(path.name.replace("-000001", "-000007"))
    shutil.copy(path, other)

    found = pm.open_recording(folder).verify()
    _record_again(folder)

    assert [finding.where for finding in found.findings] == [other.relative_to(folder).as_posix()]
    assert "restore" in found.findings[0].advice
    assert other.exists()


def test_merging_over_a_hole_does_not_hide_it(folder: Path) -> None:
    segment = read_manifest(folder).segments[1]
    _spoil(folder, _entry("gaps", 2, removed=True))

    compact(folder, grace=0)

    assert len(read_manifest(folder).of("gaps")) == 1
    assert "verified" not in _qualities(folder, segment)


def test_a_repair_that_loses_rows_notes_a_hole_and_leaves_nothing_to_miss(folder: Path) -> None:
    for pattern in ("raw/*/*-000002.log.zst", "book_deltas/*/*-000002.parquet"):
        path = next(folder.glob(pattern))
        path.write_bytes(path.read_bytes()[:100])

    repair(folder, rebuild=rebuild)

    assert find_missing(folder, read_manifest(folder)) == []


# --- the log ---


def test_a_segment_of_the_log_under_a_second_number_is_not_read_twice(left: Path) -> None:
    numbers = [record.seq for record in records(left)]
    rows = pm.open_recording(left).scan("book_deltas").collect().height
    shutil.copy(left / "wal/000003.wal", left / "wal/000004.wal")

    assert [record.seq for record in records(left)] == numbers
    assert pm.open_recording(left).scan("book_deltas").collect().height == rows
    assert any("segment 4" in finding.where for finding in pm.open_recording(left).verify().findings)
    _record_again(left)
    assert [record.seq for record in records(left)] == numbers
    assert pm.open_recording(left).scan("book_deltas").collect().height == rows
    assert list(left.glob("wal/000004.wal.damaged-*"))


def test_a_sealed_segment_that_comes_back_under_another_number_is_not_read_twice(left: Path) -> None:
    numbers = [record.seq for record in records(left)]
    (left / "wal/000004.wal").write_bytes(_wal_of(left, 2))

    assert [record.seq for record in records(left)] == numbers
    _record_again(left)
    assert [record.seq for record in records(left)] == numbers


def _wal_of(folder: Path, number: int) -> bytes:
    """Return the frames of a sealed segment, which are blocks like those of the log."""
    return next(folder.glob(f"raw/*/*-{number:06d}.log.zst")).read_bytes()


def test_a_log_that_is_called_sealed_and_is_not_is_read_and_sealed(left: Path) -> None:
    numbers = [record.seq for record in records(left)]
    rows = pm.open_recording(left).scan("book_deltas").collect()
    _spoil(left, _set(sealed=7))

    found = pm.open_recording(left)

    assert any("calls segment 3 sealed" in finding.what for finding in found.verify().findings)
    assert found.scan("book_deltas").collect().equals(rows)
    _record_again(left)
    assert [record.seq for record in records(left)] == numbers
    assert pm.open_recording(left).scan("book_deltas").collect().equals(rows)


@pytest.mark.quick(1)
@pytest.mark.parametrize("noted", [True, False])
def test_a_hole_between_the_last_sealed_record_and_the_log_is_missed(noted: bool, left: Path) -> None:  # noqa: FBT001
    segment = read_manifest(left).segments[1]
    _spoil(left, _segment(2, removed=True, noted=noted))

    assert any("listed" in finding.what for finding in pm.open_recording(left).verify().findings)
    assert "verified" not in _qualities(left, segment)
    _record_again(left)
    assert "verified" not in _qualities(left, segment)


def test_sealed_files_that_hold_more_than_the_log_are_kept(left: Path) -> None:
    """An older copy of the log and the manifest, put beside files that were sealed later."""
    log = (left / "wal/000003.wal").read_bytes()
    older = read_manifest(left)
    _record_again(left)
    before = _contents(left)
    (left / "manifest.json").write_bytes(_encoded(older))
    (left / "wal/000003.wal").write_bytes(log[: len(log) // 2])

    _record_again(left)

    assert before.items() <= _contents(left).items()
    assert not pm.open_recording(left).verify().ok


def test_what_an_interrupted_sealing_left_is_made_again(left: Path) -> None:
    log = (left / "wal/000003.wal").read_bytes()
    older = read_manifest(left)
    _record_again(left)
    before = _contents(left)
    (left / "manifest.json").write_bytes(_encoded(older))
    (left / "wal/000003.wal").write_bytes(log)

    assert unlisted_files(left) == []
    _record_again(left)

    assert len(_contents(left)) == len(before)
    assert pm.open_recording(left).verify().ok


def test_a_run_after_an_older_manifest_was_put_back_removes_nothing_though_it_was_killed(
    folder: Path, tmp_path: Path
) -> None:
    """Its segments and records have the numbers of those that are not listed any more."""
    before = _contents(folder)
    _spoil(folder, _older)

    recorder = Recorder(folder, rebuild=rebuild, options=fast(merge_files=0))
    for number, record in enumerate(records(pm.sample())):
        recorder.log(msgspec.structs.replace(record, seq=recorder.next_seq + 10 * number))
    assert recorder.flush(10)
    killed = Path(shutil.copytree(folder, tmp_path / "killed", ignore=shutil.ignore_patterns(".lock")))
    recorder.close()
    _record_again(killed)

    assert before.items() <= _contents(killed).items()
    assert not pm.open_recording(killed).verify().ok


def test_sealed_files_are_kept_where_the_middle_of_the_log_is_gone(left: Path) -> None:
    path = left / "wal/000003.wal"
    logged = list(read_segment([path.read_bytes()], since=0).records())
    third = len(logged) // 3
    parts = logged[:third], logged[third : 2 * third], logged[2 * third :]
    blocks = [encode_block(part, number=at, compressor=ZstdCompressor()) for at, part in enumerate(parts)]
    path.write_bytes(b"".join(blocks))
    older = read_manifest(left)
    _record_again(left)
    before = _contents(left)
    (left / "manifest.json").write_bytes(_encoded(older))
    path.write_bytes(blocks[0] + blocks[2])

    _record_again(left)

    assert before.items() <= _contents(left).items()


@pytest.mark.parametrize("spoil", ["not listed", "damaged"])
def test_a_merged_file_is_kept_unless_all_of_its_inputs_are_there(spoil: str, folder: Path) -> None:
    older, inputs = read_manifest(folder), _contents(folder)
    compact(folder, grace=0)
    merged = {name: data for name, data in _contents(folder).items() if name not in inputs}
    for name, data in inputs.items():
        (folder / name).write_bytes(data)
    middle = older.of("book_deltas")[1]
    if spoil == "not listed":
        older = older.without([middle])
    else:
        (folder / middle.path).write_bytes(b"damaged")
    (folder / "manifest.json").write_bytes(_encoded(older))

    _record_again(folder)

    kept = [name for name in merged if name.startswith("book_deltas")]
    assert kept
    assert {name: merged[name] for name in kept}.items() <= _contents(folder).items()


def _encoded(manifest: Manifest) -> bytes:
    return msgspec.json.encode(manifest)
