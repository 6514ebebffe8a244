"""Whatever envelope a recorder writes around frames, the frames, their times and their connections come out of it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from recorded import frames

from pmlive import StoreError
from pmlive._wire import decode
from pmlive.captures import ImportReport, import_capture
from pmlive.captures.conventions import NamedKeys
from pmlive.captures.lines import Line, read_line
from pmlive.cli import main
from pmlive.recording import info
from pmlive.store import scan

_CASES = Path(__file__).parent / "fixtures" / "captures"
_FRAMES = [frame["frame"] for frame in frames("polybot-2025-12-23").values()]
_SECOND = 1_766_481_547
_NS = _SECOND * 1_000_000_000 + 123_456_789

_FRAME_KEYS = ["raw", "msg", "message", "data", "payload", "frame", "raw_payload", "text", "body", "rawMessage"]
_TIMES: list[dict[str, Any]] = [
    {"recv_ts_ns": _NS},
    {"received_at_ms": _NS // 1_000_000},
    {"receivedAt": "2025-12-23T09:19:07.123456789Z"},
    {"receivedAt": _NS // 1_000_000},
    {"recv_ms": str(_NS // 1_000_000)},
    {"local_timestamp": _NS // 1_000},
    {"ts_recv": _NS},
    {"t": _NS},
    {"t": _NS // 1_000_000},
    {"ingest_time": "2025-12-23 10:19:07.1234567+01:00"},
    {"receive_wall_ms": _NS // 1_000_000},
    {"receive_time": "2025-12-23T09:19:07.123456Z"},
    {"received_at": "2025-12-23T09:19:07,123 UTC"},
    {"timestamp_recv": _NS // 1_000},
    {"recv_us": _NS // 1_000},
    {"recv_s": _NS / 1e9},
    {"recv": {"seconds": _SECOND, "nanos": 123_456_789}},
    {"ingress": {"createdAtUnixSeconds": _SECOND, "millisecondOfSecond": 123, "microsecondOfMillisecond": 456}},
    {"meta": {"recv_ns": _NS}},
    {"receive_monotonic_ns": 1_533_843_623_652_875, "recv_ns": _NS, "timestamp": 1_700_000_000_000},
]


def is_read(line: Line, frame: str) -> bool:
    """Tell whether a line is this frame at about the time of these tests."""
    return (
        json.loads(line.frame) == json.loads(frame)
        and line.events == decode("market", line.frame)
        and line.received is not None
        and 0 <= _NS - line.received < 1_000_000
    )


def imported(name: str, out: Path, named: dict[str, Any] | None = None) -> ImportReport:
    return import_capture(_CASES / name, out / "tape", **(named or {}))


def times(folder: Path, table: str = "book_deltas", column: str = "ts_recv") -> list[int]:
    return scan(folder / "tape", table).sort("seq").collect()[column].dt.epoch("ns").to_list()


# --- one line ---


@pytest.mark.quick(60)
@pytest.mark.parametrize("key", _FRAME_KEYS)
@pytest.mark.parametrize(
    "said", _TIMES, ids=lambda said: "+".join(f"{key}={value}" for key, value in said.items())[:60]
)
def test_frames_and_receive_times_are_found_under_the_keys_that_recorders_use(key: str, said: dict[str, Any]) -> None:
    for frame in _FRAMES:
        for held in (frame, json.loads(frame)):
            assert is_read(read_line(json.dumps({**said, key: held}).encode(), "market"), frame)


_written = st.sampled_from(_FRAMES)


@given(_written, st.sampled_from(_FRAME_KEYS), st.sampled_from(_TIMES), st.data())
def test_an_envelope_may_be_anywhere_and_have_anything_beside_it(
    frame: str, key: str, said: dict[str, Any], data: st.DataObject
) -> None:
    beside = st.dictionaries(st.sampled_from(["id", "seq", "source", "sha256", "ok"]), st.integers() | st.none())
    inner: dict[str, Any] = {key: data.draw(st.sampled_from([frame, json.loads(frame)])), **said}
    around = data.draw(st.none() | st.sampled_from(["record", "payload", "ws", "data"]))
    outer = data.draw(beside) | (inner if around is None else {around: inner})

    assert is_read(read_line(json.dumps(outer).encode(), "market"), frame)


@pytest.mark.parametrize("frame", _FRAMES)
@pytest.mark.parametrize(
    "written",
    [
        "2025-12-23T09:19:07.1234567Z {}",
        "2025-12-23 09:19:07.123456\t{}",
        "2025/12/23 09:19:07.123456 UTC {}",
        "[2025-12-23T10:19:07.123456789+01:00] {}",
        "2025-12-23 09:19:07,123 INFO recv {}",
        "2025-12-23 09:19:07,123 [DEBUG] ws: < {}",
        "1766481547123 {}",
        "1766481547.123456,{}",
        "1766481547123456789|{}",
        "[1766481547123, {}]",
        '["2025-12-23T09:19:07.123456789Z", {}]',
        "[{}, 1766481547123]",
        '["c1", 1766481547123, {}]',
    ],
)
def test_a_time_stands_before_a_frame_or_beside_it(written: str, frame: str) -> None:
    assert is_read(read_line(written.replace("{}", frame).encode(), "market"), frame)


def test_a_frame_in_quotes_stands_beside_its_time() -> None:
    for frame in _FRAMES:
        assert is_read(read_line(json.dumps([_NS, frame]).encode(), "market"), frame)
        quoted = frame.replace('"', '""')
        assert is_read(read_line(f'{_NS},"{quoted}"'.encode(), "market"), frame)


def test_the_time_inside_a_frame_is_not_a_receive_time() -> None:
    for frame in _FRAMES:
        assert read_line(frame.encode(), "market").received is None
        assert read_line(json.dumps({"raw": frame, "elapsed": 0.5}).encode(), "market").received is None


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ({"kind": "lifecycle", "detail": {}}, "note"),
        (
            {"payload": {"event_type": "resync_begin", "kind": "lifecycle"}, "received_at": "2025-12-23T09:19:07Z"},
            "note",
        ),
        ({"payload": {"event_type": "subscribed", "detail": {"assets_ids": ["1"]}}}, "note"),
        ({"payload": {"event_type": "connected", "connection_id": "a"}}, "opened"),
        ({"t": "meta", "formatVersion": 2, "ts": 1_786_668_087_000, "tokenIds": []}, "note"),
        ({"schema": "capture.v1", "markets": ["a"]}, "note"),
        ({"event": "error", "message": "timed out"}, "failed"),
        ({"kind": "open", "conn": "a"}, "opened"),
        ({"kind": "close", "conn": "a"}, "closed"),
        ({"event": "gap", "missed": 12}, "lost"),
        ({"kind": "send", "text": '{"type":"market","assets_ids":[]}'}, "sent"),
        ({"dir": "out", "raw": "PING"}, "sent"),
        ({"type": "market", "assets_ids": ["1"]}, "sent"),
    ],
)
def test_what_recorders_note_is_told_from_frames(written: dict[str, Any], word: str) -> None:
    assert read_line(json.dumps(written).encode(), "market").note == word


@pytest.mark.parametrize(
    "written",
    [{"event_type": "something_new", "asset_id": "1"}, {"event_type": "status", "market": "0x1"}, {"weather": 1}],
)
def test_a_message_of_an_unknown_kind_is_no_note(written: dict[str, Any]) -> None:
    line = read_line(json.dumps(written).encode(), "market")

    assert (line.note, json.loads(line.frame)) == ("", written)


@pytest.mark.parametrize(
    ("said", "connection"),
    [
        ({"conn": 7}, "7"),
        ({"connection_id": "c1"}, "c1"),
        ({"connection_epoch": 2}, "2"),
        ({"connection_epoch": 2, "session_id": "s"}, "s/2"),
        ({"connectionEpoch": 2, "connectionId": "c1"}, "c1/2"),
        ({"session_id": "s"}, ""),
    ],
)
def test_a_connection_is_known_by_its_name_and_its_epoch(said: dict[str, Any], connection: str) -> None:
    assert read_line(json.dumps({**said, "raw": _FRAMES[0]}).encode(), "market").connection == connection


@pytest.mark.parametrize(
    ("envelope", "naming"),
    [
        ({"wire": _FRAMES[0], "seen": _NS}, NamedKeys("wire", "seen")),
        ({"wire": json.loads(_FRAMES[0]), "seen": _NS // 1_000_000}, NamedKeys("wire", "seen", "ms")),
        ({"a": {"b": _FRAMES[0]}, "c": {"d": _NS // 1_000}}, NamedKeys("a.b", "c.d", "us")),
        ({"a.b": _FRAMES[0], "recv_ns": _NS - 999, "d": _NS}, NamedKeys("a.b", "d", "ns")),
        ({"raw": "{", "wire": _FRAMES[0], "recv_ns": _NS}, NamedKeys("wire")),
    ],
)
def test_keys_may_be_named(envelope: dict[str, Any], naming: NamedKeys) -> None:
    assert is_read(read_line(json.dumps(envelope).encode(), "market", naming), _FRAMES[0])


# --- whole files ---

_OWN = [_NS, _NS + 1_000_000_000, _NS + 2_000_000_000]


def _csv(rows: list[tuple[int, str]]) -> str:
    quoted = [(at, frame.replace('"', '""')) for at, frame in rows]
    return "seq,recv_ns,frame\r\n" + "".join(f'1,{at},"{frame}"\r\n' for at, frame in quoted)


_FILES: dict[str, Callable[[list[tuple[int, str]]], str]] = {
    "prefix": lambda rows: "".join(f"{at} {frame}\n" for at, frame in rows),
    "array": lambda rows: "".join(f"[{at},{frame}]\n" for at, frame in rows),
    "document": lambda rows: json.dumps([{"recv_ns": at, "raw": frame} for at, frame in rows], indent=1),
    "array of envelopes": lambda rows: json.dumps([{"recv_ns": at, "raw": frame} for at, frame in rows]),
    "one envelope a line in an array": lambda rows: (
        "[\n" + ",\n".join(json.dumps({"recv_ns": at, "raw": frame}) for at, frame in rows) + "\n]\n"
    ),
    "csv": _csv,
    "tsv": lambda rows: "recv_ns\tpayload\n" + "".join(f"{at}\t{frame}\n" for at, frame in rows),
    "bare comma": lambda rows: "recv_ns,raw\n" + "".join(f"{at},{frame}\n" for at, frame in rows),
}


@pytest.mark.parametrize("shape", _FILES)
def test_whatever_the_envelope_the_tables_are_those_of_the_frames(shape: str, tmp_path: Path) -> None:
    rows = list(zip(_OWN, _FRAMES, strict=True))
    (tmp_path / "plain").write_text("".join(json.dumps({"recv_ns": at, "raw": frame}) + "\n" for at, frame in rows))
    (tmp_path / "other").write_text(_FILES[shape](rows))

    import_capture(tmp_path / "plain", tmp_path / "expected")
    report = import_capture(tmp_path / "other", tmp_path / "tape")

    assert (report.frames, report.own_times, report.whole) == (3, 3, True)
    for table in ("book_snapshots", "book_deltas", "prices", "checks"):
        expected = scan(tmp_path / "expected", table).sort("seq").collect()
        assert_frame_equal(scan(tmp_path / "tape", table).sort("seq").collect(), expected)


def test_frames_are_read_from_a_column_of_a_parquet_file(tmp_path: Path) -> None:
    moments = pl.Series("received_at", [at // 1_000 for at in _OWN]).cast(pl.Datetime("us", "UTC"))
    pl.DataFrame({"received_at": moments, "payload": _FRAMES, "n": [1, 2, 3]}).write_parquet(tmp_path / "a")

    report = import_capture(tmp_path / "a", tmp_path / "tape")

    assert (report.frames, report.own_times, report.whole) == (3, 3, True)
    assert times(tmp_path) == [_OWN[1] // 1000 * 1000] * 2


def test_a_table_without_a_column_of_frames_is_refused_with_its_columns(tmp_path: Path) -> None:
    pl.DataFrame({"when": [1], "what": [_FRAMES[0]]}).write_parquet(tmp_path / "a.parquet")

    with pytest.raises(StoreError, match=r"has 'when', 'what'; known are raw.*--frame"):
        import_capture(tmp_path / "a.parquet", tmp_path / "tape")

    assert import_capture(tmp_path / "a.parquet", tmp_path / "tape", frame="what").frames == 1


# --- captures as they were found ---


@pytest.mark.parametrize(
    ("name", "frames_", "notes", "first"),
    [
        ("02-receive-wall-ms.jsonl", 3, 0, 1_766_481_548_000_000_000),
        ("03-lens-lifecycle.jsonl", 4, 3, 1_766_481_549_000_000_000),
        ("04-raw-payload.jsonl", 3, 0, 1_766_481_548_000_000_000),
        ("05-text-key.jsonl", 4, 2, 1_766_481_546_776_000_000),
        ("06-ingress-v2.jsonl", 4, 1, 1_766_481_549_123_456_789),
        ("10-whole-second-times.jsonl", 3, 0, 1_766_481_548_000_000_000),
        ("13-iso-prefix-lines.txt", 3, 0, 1_766_481_547_123_456_700),
        ("14-time-and-frame-in-array.jsonl", 3, 0, 1_766_481_546_987_000_000),
        ("15-venue-time-microseconds.jsonl", 4, 0, 1_766_481_546_489_000_000),
    ],
)
def test_a_capture_is_read_whole(name: str, frames_: int, notes: int, first: int, tmp_path: Path) -> None:
    report = imported(name, tmp_path)

    assert (report.frames, report.notes, report.malformed, report.unknown) == (frames_, notes, 0, 0)
    assert report.whole
    assert times(tmp_path) == [first, first]
    assert info(tmp_path / "tape").checks.bbo_ok == 2


def test_the_microseconds_of_the_venue_are_kept(tmp_path: Path) -> None:
    capture = (_CASES / "15-venue-time-microseconds.jsonl").read_text().replace("6776000", "6776001")
    (tmp_path / "a").write_text(capture)

    import_capture(tmp_path / "a", tmp_path / "tape")

    assert times(tmp_path, column="ts_event") == [1_766_481_546_776_001_000] * 2


def test_a_capture_without_receive_times_is_said_to_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["import", str(_CASES / "05-text-key.jsonl"), "--out", str(tmp_path / "tape")])

    assert "no receive time was found" in capsys.readouterr().out


def test_what_was_not_understood_is_told_by_kind_and_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture = tmp_path / "a.jsonl"
    lines = [
        _FRAMES[0],
        '{"event_type": "news\\u202e"}',
        '{"raw": "<html>\\u001b[2J"}',
        '{"raw": "<html>"}',
        '{"weather": 1}',
    ]
    capture.write_text("\n".join(lines))

    assert main(["import", str(capture), "--out", str(tmp_path / "tape")]) == 1

    told = capsys.readouterr().out
    assert "2 lines not JSON; the first is line 3 of a.jsonl: '<html>[2J'" in told
    assert "1 line of the unknown kind 'news\\u202e'; the first is line 2" in told
    assert "1 line no message and no envelope that is known (weather); the first is line 5" in told
    assert "nothing was missed" not in told


def test_an_unknown_message_alone_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [_FRAMES[0], '{"event_type": "something_new", "asset_id": "1"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))

    assert main(["import", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "tape")]) == 1
    assert "nothing was missed" not in capsys.readouterr().out


def test_a_torn_frame_in_an_envelope_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(_CASES / "01-torn-price-change.jsonl"), "--out", str(tmp_path / "tape")]) == 1

    assert "1 line not JSON; the first is line 2 of 01-torn-price-change.jsonl" in capsys.readouterr().out


def test_frames_under_a_key_that_is_not_known_make_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture = str(_CASES / "07-frame-under-other-key.jsonl")

    assert main(["import", capture, "--out", str(tmp_path / "tape")]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert "seen were ts_recv, raw_frame; frames are known under raw, " in told.err
    assert "receive times under recv, " in told.err
    assert "--frame KEY --received KEY ('raw_frame' looks like frames)" in told.err
    assert list(tmp_path.iterdir()) == []

    named = ["--frame", "raw_frame", "--received", "ts_recv", "--time-unit", "ns"]
    assert main(["import", capture, "--out", str(tmp_path / "tape"), *named]) == 1
    assert times(tmp_path) == [1_766_481_548_000_000_000] * 2


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"frame": "wire"}, "seen were recv_ms, raw"),
        ({"received": "seen"}, "no line of .* has a time under the key 'seen'"),
        ({"received": "recv_ms", "time_unit": "s"}, "has a time in s under the key 'recv_ms'"),
    ],
)
def test_a_key_that_is_named_and_not_there_makes_nothing(named: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=said):
        imported("10-whole-second-times.jsonl", tmp_path, named)

    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_among_captures_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text('{"weather": "fine"}\n')

    with pytest.raises(StoreError, match=r"no line of '.*other.jsonl' is a frame.* seen were weather"):
        import_capture([_CASES / "10-whole-second-times.jsonl", tmp_path / "other.jsonl"], tmp_path / "tape")


def test_whole_seconds_are_printed_to_the_millisecond(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported("10-whole-second-times.jsonl", tmp_path)

    main(["quality", str(tmp_path / "tape")])

    assert "2025-12-23 09:19:07.000 to 2025-12-23 09:19:09.000 UTC" in capsys.readouterr().out


def test_the_times_of_these_tests_are_one_time() -> None:
    assert datetime.fromtimestamp(_SECOND, UTC).isoformat() == "2025-12-23T09:19:07+00:00"
