"""Captures with a sign that something is missing: each is a gap or is named, and the command exits with 1."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal
from support.venue import START, Venue

import pmlive as pm
from pmlive.captures.conventions import repeated_key
from pmlive.captures.lines import read_line
from pmlive.cli import main
from pmlive.pipeline.journal import rebuild
from pmlive.recording import info
from pmlive.store import records, scan
from pmlive.tables import STORED

_MS = 1_000_000
_STEP = 100
_LINES = 12

Lines = list[Any]


def sound() -> Lines:
    """Make a capture without any flaw: an opening book, and changes of it every tenth of a second."""
    venue = Venue("1")
    texts = [venue.opening()]
    texts += [venue.change("bid", f"0.{10 + at}", "7", at * _STEP) for at in range(1, _LINES)]
    return [{"recv_ns": (START + at * _STEP) * _MS, "raw": text} for at, text in enumerate(texts)]


def imported(folder: Path, *files: Sequence[Any]) -> int:
    """Import files of lines by the command; return its exit code."""
    paths: list[str] = []
    for index, lines in enumerate(files):
        path = folder / f"{index}.jsonl"
        texts = [line if isinstance(line, bytes) else _text(line).encode() for line in lines]
        path.write_bytes(b"".join(text + b"\n" for text in texts))
        paths.append(str(path))
    return main(["import", *paths, "--out", str(folder / "tape")])


def _text(line: Any) -> str:  # noqa: ANN401  # whatever a capture has
    return line if isinstance(line, str) else json.dumps(line)


def gaps(folder: Path) -> list[tuple[str, str | None, int, int | None]]:
    """List the gaps: cause, token, and milliseconds after the first line."""
    return [
        (gap.cause, gap.token_id, _after(gap.started.timestamp()), gap.ended and _after(gap.ended.timestamp()))
        for gap in info(folder / "tape").gaps
    ]


def _after(seconds: float) -> int:
    return round(seconds * 1000) - START


def state(folder: Path) -> str:
    """Return the last state of the token's book."""
    return scan(folder / "tape", "keyframes").sort("seq").collect()["state"].to_list()[-1]


def at(lines: Lines, index: int, *more: object) -> Lines:
    """Put lines before one."""
    return [*lines[:index], *more, *lines[index:]]


def edited(lines: Lines, index: int, old: str, new: str) -> Lines:
    """Replace text in the frame of a line."""
    text = lines[index]["raw"]
    assert old in text
    return [*lines[:index], lines[index] | {"raw": text.replace(old, new, 1)}, *lines[index + 1 :]]


def timed(lines: Lines, *steps: tuple[int, int]) -> Lines:
    """Set the recorder's clock from a line on, in milliseconds."""
    moved = [dict(line) for line in lines]
    for first, by in steps:
        for line in moved[first:]:
            line["recv_ns"] += by * _MS
    return moved


def numbered(lines: Lines, key: str = "seq") -> Lines:
    return [line | {key: number} for number, line in enumerate(lines, 1)]


def test_a_sound_capture_is_whole(tmp_path: Path) -> None:
    assert imported(tmp_path, sound()) == 0
    assert gaps(tmp_path) == []
    assert state(tmp_path) == "verified"


# --- what the venue, or the recorder, says ---

_WORDS = [
    '{"error": "subscription limit exceeded"}',
    "INVALID OPERATION",
    {"recv_ns": (START + 450) * _MS, "raw": "INVALID OPERATION"},
    {"recv_ns": (START + 450) * _MS, "raw": '{"message":"Invalid request body"}'},
    {"recv_ns": (START + 450) * _MS, "raw": {"status": "error", "reason": "bad ids"}},
    {"version": 2, "error": "bad ids"},
    {"type": "error", "message": "Invalid subscription"},
    {"event": "error", "message": "timed out"},
]


@pytest.mark.parametrize("line", _WORDS, ids=str)
def test_an_error_that_the_venue_or_the_recorder_tells_of_is_a_gap(line: object, tmp_path: Path) -> None:
    assert imported(tmp_path, at(sound(), 5, line)) == 1

    (gap,) = gaps(tmp_path)
    assert gap[:2] == ("malformed", None)
    assert gap[2] == gap[3]
    # Nothing that is followed was named: the hashes still prove the book.
    assert state(tmp_path) == "verified"


def test_an_error_between_books_in_one_frame_is_a_gap(tmp_path: Path) -> None:
    lines = sound()
    book = json.loads(lines[0]["raw"])

    assert imported(tmp_path, [lines[0] | {"raw": json.dumps([*book, {"error": "bad ids"}])}, *lines[1:]]) == 1

    assert gaps(tmp_path) == [("malformed", None, 0, 0)]
    assert state(tmp_path) == "verified"


def test_the_same_words_again_are_one_gap_and_the_lines_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(tmp_path, at(at(sound(), 7, "INVALID OPERATION"), 5, "INVALID OPERATION")) == 1

    assert gaps(tmp_path) == [("malformed", None, 400, 400)]
    said = capsys.readouterr().out
    assert "2 lines of the venue, saying that something is wrong: INVALID OPERATION; the first is line 6" in said


# --- what a decoder takes the last of ---


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"price": "0.15"', '"price": "0.15", "price": "0.16"'),
        ('"asset_id": "1"', '"asset_id": "2", "asset_id": "1"'),
        ('"price_changes": ', '"price_changes": [], "price_changes": '),
        ('"price_changes": ', '"other": {"a": 1, "a": 1}, "price_changes": '),
    ],
)
def test_a_key_twice_in_one_object_is_a_gap_until_a_hash_proves_the_book(old: str, new: str, tmp_path: Path) -> None:
    assert imported(tmp_path, edited(sound(), 5, old, new)) == 1

    ((cause, token, started, ended),) = gaps(tmp_path)
    assert (cause, token, started) in {("malformed", "1", 500), ("mismatch", "1", 500), ("mismatch", "1", 400)}
    assert ended is None or ended > started


def test_a_key_twice_in_the_last_message_leaves_its_book_untrusted(tmp_path: Path) -> None:
    lines = edited(sound(), _LINES - 1, '"asset_id": "1"', '"asset_id": "2", "asset_id": "1"')

    assert imported(tmp_path, lines) == 1

    assert gaps(tmp_path) == [("malformed", "1", (_LINES - 1) * _STEP, None)]
    assert state(tmp_path) != "verified"


def test_two_frames_under_one_key_of_an_envelope_are_a_gap(tmp_path: Path) -> None:
    lines: Lines = sound()
    raw = ", ".join(f'"raw": {json.dumps(line["raw"])}' for line in lines[5:7])
    both = f'{{"recv_ns": {lines[6]["recv_ns"]}, {raw}}}'

    assert imported(tmp_path, [*lines[:5], both, *lines[7:]]) == 1

    assert gaps(tmp_path)[0][0] in {"malformed", "mismatch"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"a":1,"b":[{"a":2},{"a":3}]}', None),
        ('{ "a" : 1.50, "b" : "\\u00e9" }', None),
        ('{"a":1e999}', None),
        ('{"a":1,"a":1}', "a"),
        ('{"a":1,"\\u0061":1}', "a"),
        ('[{"b":{"c":[{"d":0,"d":0}]}}]', "d"),
        ("[" * 5000, None),
        ("PONG", None),
    ],
)
def test_a_repeated_key_is_found_at_any_depth(text: str, key: str | None) -> None:
    assert repeated_key(text.encode()) == key


# --- the order of lines ---


def test_a_clock_that_is_set_back_is_a_gap_of_the_time_that_was_there_twice(tmp_path: Path) -> None:
    assert imported(tmp_path, timed(sound(), (6, -3_000), (9, 3_500))) == 1

    found = gaps(tmp_path)
    assert {cause for cause, *_ in found} == {"malformed"}
    assert (min(gap[2] for gap in found), max(gap[3] or 0 for gap in found)) == (600 - 3_000, 1400 + 100)
    assert state(tmp_path) == "verified"


def test_a_clock_that_stays_behind_leaves_no_book_trusted(tmp_path: Path) -> None:
    assert imported(tmp_path, timed(sound(), (6, -3_000))) == 1

    assert gaps(tmp_path) == [("malformed", "1", 600 - 3_000, 500), ("malformed", "1", 500, None)]
    assert state(tmp_path) != "verified"


def test_files_that_were_joined_in_the_wrong_order_are_a_gap_to_the_end(tmp_path: Path) -> None:
    venue = Venue("1")
    later = [{"recv_ns": (START + 9_000 + each * _STEP) * _MS, "raw": text} for each, text in enumerate(told(venue, 9))]

    assert imported(tmp_path, [*later, *sound()]) == 1

    assert gaps(tmp_path) == [("malformed", "1", 0, 9_400), ("malformed", "1", 9_400, None)]
    assert state(tmp_path) != "verified"


def test_lines_in_order_of_their_tokens_have_one_gap_a_token(tmp_path: Path) -> None:
    """A table that was sorted by token is in no order of time."""
    lines: Lines = []
    for token in ("1", "2", "3", "4"):
        venue = Venue(token, market=f"0x{token}")
        texts = [venue.opening(), *(venue.change("bid", f"0.{20 + each}", "7", each * 2000) for each in range(1, 4))]
        lines += [{"recv_ns": (START + each * 2000) * _MS, "raw": text} for each, text in enumerate(texts)]

    assert imported(tmp_path, lines) == 1

    found = gaps(tmp_path)
    assert {gap[1] for gap in found if gap[3] is None} == {"1", "2", "3", "4"}
    assert len(found) <= 8


@pytest.mark.parametrize("first", [3, 30])
def test_frames_without_receive_times_in_the_wrong_order_are_a_gap(first: int, tmp_path: Path) -> None:
    assert imported(tmp_path, [*told(Venue("1"), first), *(line["raw"] for line in sound())]) == 1

    assert min(gap[2] for gap in gaps(tmp_path)) == _STEP
    assert state(tmp_path) != "verified"


def told(venue: Venue, first: int) -> list[str]:
    start = first * 1000
    venue.put("bid", "0.30", "5", start)
    return [venue.opening(), *(venue.change("ask", "0.70", str(each), start + each * _STEP) for each in range(1, 5))]


def test_small_steps_back_are_told_and_do_no_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(tmp_path, timed(sound(), (6, -900), (7, 900))) == 0

    assert gaps(tmp_path) == []
    assert "1 line before the line before them" in capsys.readouterr().out


def test_old_times_of_the_venue_are_no_step_back(tmp_path: Path) -> None:
    """A book tells when it last changed, which may be hours ago; some recorders copy that time."""
    venue, quiet = Venue("1"), Venue("2", market="0xn")
    frames = [(0, venue.opening()), (9_000, venue.change("bid", "0.2", "7", 9_000)), (0, quiet.opening())]
    copied = [{"ts": START + at, "raw": text} for at, text in frames]

    assert imported(tmp_path, [text for _, text in frames]) == 0
    (tmp_path / "b").mkdir()
    assert imported(tmp_path / "b", [{"ts": START + 1, "raw": "PONG"}, *copied]) == 0


# --- the recorder's own numbers ---


@pytest.mark.parametrize("key", ["seq", "line_no", "id", "frameIndex"])
def test_lines_that_are_missing_by_the_recorder_s_numbers_are_a_gap(key: str, tmp_path: Path) -> None:
    lines = numbered(sound(), key)

    assert imported(tmp_path, lines[:5] + lines[8:]) == 1

    assert gaps(tmp_path)[0][:3] == ("disk", "1", 400)


def test_numbers_of_each_connection_are_counted_for_themselves(tmp_path: Path) -> None:
    lines: Lines = []
    for one, other in zip(numbered(sound()), numbered(sound()), strict=True):
        lines += [one | {"conn": "a"}, other | {"conn": "b"}]

    assert imported(tmp_path, lines) == 0
    (tmp_path / "b").mkdir()
    assert imported(tmp_path / "b", lines[:9] + lines[10:]) == 1


@pytest.mark.parametrize(
    "numbers",
    [[1] * _LINES, [7 * each % 5 for each in range(_LINES)], [*range(0, 3 * _LINES, 3)], [0, 1, 2, 3] * 3],
    ids=["constant", "scattered", "by threes", "restarting"],
)
def test_numbers_that_do_not_count_lines_are_let_be(numbers: list[int], tmp_path: Path) -> None:
    assert imported(tmp_path, [line | {"seq": number} for number, line in zip(numbers, sound(), strict=True)]) == 0
    assert gaps(tmp_path) == []


def test_numbers_of_the_venue_are_not_the_recorder_s() -> None:
    market = '{"event_type":"new_market","id":"7","market":"0x1","assets_ids":["1","2"],"timestamp":"1790000000000"}'

    assert read_line(market.encode(), "market").counter is None


# --- what was cut, joined or left empty ---

_SHAPES: dict[str, Callable[[Lines], Lines]] = {
    "null": lambda lines: at(lines, 5, "null"),
    "an empty object": lambda lines: at(lines, 5, "{}"),
    "a frame that is null": lambda lines: at(lines, 5, {"recv_ns": lines[5]["recv_ns"], "raw": None}),
    "a frame that is empty": lambda lines: at(lines, 5, {"recv_ns": lines[5]["recv_ns"], "raw": ""}),
    "two frames on one line": lambda lines: [*lines[:5], lines[5]["raw"] + lines[6]["raw"], *lines[7:]],
    "two envelopes on one line": lambda lines: [*lines[:5], _text(lines[5]) + _text(lines[6]), *lines[7:]],
    "two frames in one envelope": lambda lines: [
        *lines[:5],
        lines[6] | {"raw": lines[5]["raw"] + "\n" + lines[6]["raw"]},
        *lines[7:],
    ],
    "zeros in place of a line": lambda lines: [*lines[:5], b"\0" * 4096, *lines[6:]],
    "zeros behind a line": lambda lines: [*lines[:5], _text(lines[5]).encode() + b"\0" * 4096, *lines[7:]],
    "a line that ends early": lambda lines: [*lines[:-1], _text(lines[-1])[:-40]],
    "reconnecting": lambda lines: at(lines, 5, {"event": "reconnecting", "recv_ns": lines[5]["recv_ns"]}),
    "frames that were dropped": lambda lines: at(lines, 5, {"event": "stats", "framesDropped": 4}),
    "frames that were dropped before one": lambda lines: [*lines[:5], lines[5] | {"dropped": 2}, *lines[6:]],
    "begun again": lambda lines: at(lines, 5, {"event": "session_start", "recv_ns": lines[5]["recv_ns"]}),
    "stopped and begun again": lambda lines: at(lines, 5, {"event": "shutdown", "recv_ns": lines[5]["recv_ns"]}),
}


@pytest.mark.quick(6)
@pytest.mark.parametrize("shape", _SHAPES)
def test_what_was_cut_or_joined_is_a_gap(shape: str, tmp_path: Path) -> None:
    assert imported(tmp_path, _SHAPES[shape](sound())) == 1
    assert gaps(tmp_path)


@pytest.mark.parametrize(
    "lines",
    [
        at(sound(), 5, "PONG", "", "[]"),
        at(sound(), 5, {"event": "warning", "message": "slow"}),
        [line | {"dropped": 0} for line in sound()],
        [{"event": "session_start", "recv_ns": START * _MS}, *sound()],
        [*sound(), {"event": "shutdown", "recv_ns": (START + 9_000) * _MS}],
        [b"\xef\xbb\xbf" + _text(line).encode() + b"\r" for line in sound()],
    ],
    ids=["words and nothing", "a warning", "none dropped", "a start", "a stop at the end", "marks and line ends"],
)
def test_what_is_harmless_leaves_a_capture_whole(lines: Lines, tmp_path: Path) -> None:
    assert imported(tmp_path, lines) == 0
    assert gaps(tmp_path) == []


@pytest.mark.parametrize("row", [0, _LINES // 2, _LINES - 1])
def test_a_table_that_ends_within_a_row_is_a_gap(row: int, tmp_path: Path) -> None:
    """A quoted cell that never ends takes all rows after it."""
    lines = sound()
    cells = [(line["recv_ns"], str(line["raw"]).replace('"', '""')) for line in lines]
    rows = [f'{at},"{frame}"' if index != row else f'{at},"{frame}' for index, (at, frame) in enumerate(cells)]
    (tmp_path / "first.csv").write_text("recv_ns,frame\n" + "\n".join(f'{at},"{frame}"' for at, frame in cells[:1]))
    (tmp_path / "torn.csv").write_text("recv_ns,frame\n" + "\n".join(rows))

    paths = [str(tmp_path / name) for name in ("first.csv", "torn.csv")]
    assert main(["import", *paths, "--out", str(tmp_path / "tape")]) == 1
    assert {cause for cause, *_ in gaps(tmp_path)} == {"disk"}


def test_an_empty_file_among_others_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imported(tmp_path, sound(), []) == 1

    assert "1.jsonl is empty" in capsys.readouterr().out


# --- the same again ---


@pytest.mark.parametrize(
    "lines",
    [
        at(sound(), 5, "INVALID OPERATION", '{"error": "bad ids"}', {"event": "exception"}),
        edited(sound(), 5, '"price": "0.15"', '"price": "0.15", "price": "0.16"'),
        timed(sound(), (6, -3_000), (9, 3_500)),
        numbered(sound())[:5] + numbered(sound())[8:],
    ],
    ids=["words", "a key twice", "times", "numbers"],
)
def test_a_replay_of_the_recording_finds_the_same_gaps(lines: Lines, tmp_path: Path) -> None:
    imported(tmp_path, lines)

    again = rebuild(records(tmp_path / "tape"))
    for table in STORED:
        kept = scan(tmp_path / "tape", table).sort("seq").collect()
        assert_frame_equal(again.get(table, kept.clear()).sort("seq"), kept)
    night = pm.open_recording(tmp_path / "tape")
    with night.replay(speed="max", prove=True) as replay:
        assert replay.digest() == night.digest()
        assert replay.gaps.height > 0
    assert not night.quality().ok


# --- what a note says beside its word ---


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ({"type": "lifecycle", "state": "closed"}, "disconnect"),
        ({"type": "lifecycle", "phase": "reconnecting"}, "disconnect"),
        ({"type": "status", "state": "disconnected"}, "disconnect"),
        ({"type": "status", "status": "dropped"}, "disconnect"),
        ({"type": "log", "level": "ERROR", "message": "the queue is full"}, "malformed"),
        ({"level": "error", "msg": "connection reset"}, "malformed"),
    ],
    ids=str,
)
def test_a_note_whose_state_or_level_tells_of_a_loss_is_a_gap(said: dict[str, str], cause: str, tmp_path: Path) -> None:
    assert imported(tmp_path, at(sound(), 5, {"recv_ns": (START + 450) * _MS} | said)) == 1

    assert gaps(tmp_path)[0][0] == cause


@pytest.mark.parametrize(
    "said",
    [
        {"type": "status", "state": "connected"},
        {"type": "lifecycle", "state": "running"},
        {"type": "log", "level": "info", "message": "all is well"},
        {"type": "heartbeat", "status": "ok"},
        {"type": "summary", "status": "closed"},
    ],
    ids=str,
)
def test_a_note_that_tells_that_all_is_well_is_no_gap(said: dict[str, str], tmp_path: Path) -> None:
    assert imported(tmp_path, at(sound(), 5, {"recv_ns": (START + 450) * _MS} | said)) == 0

    assert gaps(tmp_path) == []


def test_frames_with_a_level_of_the_log_are_frames(tmp_path: Path) -> None:
    assert imported(tmp_path, [line | {"level": "error", "status": "closed"} for line in sound()]) == 0

    assert state(tmp_path) == "verified"


def test_a_line_that_was_written_twice_does_not_hide_a_jump(tmp_path: Path) -> None:
    lines = numbered(sound())

    assert imported(tmp_path, [*lines[:3], lines[2], *lines[3:8], *lines[9:]]) == 1

    assert [gap[:2] for gap in gaps(tmp_path)] == [("disk", "1")]
