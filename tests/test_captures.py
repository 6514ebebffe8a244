"""Other people's captures become recordings: nothing is dropped silently, and what can be verified is."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from recorded import frames
from support.venue import START, Venue

import pmlive as pm
from pmlive import StoreError
from pmlive.captures import import_capture
from pmlive.captures.conventions import nanoseconds
from pmlive.captures.lines import read_line
from pmlive.events import BookSnapshot, Channel
from pmlive.pipeline.journal import rebuild
from pmlive.recording import info
from pmlive.store import records, scan, verify_files
from pmlive.tables import STORED

MS = 1_000_000
_FRAMES = Path(__file__).parent / "frames"


def told(venue: Venue, moves: Sequence[int]) -> list[tuple[int, str]]:
    """Give an opening book and changes of it, each with its time in milliseconds after START."""
    lines = [(0, venue.opening())]
    return lines + [(at, venue.change("bid", f"0.{10 + at % 30}", str(at), at)) for at in moves]


def written(path: Path, lines: Sequence[str | bytes | dict[str, Any]]) -> Path:
    """Write lines, compressed as the name says."""
    texts = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    data = b"".join(text + b"\n" for text in texts)
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        half = len(data) // 2
        data = b"".join(zstandard.compress(part) for part in (data[:half], data[half:]))
    path.write_bytes(data)
    return path


def envelopes(lines: Sequence[tuple[int, str]], **more: object) -> list[dict[str, Any]]:
    return [{"ts_recv": (START + at) * MS, "raw": text, **more} for at, text in lines]


def checks(folder: Path) -> list[str]:
    return scan(folder, "book_deltas").sort("seq").collect()["check"].cast(pl.String).to_list()


def received(folder: Path, table: str = "book_deltas") -> list[int]:
    """Give receive times in milliseconds after START."""
    times = scan(folder, table).sort("seq").collect()["ts_recv"].dt.epoch("ns")
    return [time // MS - START for time in times]


def gaps(folder: Path) -> list[tuple[str, str | None, int, int | None]]:
    return [
        (gap.cause, gap.token_id, _after(gap.started.timestamp()), gap.ended and _after(gap.ended.timestamp()))
        for gap in info(folder).gaps
    ]


def _after(seconds: float) -> int:
    return round(seconds * 1000) - START


# --- real captures ---


def test_real_frames_of_december_2025_come_out_verified(tmp_path: Path) -> None:
    """Three consecutive frames of a public Go module named Polybot; every hash of them verifies."""
    lines = [frame["frame"] for frame in frames("polybot-2025-12-23").values()]

    report = import_capture(written(tmp_path / "capture.jsonl", lines), tmp_path / "tape")

    assert checks(tmp_path / "tape") == ["verified", "verified"]
    proved = info(tmp_path / "tape").checks
    assert (proved.hash_verified, proved.hash_unverifiable, proved.hash_mismatch) == (5, 0, 0)
    assert (report.lines, report.frames, report.tokens, report.malformed) == (3, 3, 2, 0)
    assert (report.own_times, report.venue_times) == (0, 3)
    # Levels changed between the second frame and the third that nobody recorded, and the third tells.
    assert {gap.cause for gap in info(tmp_path / "tape").gaps} == {"mismatch"}


def test_real_frames_of_october_2025_come_out_verified_with_the_words_between_them_kept(tmp_path: Path) -> None:
    """hbr-l/polypy, tests/orderbook/data/messages_hash.txt: headings, a book, then changes with a REST book each."""
    kept = frames("polypy-2025-10-23")
    lines = ["Initial book message:", kept["opening book"]["frame"], ""]
    for number in ("0", "1"):
        change, book = kept[f"price change {number}"]["frame"], kept[f"REST book {number}"]["frame"]
        lines += [f"Consecutive price change & REST book message: {number}", change, book, ""]

    report = import_capture(written(tmp_path / "messages_hash.txt", lines), tmp_path / "tape")

    # A heading may have been a change, for all that is known: a hash, and then the REST book, prove the book again.
    assert set(checks(tmp_path / "tape")) == {"skipped"}
    proved = info(tmp_path / "tape").checks
    assert (proved.hash_verified, proved.hash_mismatch) == (3, 0)
    assert (report.lines, report.frames, report.malformed) == (8, 8, 3)


def test_real_frames_of_2024_that_python_printed_come_out_verified(tmp_path: Path) -> None:
    """hbr-l/polypy, tests/stream/data/test_server_multi_book.txt: dictionaries as Python prints them."""
    kept = [frame for name, frame in frames("polypy-2024-12-05").items() if name.startswith("multi_book")]
    lines = [repr(json.loads(frame["frame"])) for frame in kept]

    report = import_capture(written(tmp_path / "multi_book.txt", lines), tmp_path / "tape")

    assert set(checks(tmp_path / "tape")) == {"verified"}
    assert info(tmp_path / "tape").checks.hash_mismatch == 0
    assert (report.frames, report.malformed) == (len(kept), 0)


@pytest.mark.parametrize("path", sorted(_FRAMES.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_file_of_recorded_messages_can_be_imported_as_it_is(path: Path, tmp_path: Path) -> None:
    """Their lines are envelopes with a ``channel`` and a ``frame``; the README beside them names the sources."""
    known = list(frames(path.stem).values())

    report = import_capture(path, tmp_path / "tape")

    assert (report.lines, report.frames) == (len(known), len(known))
    assert report.malformed == 0
    assert report.unknown == sum("Unknown" in frame["events"] for frame in known)
    kept = [
        record.kind for record in records(tmp_path / "tape") if record.kind in {frame["channel"] for frame in known}
    ]
    assert sorted(kept) == sorted(frame["channel"] for frame in known)


def test_the_documentation_s_envelopes_are_read_without_what_the_client_said(tmp_path: Path) -> None:
    """goffycoder/polymarket-data-collector keeps ``{channel, direction, doc_line, msg}``."""
    (book,) = [frame["frame"] for name, frame in frames("official_docs-2026-04-09").items() if name == "market L3078"]
    lines: list[dict[str, Any]] = [
        {"channel": "market", "direction": "client", "doc_line": 3060, "msg": {"type": "market"}},
        {"channel": "market", "direction": "server", "doc_line": 3078, "msg": json.loads(book)},
    ]

    report = import_capture(written(tmp_path / "docs.jsonl", lines), tmp_path / "tape")

    assert (report.lines, report.frames, report.sent) == (2, 1, 1)
    assert scan(tmp_path / "tape", "book_snapshots").collect().height == 1


# --- envelopes ---

_AT = START + 1500
_ISO = "2026-09-21T14:13:21.5"
_RECEIVED: list[dict[str, Any]] = [
    {"ts_recv": _AT * MS},
    {"recv_ns": str(_AT * MS)},
    {"received_at": "2026-09-21T14:13:21.500000000Z"},
    {"received_at": "2026-09-21 16:13:21,5+02:00"},
    {"local_timestamp": _AT * 1000},
    {"timestamp_received": _AT / 1000},
    {"ts": _AT},
    {"recv_ms": _AT, "ts": 1},
    {"timestamp": f"{_ISO}+00:00", "id": 7},
]


def test_the_times_of_these_tests_are_one_time() -> None:
    assert nanoseconds(_ISO) == _AT * MS


@pytest.mark.parametrize("key", ["raw", "msg", "message", "data", "frame", "payload"])
@pytest.mark.parametrize("received_as", _RECEIVED, ids="+".join)
def test_an_envelope_is_known_by_its_keys(key: str, received_as: dict[str, Any]) -> None:
    frame = Venue("1").opening()

    for inside in (frame, json.loads(frame)):
        line = read_line(json.dumps({**received_as, key: inside}).encode(), "market")
        assert line.received == _AT * MS
        assert json.loads(line.frame) == json.loads(frame)
        assert [isinstance(event, BookSnapshot) for event in line.events] == [True]


@pytest.mark.parametrize(
    "text",
    [
        f"{_AT * MS} {Venue('1').opening()}",
        f"{_AT / 1000}\t{Venue('1').opening()}",
        json.dumps({"recv_ts": _AT, **json.loads(Venue("1").later())}),
        json.dumps({"received": _AT, "data": {"channel": "market", "msg": Venue("1").opening()}}),
        repr({"ts": _AT, "data": json.loads(Venue("1").opening())}),
    ],
    ids=["number before", "number and tab before", "time in the frame", "envelope in an envelope", "Python"],
)
def test_other_ways_to_write_a_time_and_a_frame(text: str) -> None:
    line = read_line(text.encode(), "market")

    assert line.received == _AT * MS
    assert [isinstance(event, BookSnapshot) for event in line.events] == [True]


def test_a_frame_that_looks_like_an_envelope_is_a_frame() -> None:
    for source, channel in (("polybolt-2026-09-08", "prices"), ("official_docs-2026-04-09", "realtime")):
        for frame in frames(source).values():
            if frame["channel"] == channel:
                assert read_line(frame["frame"].encode(), frame["channel"]).frame.decode() == frame["frame"]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1700000000", 1_700_000_000_000_000_000),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("1.7e12", 1_700_000_000_000_000_000),
        ("1700000000123", 1_700_000_000_123_000_000),
        ("1700000000123456", 1_700_000_000_123_456_000),
        ("1700000000123456789", 1_700_000_000_123_456_789),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000_000_000),
        ("2023-11-14 22:13:20.000000001 UTC", 1_700_000_000_000_000_001),
        ("2023-11-15T00:13:20.5+0200", 1_700_000_000_500_000_000),
        ("17", None),
        ("-1700000000", None),
        ("2023-13-14T22:13:20Z", None),
        ("1" * 30, None),
        ("NaN", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_time_is_read_to_the_nanosecond_or_not_at_all(text: str, time: int | None) -> None:
    assert nanoseconds(text) == time


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(["market", "user", "prices"]))
def test_any_line_is_read(text: bytes, channel: Channel) -> None:
    read_line(text, channel)


@pytest.mark.parametrize("unit", ["[", '{"a":', '{"raw":', '{"raw": ', "[{'a':"])
def test_a_line_that_is_nested_too_deeply_is_malformed(unit: str) -> None:
    line = read_line((unit * 50_000).encode(), "market")

    assert [type(event).__name__ for event in line.events] == ["Malformed"]


# --- files ---


@pytest.mark.parametrize("name", ["capture.jsonl", "capture.jsonl.gz", "capture.jsonl.zst"])
def test_compressed_files_are_told_by_their_names(name: str, tmp_path: Path) -> None:
    capture = written(tmp_path / name, envelopes(told(Venue("1"), [3, 5, 9])))

    report = import_capture(capture, tmp_path / "tape")

    assert checks(tmp_path / "tape") == ["verified"] * 3
    assert received(tmp_path / "tape") == [3, 5, 9]
    assert report.own_times == report.frames == 4


@pytest.mark.parametrize("name", ["capture.gz", "capture.zst"])
def test_a_file_that_ends_in_the_middle_is_read_so_far_and_then_the_books_are_in_doubt(
    name: str, tmp_path: Path
) -> None:
    """Half-written archives are what a killed recorder leaves."""
    capture = written(tmp_path / name, envelopes(told(Venue("1"), range(1, 2000))))
    capture.write_bytes(capture.read_bytes()[:-30_000])

    report = import_capture(capture, tmp_path / "tape")

    assert 100 < report.frames < 2000
    assert [text.partition(",")[0] for text in report.damaged] == [name]
    assert gaps(tmp_path / "tape")[-1][0] == "disk"


def test_a_document_over_several_lines_is_read_message_by_message(tmp_path: Path) -> None:
    lines = envelopes(told(Venue("1"), [3, 5]))
    (tmp_path / "capture.json").write_text(json.dumps(lines, indent=2))

    report = import_capture(tmp_path / "capture.json", tmp_path / "tape")

    assert report.frames == 3
    assert received(tmp_path / "tape") == [3, 5]


def test_several_files_are_merged_by_their_times(tmp_path: Path) -> None:
    lines = envelopes(told(Venue("1"), [3, 5, 9, 14]))
    sources = [written(tmp_path / "late.jsonl", lines[1::2]), written(tmp_path / "early.jsonl", lines[0::2])]

    report = import_capture(sources, tmp_path / "tape")

    assert received(tmp_path / "tape") == [3, 5, 9, 14]
    assert checks(tmp_path / "tape") == ["verified"] * 4
    assert report.backwards == 0
    assert report.sources == [str(source) for source in sources]


def test_tokens_end_with_the_file_that_tells_of_them_where_another_goes_on(tmp_path: Path) -> None:
    sources = [
        written(tmp_path / "short.jsonl", envelopes(told(Venue("1"), [3, 5]))),
        written(tmp_path / "long.jsonl", envelopes(told(Venue("2", market="0xn"), [4, 900]))),
    ]

    import_capture(sources, tmp_path / "tape")

    assert gaps(tmp_path / "tape") == [("disconnect", "1", 5, None)]
    assert not pm.open_recording(tmp_path / "tape").quality().ok


def test_tokens_go_on_from_one_file_to_the_next(tmp_path: Path) -> None:
    """A recorder that begins a file each hour follows them all the while, also those that are quiet then."""
    first, other = told(Venue("1"), [3, 5, 9, 14]), told(Venue("2", market="0xn"), [4, 7, 900])
    sources = [
        written(tmp_path / "1.jsonl", envelopes(sorted([*first[:3], *other[:2]]))),
        written(tmp_path / "2.jsonl", envelopes(sorted([*first[3:], *other[2:]]))),
    ]

    import_capture(sources, tmp_path / "tape")

    assert gaps(tmp_path / "tape") == []


# --- what becomes of them ---


def test_an_imported_recording_is_as_good_as_our_own(tmp_path: Path) -> None:
    """Its files are whole, and its frames give its tables when they are decoded again."""
    import_capture(written(tmp_path / "capture.jsonl", envelopes(told(Venue("1"), range(1, 300)))), tmp_path / "tape")

    assert verify_files(tmp_path / "tape") == []
    again = rebuild(records(tmp_path / "tape"))
    for table in STORED:
        kept = scan(tmp_path / "tape", table).sort("seq").collect()
        assert_frame_equal(again.get(table, kept.clear()).sort("seq"), kept)
    assert [market.token_ids for market in info(tmp_path / "tape").markets] == [["1"]]


def test_a_capture_of_days_is_cut_by_its_own_time(tmp_path: Path) -> None:
    hour = 3_600_000
    import_capture(
        written(tmp_path / "capture.jsonl", envelopes(told(Venue("1"), [hour * n for n in range(1, 60)]))),
        tmp_path / "tape",
    )

    days = {path.parent.name for path in (tmp_path / "tape" / "book_deltas").glob("*/*.parquet")}
    assert days == {"date=2026-09-21", "date=2026-09-22", "date=2026-09-23", "date=2026-09-24"}
    assert checks(tmp_path / "tape") == ["verified"] * 59
    assert gaps(tmp_path / "tape") == []


def test_lines_that_are_no_frames_are_kept_and_counted(tmp_path: Path) -> None:
    lines: list[Any] = envelopes(told(Venue("1"), [3, 5]))
    lines[1:1] = ["{", "what is this?", b"\xff\xfe\x00", {"ts_recv": START, "raw": "<html>"}, {"weather": "fine"}]

    report = import_capture(written(tmp_path / "capture.jsonl", lines), tmp_path / "tape")

    assert (report.lines, report.frames, report.malformed, report.unknown) == (8, 8, 4, 1)
    kept = [record.data for record in records(tmp_path / "tape") if record.kind == "market"]
    assert kept[1:6] == [b"{", b"what is this?", b"\xff\xfe\x00", b"<html>", b'{"weather": "fine"}']
    assert [cause for cause, *_ in gaps(tmp_path / "tape")].count("malformed") >= 1
    # What cannot be read may have been a change; the hash of the next one proves the book again.
    assert checks(tmp_path / "tape") == ["skipped", "verified"]


def test_without_receive_times_the_venue_s_are_taken(tmp_path: Path) -> None:
    lines = [text for _, text in told(Venue("1"), [3, 5])]

    report = import_capture(written(tmp_path / "capture.jsonl", ["PONG", *lines, "PONG"]), tmp_path / "tape")

    assert received(tmp_path / "tape") == [3, 5]
    assert (report.own_times, report.venue_times, report.guessed_times) == (0, 3, 2)
    assert (report.first_time, report.last_time) == (START * MS, (START + 5) * MS)


def test_receive_times_that_go_backwards_wait(tmp_path: Path) -> None:
    lines = envelopes(told(Venue("1"), [3, 5, 9]))
    lines[2]["ts_recv"] = (START + 1) * MS

    report = import_capture(written(tmp_path / "capture.jsonl", lines), tmp_path / "tape")

    assert received(tmp_path / "tape") == [3, 3, 9]
    assert report.backwards == 1


def test_changes_before_the_first_book_wait_for_it(tmp_path: Path) -> None:
    venue = Venue("1")
    early = venue.change("bid", "0.33", "7", 1)
    lines = [(1, early), (2, venue.opening()), (3, venue.change("bid", "0.34", "8", 3))]

    import_capture(written(tmp_path / "capture.jsonl", envelopes(lines)), tmp_path / "tape")

    assert checks(tmp_path / "tape") == ["skipped", "verified"]


def test_a_token_without_any_book_is_a_gap(tmp_path: Path) -> None:
    lines = envelopes(
        [(1, Venue("1").opening()), (2, Venue("2").change("bid", "0.33", "7", 1)), (9, Venue("1").trade("0.5", 9))]
    )

    import_capture(written(tmp_path / "capture.jsonl", lines), tmp_path / "tape")

    assert gaps(tmp_path / "tape") == [("late opening book", "2", 2, None)]


def test_no_key_and_no_owner_reaches_a_recording(tmp_path: Path) -> None:
    keys = {"apiKey": "key-1", "secret": "secret-1", "passphrase": "passphrase-1"}
    order = json.loads(frames("polypy-2025-user")["order info maker buy placement"]["frame"]) | {"owner": "owner-1"}
    lines: list[Any] = [
        {"auth": keys, "markets": ["0x1"], "type": "user"},
        {"ts_recv": START, "msg": {"action": "subscribe", "subscriptions": [{"clob_auth": keys}]}},
        order,
        {"ts_recv": START, "raw": json.dumps(order | {"id": "0xother"})},
        json.dumps(order)[:-9],
    ]

    report = import_capture(written(tmp_path / "capture.jsonl", lines), tmp_path / "tape")

    kept = b"".join(record.data for record in records(tmp_path / "tape"))
    assert not [word for word in (b"key-1", b"secret-1", b"passphrase-1", b"owner-1") if word in kept]
    assert (report.sent, report.frames) == (2, 3)
    assert scan(tmp_path / "tape", "user_orders").collect().height == 2


# --- connections ---


def test_everything_is_one_connection_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    report = import_capture(written(tmp_path / "capture.jsonl", envelopes(told(Venue("1"), [3, 5]))), tmp_path / "tape")

    assert report.connections == 1
    assert scan(tmp_path / "tape", "book_deltas").collect()["conn"].unique().to_list() == [1]


def test_a_capture_that_tells_of_a_broken_connection_has_a_gap_up_to_the_next_book(tmp_path: Path) -> None:
    venue = Venue("1")
    before = envelopes(told(venue, [3]))
    words = [
        {"type": "connect", "ts_recv": (START - 5) * MS},
        {"event": "disconnected", "ts_recv": (START + 50) * MS, "reason": "code 1006"},
        {"event": "Connected", "ts_recv": (START + 70) * MS},
    ]
    after = envelopes([(80, venue.opening()), (90, venue.change("bid", "0.2", "5", 90))])

    report = import_capture(
        written(tmp_path / "capture.jsonl", [words[0], *before, *words[1:], *after]), tmp_path / "tape"
    )

    assert report.notes == 3
    assert report.connections == 2
    assert ("disconnect", "1", 3, 80) in gaps(tmp_path / "tape")
    assert checks(tmp_path / "tape") == ["verified", "verified"]


def test_a_connection_that_is_heard_no_more_while_another_is_has_ended(tmp_path: Path) -> None:
    venue = Venue("1")
    first = envelopes(told(venue, [3]), conn=1)
    second = envelopes([(80, venue.opening()), (90, venue.change("bid", "0.2", "5", 90))], conn=2)

    report = import_capture(written(tmp_path / "capture.jsonl", [*first, *second]), tmp_path / "tape")

    assert report.connections == 2
    assert ("disconnect", "1", 3, 80) in gaps(tmp_path / "tape")


def test_connections_side_by_side_have_no_gaps(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    for one, other in zip(told(Venue("1"), [3, 5, 9]), told(Venue("2"), [3, 5, 9]), strict=True):
        lines += envelopes([one], connection="a") + envelopes([other], connection="b")

    report = import_capture(written(tmp_path / "capture.jsonl", lines), tmp_path / "tape")

    assert report.connections == 2
    assert checks(tmp_path / "tape") == ["verified"] * 6
    assert gaps(tmp_path / "tape") == []


def test_a_second_connection_with_the_same_tokens_does_no_harm(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    for each in told(Venue("1"), [3, 5, 9]):
        lines += envelopes([each], conn=1) + envelopes([each], conn=2)

    import_capture(written(tmp_path / "capture.jsonl", lines), tmp_path / "tape")

    assert info(tmp_path / "tape").mismatches == 0
    assert gaps(tmp_path / "tape") == []
    last = scan(tmp_path / "tape", "keyframes").sort("seq").collect()["state"].to_list()[-1]
    assert last == "verified"


# --- refusals ---


@pytest.mark.parametrize("lines", [[], ["no frame", "at all"], ["1784851200000,65048.07,65048078902260626000000"]])
def test_a_file_without_any_frame_makes_nothing(lines: list[str], tmp_path: Path) -> None:
    capture = written(tmp_path / "capture.csv", lines)

    with pytest.raises(StoreError, match="is a frame or an envelope"):
        import_capture(capture, tmp_path / "new" / "tape")

    assert [path.name for path in tmp_path.iterdir()] == ["capture.csv"]


def test_a_folder_that_has_something_is_left_alone(tmp_path: Path) -> None:
    capture = written(tmp_path / "capture.jsonl", envelopes(told(Venue("1"), [3])))
    import_capture(capture, tmp_path / "tape")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(StoreError, match="exists and is not empty"):
        import_capture(capture, tmp_path / "tape")

    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_cannot_be_read_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        import_capture(tmp_path / "missing.jsonl", tmp_path / "tape")

    assert list(tmp_path.iterdir()) == []


def test_a_channel_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no channel 'weather'"):
        import_capture(tmp_path / "a.jsonl", tmp_path / "tape", channel="weather")  # pyright: ignore[reportArgumentType]


def test_the_progress_is_told(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []

    import_capture(
        written(tmp_path / "capture.jsonl", envelopes(told(Venue("1"), [3]))),
        tmp_path / "tape",
        progress=lambda lines, total: seen.append((lines, total)),
    )

    assert seen == [(0, None), (0, 2)]


@pytest.mark.parametrize("source", ["netqo-2026-08-14", "polybot-2025-12-23", "polypy-2025-10-23", "polypy-2024-11-30"])
def test_real_captures_are_verified_and_replayed_like_our_own(source: str, tmp_path: Path) -> None:
    """The frames are those of ``tests/frames``, whose sources are named there."""
    capture = tmp_path / "capture.jsonl"
    told = [frame["frame"] for frame in frames(source).values() if frame["channel"] == "market" and frame["real"]]
    capture.write_text("\n".join(json.dumps({"raw": text}) for text in told))

    import_capture(capture, tmp_path / "night")

    night = pm.open_recording(tmp_path / "night")
    assert night.verify().ok
    with night.replay(speed="max", prove=True) as again:
        assert again.digest() == night.digest()
        assert again.prices.height == night.scan("prices").collect().height > 0
