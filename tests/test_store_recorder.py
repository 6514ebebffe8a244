import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from storing import NOON, SECOND, Clock, fast, feed, logged, rebuild, record, recording, stored, trades, wait

from pmlive.errors import StoreError
from pmlive.store import Record, Recorder, RecorderOptions, read_manifest, recordings, records, verify_files
from pmlive.store.markets_file import MARKETS_FILE


def test_what_was_logged_is_sealed_when_the_recorder_closes(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with recording(folder) as recorder:
        feed(recorder, range(1, 100))
        recorder.cut([record(100, kind="state")])
        feed(recorder, range(101, 150))

    assert logged(folder) == stored(folder) == [*range(1, 100), *range(101, 150)]
    assert [item.kind for item in records(folder)].count("state") == 1
    assert list((folder / "wal").iterdir()) == []
    status = recorder.status()
    assert (status.frames, status.rows["trades"], status.segments, status.files) == (149, 148, 2, 4)
    assert (status.lag, status.pending_bytes, status.trouble) == (0.0, 0, None)


def test_an_empty_recording_has_no_files(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        assert not recorder.poll()
    assert read_manifest(tmp_path).files == []


def test_closing_twice_from_several_threads_does_nothing_more(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        feed(recorder, range(1, 10))
        threads = [threading.Thread(target=recorder.close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorder.log(record(10))
        recorder.rows("trades", trades([record(10)]))
        recorder.cut([])
    assert stored(tmp_path) == [*range(1, 10)]


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_no_thread_and_no_open_file_is_left_after_closing(tmp_path: Path) -> None:
    before = {thread.name for thread in threading.enumerate()}
    opened = _open_files()
    with recording(tmp_path) as recorder:
        feed(recorder, range(1, 10))
    assert {thread.name for thread in threading.enumerate()} == before
    assert _open_files() == opened


def test_a_recording_is_resumed_after_its_last_number(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        assert (recorder.next_seq, recorder.last_recv) == (0, None)
        feed(recorder, range(1, 10))
    with recording(tmp_path) as recorder:
        assert (recorder.next_seq, recorder.last_recv) == (10, NOON + 9_000_000)
        feed(recorder, range(10, 20))
        assert recorder.status().rows["trades"] == 19
    assert logged(tmp_path) == stored(tmp_path) == [*range(1, 20)]


def test_rows_of_a_table_that_is_not_recorded_are_refused(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder, pytest.raises(ValueError, match="no table 'depth'"):
        recorder.rows("depth", pl.DataFrame())


def test_flushed_records_are_in_the_log_file(tmp_path: Path) -> None:
    with recording(tmp_path, fast(commit=0.05, sync=60)) as recorder:
        feed(recorder, range(1, 30))
        assert recorder.flush(10)
        assert logged(tmp_path) == [*range(1, 30)]
        last_sync = recorder.status().last_sync
        assert last_sync is not None


def test_what_is_logged_is_written_and_synced_without_being_asked(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        feed(recorder, range(1, 30))
        wait(lambda: logged(tmp_path) == [*range(1, 30)])
        wait(lambda: recorder.status().pending_bytes == 0)


def _timed(folder: Path, clock: Clock, options: RecorderOptions | None = None) -> Recorder:
    return Recorder(folder, rebuild=rebuild, clock=clock, options=options or fast())


def test_a_cut_is_due_when_the_segment_is_old(tmp_path: Path) -> None:
    clock = Clock(NOON)
    recorder = _timed(tmp_path, clock)
    clock.now += 400 * SECOND
    assert not recorder.poll()  # nothing to cut
    recorder.log(record(1))
    assert recorder.poll()
    recorder.cut([record(2, kind="state")])
    assert not recorder.poll()
    clock.now += 400 * SECOND
    assert not recorder.poll()  # keyframes alone are not worth a file
    recorder.close()


def test_a_cut_is_due_at_midnight(tmp_path: Path) -> None:
    clock = Clock(NOON + 12 * 3600 * SECOND - SECOND)
    recorder = _timed(tmp_path, clock)
    recorder.log(record(1))
    assert not recorder.poll()
    clock.now += SECOND
    assert recorder.poll()
    recorder.close()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_the_clock_is_a_cut_and_changes_no_order(tmp_path: Path, hours: int) -> None:
    clock = Clock(NOON + 12 * 3600 * SECOND - 1800 * SECOND)
    recorder = _timed(tmp_path, clock)
    for number in range(1, 31):
        clock.now += SECOND
        if number in (11, 21):
            clock.now += hours * 3600 * SECOND
            assert recorder.poll()
            recorder.cut([])
        if number == 16:  # within a segment
            clock.now -= hours * 1800 * SECOND
        made = record(number)
        recorder.log(Record(number, clock.now, made.conn, made.kind, made.data))
        recorder.rows("trades", trades([made]))
    recorder.close()

    assert [item.seq for item in records(tmp_path)] == stored(tmp_path) == [*range(1, 31)]
    files = read_manifest(tmp_path).of("raw")
    assert len({Path(file.path).name for file in files}) == len(files) == 3
    assert all(file.first_time <= file.last_time for file in files)
    days = [Path(file.path).parent.name[-5:] for file in files]
    assert days == (["11-21", "11-21", "11-21"] if hours < 0 else ["11-21", "11-22", "11-22"])
    (listed,) = recordings(tmp_path)
    assert listed.duration.total_seconds() >= 3600
    assert verify_files(tmp_path) == []


def test_a_cut_is_due_when_a_table_is_long(tmp_path: Path) -> None:
    with recording(tmp_path, fast(segment_rows=100)) as recorder:
        feed(recorder, range(1, 100))
        assert not recorder.poll()
        feed(recorder, range(100, 102))
        assert recorder.poll()


def test_a_cut_is_due_when_the_log_is_large(tmp_path: Path) -> None:
    with recording(tmp_path, fast(segment_bytes=1000)) as recorder:
        for number in range(1, 20):
            recorder.log(record(number, size=100))
            assert recorder.flush(10)
        wait(recorder.poll)
        recorder.cut([])
        assert not recorder.poll()


def test_rows_beyond_the_memory_are_rebuilt_from_the_log(tmp_path: Path) -> None:
    with recording(tmp_path, fast(rows_memory=1000)) as recorder:
        for start in range(1, 1000, 100):
            feed(recorder, range(start, start + 100))
            assert recorder.flush(10)
    assert logged(tmp_path) == stored(tmp_path) == [*range(1, 1001)]


def test_rows_that_cannot_be_stored_are_rebuilt_from_the_log(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        feed(recorder, range(1, 10))
        recorder.rows("trades", trades([record(1)]).drop("price"))
    assert stored(tmp_path) == [*range(1, 10)]


def test_a_hole_ends_only_when_there_is_room_for_what_follows(tmp_path: Path) -> None:
    """What was written and not synced is still in memory: the next record would have begun the next hole."""
    with recording(tmp_path, fast(memory=20_000, sync=60)) as recorder:
        number = 1
        while not recorder.status().dropped:
            recorder.log(Record(number, NOON + number, 1, "market", os.urandom(1000)))
            number += 1
        wait(lambda: recorder.status().lag == 0)
        assert recorder.status().pending_bytes > 10_000
        assert not recorder.poll()

        recorder.flush(10)

        wait(recorder.poll)


def test_too_much_at_once_is_a_hole_in_frames_and_rows_alike(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with recording(tmp_path, fast(memory=20_000, commit=0.2)) as recorder:
        feed(recorder, range(1, 1000))
        feed(recorder, range(1000, 1100))
        status = recorder.status()
        assert status.dropped > 900
        assert status.trouble is not None
        assert "data is being lost" in status.trouble
        assert recorder.holes() == []  # it is not over
        wait(recorder.poll)
        recorder.log(record(1100))  # still dropped: no book is right before the keyframes
        recorder.cut([record(1101, kind="state")])
        (hole,) = recorder.holes()
        assert recorder.holes() == []
        feed(recorder, range(1102, 1110))
        assert recorder.status().trouble is None

    kept = logged(tmp_path)
    assert kept == stored(tmp_path)
    lost = sorted(set(range(1, 1110)) - set(kept) - {1101})
    assert lost == [*range(lost[0], 1101)]
    assert (hole.cause, hole.started, hole.ended) == ("overflow", record(lost[0]).recv, record(1101).recv)
    assert read_manifest(tmp_path).holes == [hole]
    assert len([item for item in caplog.records if item.levelno == logging.ERROR]) == 1


def test_a_cut_does_not_end_a_hole_before_the_disk_has_caught_up(tmp_path: Path) -> None:
    with recording(tmp_path, fast(memory=2_000, commit=0.3)) as recorder:
        feed(recorder, range(1, 100))
        recorder.cut([record(100, kind="state")])
        assert recorder.holes() == []
        wait(recorder.poll)
    (hole,) = recorder.holes()  # closing ended it
    assert read_manifest(tmp_path).holes == [hole]
    assert logged(tmp_path) == stored(tmp_path)


def state(first: int) -> list[Record]:
    """Make a state of a hundred tokens, of a hundred kilobytes."""
    return [Record(number, NOON + number, 1, "state", os.urandom(1000)) for number in range(first, first + 100)]


def test_of_a_state_nothing_is_lost_however_little_memory_there_is(tmp_path: Path) -> None:
    """Neither at the beginning, at a cut nor at the end; and what follows has as much room as without it."""
    with recording(tmp_path, fast(memory=20_000, commit=0.2)) as recorder:
        recorder.state(state(1))
        feed(recorder, range(101, 111))
        assert recorder.flush(10)
        recorder.cut(state(200))
        feed(recorder, range(300, 310))
        recorder.state(state(400))
        assert recorder.status().dropped == 0
    assert logged(tmp_path) == stored(tmp_path) == [*range(101, 111), *range(300, 310)]
    assert read_manifest(tmp_path).holes == []


def test_no_second_state_waits_for_a_disk_that_is_behind(tmp_path: Path) -> None:
    """Memory would grow by the state of every token at each cut, and never be full."""
    with recording(tmp_path, fast(memory=20_000, sync=60, segment_seconds=0)) as recorder:
        recorder.state(state(1))
        recorder.log(record(101))
        wait(lambda: recorder.status().lag == 0)
        assert not recorder.poll()

        recorder.flush(10)

        wait(recorder.poll)
        recorder.cut(state(200))
        number = 300
        while not recorder.status().dropped:
            recorder.log(Record(number, NOON + number, 1, "market", os.urandom(1000)))
            assert not recorder.poll()
            number += 1
        # The state's own, with what each record takes, and what may wait beside it.
        assert recorder.status().pending_bytes <= 20_000 + 120_000


@pytest.mark.parametrize("limit", [{"segment_rows": 20}, {"segment_bytes": 1}])
def test_the_next_cut_comes_when_there_is_much_more_than_the_state_of_every_token(
    tmp_path: Path, limit: dict[str, int]
) -> None:
    """Otherwise a state that is larger than a segment would be written again at once, and again."""
    with recording(tmp_path, fast(**limit)) as recorder:
        feed(recorder, range(1, 30))
        wait(recorder.poll)
        recorder.cut(state(100))
        recorder.flush(10)
        number = 200
        while not recorder.poll():
            feed(recorder, range(number, number + 10))
            recorder.flush(10)
            number += 10
    # Records of a feed have some hundred bytes and a row each.
    assert number - 200 >= 1000


def test_a_second_recorder_is_refused_with_the_number_of_the_first(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        with pytest.raises(StoreError, match=f"is being recorded by process {os.getpid()}"):
            Recorder(tmp_path, rebuild=rebuild)
        feed(recorder, range(1, 10))
    with recording(tmp_path):
        assert stored(tmp_path) == [*range(1, 10)]


def test_the_folder_of_a_killed_recorder_is_free_at_once(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("storing.py"), tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        acknowledged = int(child.stdout.readline())
        with pytest.raises(StoreError, match=f"by process {child.pid}"):
            Recorder(tmp_path, rebuild=rebuild)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    with recording(tmp_path):
        assert stored(tmp_path)[:acknowledged] == [*range(1, acknowledged + 1)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_a_forked_child_neither_uses_nor_holds_the_recording(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, rebuild=rebuild, options=fast())
    feed(recorder, range(1, 10))
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        recorder.log(record(50))
        recorder.close()
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    recorder.close()
    with recording(tmp_path):  # while the child lives
        assert stored(tmp_path) == [*range(1, 10)]
    os.write(done[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    for descriptor in (*ready, *done):
        os.close(descriptor)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(StoreError, match="not a folder"):
        Recorder(path, rebuild=rebuild)
    with pytest.raises(StoreError, match="cannot be recorded into"):
        Recorder(path / "below", rebuild=rebuild)
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be recorded into"):
        Recorder(tmp_path / "a" / ("n" * 300), rebuild=rebuild)
    assert list(tmp_path.iterdir()) == []


def test_a_removed_folder_is_trouble_at_once_and_a_hole_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "tonight"
    with recording(folder) as recorder:
        feed(recorder, range(1, 10))
        recorder.cut([record(10, kind="state")])
        feed(recorder, range(11, 20))
        assert recorder.flush(10)
        wait(lambda: recorder.status().segments == 1)
        shutil.rmtree(folder)
        wait(lambda: "removed" in (recorder.status().trouble or ""), seconds=1)
        feed(recorder, range(20, 30))
        assert not recorder.flush(0.05)
        assert not recorder.poll()
        assert not folder.exists()
        folder.mkdir()
        wait(recorder.poll)
        recorder.cut([record(30, kind="state")])
        feed(recorder, range(31, 40))
        assert recorder.flush(10)
        holes = recorder.holes()
    assert {hole.cause for hole in holes} == {"disk"}
    assert min(hole.started for hole in holes) == record(10).recv
    assert max(hole.ended or 0 for hole in holes) == record(30).recv
    assert logged(folder) == stored(folder) == [*range(31, 40)]


def test_a_folder_that_was_moved_and_put_back_goes_on(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "tonight", tmp_path / "elsewhere"
    with recording(folder) as recorder:
        feed(recorder, range(1, 10))
        assert recorder.flush(10)
        wait((folder / MARKETS_FILE).exists)
        folder.rename(elsewhere)
        wait(lambda: recorder.status().trouble)
        elsewhere.rename(folder)
        wait(recorder.poll)
        recorder.cut([record(20, kind="state")])
        feed(recorder, range(21, 30))
    assert logged(folder) == stored(folder) == [*range(1, 10), *range(21, 30)]
