"""What captures tell of their own losses: by the numbers of lines, beside frames, in comments and in notes."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_captures_losses import Lines, at, gaps, imported, numbered, sound, state

from pmlive.captures.lines import meaning_of_text
from pmlive.captures.reading import LineNumbers

# --- numbers of lines ---

ALL = numbered(sound())
_NONE: list[object] = [False, 0, "0", 0.0, None, "", "false", "no", [], {}, {"queue": 0}, -1]


def anew(lines: Lines, first: int = 1) -> Lines:
    """Number lines from one on."""
    return [line | {"seq": number} for number, line in enumerate(lines, first)]


@pytest.mark.parametrize(
    "files",
    [
        (ALL[:6], ALL[6:]),
        (ALL[6:], ALL[:6]),
        (ALL[:6], anew(ALL[6:])),
        (anew(ALL[:6], 0), anew(ALL[6:], 0)),
        (anew(ALL[:5], 70), anew(ALL[5:], 75)),
        (ALL[:2], ALL[2:3], ALL[3:]),
    ],
    ids=["one goes on", "in another order", "each from 1", "each from 0", "from the middle on", "short ones"],
)
def test_numbers_may_go_on_in_the_next_file_or_begin_again(files: Sequence[Lines], tmp_path: Path) -> None:
    assert imported(tmp_path, *files) == 0
    assert gaps(tmp_path) == []


@pytest.mark.parametrize(
    ("files", "since"),
    [
        ((ALL[:5], ALL[7:]), 400),
        ((ALL[7:], ALL[:5]), 400),
        ((ALL[:5], ALL[6:]), 400),
        ((ALL[:5], anew(ALL[7:], 3)), 400),
        ((ALL[:5], [*anew(ALL[5:7]), *anew(ALL[8:], 4)]), 600),
        ((ALL[:4], ALL[4:6], ALL[8:]), 500),
        ((ALL[:4], ALL[8:]), 300),
    ],
    ids=[
        *("between", "in another order", "one line", "at the beginning of the next"),
        *("within the next", "between short ones", "a file"),
    ],
)
def test_lines_that_are_missing_between_files_are_a_gap(files: Sequence[Lines], since: int, tmp_path: Path) -> None:
    assert imported(tmp_path, *files) == 1

    assert [gap[:3] for gap in gaps(tmp_path)] == [("disk", "1", since)]


def test_numbers_of_each_connection_go_on_in_the_next_file(tmp_path: Path) -> None:
    lines: Lines = []
    for one, other in zip(ALL, anew(sound(), 500), strict=True):
        lines += [one | {"conn": "a"}, other | {"conn": "b"}]

    assert imported(tmp_path, lines[:10], lines[10:]) == 0
    (tmp_path / "b").mkdir()
    assert imported(tmp_path / "b", lines[:10], lines[11:]) == 1


@pytest.mark.parametrize("files", [1, 2])
def test_lines_out_of_their_order_do_not_hide_a_loss(files: int, tmp_path: Path) -> None:
    swapped = [*ALL[:3], ALL[4], ALL[3], *ALL[5:]]
    halves = (swapped,) if files == 1 else (swapped[:6], swapped[6:])
    assert imported(tmp_path, *halves) == 0
    (tmp_path / "b").mkdir()

    assert imported(tmp_path / "b", *([line for line in half if line["seq"] != 9] for half in halves)) == 1

    assert [gap[:2] for gap in gaps(tmp_path / "b")] == [("disk", "1")]


def test_a_line_before_the_first_number_is_none_that_is_missing(tmp_path: Path) -> None:
    assert imported(tmp_path, [ALL[1], ALL[0], *ALL[2:]]) in (0, 1)
    assert "disk" not in [gap[0] for gap in gaps(tmp_path)]


@given(st.integers(0, 2**32 - 1))
def test_what_is_missing_is_found_among_lines_that_come_late_twice_and_begin_again(seed: int) -> None:
    random, kept, lost = Random(seed), list[int](), 0
    for _ in range(random.randint(1, 3)):
        run = list(range(random.choice((0, 1)), random.randint(80, 200)))
        missing = random.sample(run[20:-9], random.randint(0, 3))
        run = [number for number in run if number not in missing]
        for _ in range(random.randint(0, 2)):
            place = random.randint(2, len(run) - 9)
            run.insert(place + random.randint(1, 8), run.pop(place))
        for _ in range(random.randint(0, 2)):
            place = random.randint(2, len(run) - 9)
            run.insert(place + random.randint(1, 8), run[place])
        kept += run
        lost += len(missing)

    numbers = LineNumbers()
    for index, number in enumerate(kept):
        numbers.add(number, index=index, time=index)

    assert numbers.count_lines
    assert sum(each.count for each in numbers.missing().values()) == lost


@pytest.mark.parametrize(
    "numbers",
    [
        range(10),
        range(10**6),
        range(7, 8),
        range(2),
    ],
    ids=["digits", "anything", "constant", "bits"],
)
def test_numbers_of_something_else_say_nothing(numbers: range) -> None:
    random, found = Random(1), LineNumbers()

    for index in range(3_000):
        found.add(random.choice(numbers), index=index, time=index)

    assert not found.count_lines or not found.missing()


# --- what is said beside a frame ---


@pytest.mark.quick(6)
@pytest.mark.parametrize(
    "said",
    [
        {"dropped": True},
        {"dropped": "true"},
        {"dropped": 3},
        {"dropped": "3"},
        {"dropped": 2.0},
        {"dropped": "5 frames"},
        {"dropped": ["a frame"]},
        {"dropped": {"queue": 4}},
        {"lost": True},
        {"framesDropped": 1},
        {"queue_overflow": True},
        {"gap": True},
        {"truncated": True},
        {"meta": {"dropped": True}},
        {"ingress": {"dropped_frames": 7}},
    ],
    ids=str,
)
def test_what_is_said_of_dropped_frames_beside_a_frame_is_a_gap(said: dict[str, object], tmp_path: Path) -> None:
    lines = sound()
    assert imported(tmp_path, [*lines[:6], lines[6] | said, *lines[7:]]) == 1

    assert [gap[:3] for gap in gaps(tmp_path)] == [("overflow", "1", 500)]
    assert state(tmp_path) == "verified"


@pytest.mark.quick(6)
@pytest.mark.parametrize(
    "said",
    [
        *({"dropped": none} for none in _NONE),
        *({"gap": seconds} for seconds in (0.103, 103, False)),
        {"meta": {"dropped": 0}},
    ],
    ids=str,
)
def test_what_is_said_of_no_dropped_frames_is_no_gap(said: dict[str, object], tmp_path: Path) -> None:
    assert imported(tmp_path, [line | said for line in sound()]) == 0
    assert gaps(tmp_path) == []


def test_each_frame_that_says_so_is_a_gap(tmp_path: Path) -> None:
    lines = sound()
    for index in (3, 7):
        lines[index] |= {"dropped": True}

    assert imported(tmp_path, lines) == 1

    assert [gap[2] for gap in gaps(tmp_path)] == [200, 600]


def test_counts_of_dropped_frames_go_on_in_the_next_file(tmp_path: Path) -> None:
    counted = [line | {"dropped": 0 if index < 4 else 5} for index, line in enumerate(sound())]

    assert imported(tmp_path, counted[:8], counted[8:]) == 1

    assert [gap[2] for gap in gaps(tmp_path)] == [300]


# --- what is said in words ---


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("# dropped 5", "disconnect"),
        ("#dropped=5 received=90", "disconnect"),
        ("# WARNING: queue full, 12 messages lost", "disconnect"),
        ("// gap of 3 s", "disconnect"),
        ("# reconnected", "disconnect"),
        ("# 2025-12-23T09:19:07Z connection closed", "disconnect"),
        ("# recorder restarted", "disconnect"),
        ("# Traceback (most recent call last):", "malformed"),
        ({"type": "warning", "message": "dropped 12 frames"}, "disconnect"),
        ({"type": "info", "msg": "reconnecting"}, "disconnect"),
        ({"type": "status", "error": "timed out"}, "malformed"),
        ({"type": "stats", "dropped": 4}, "overflow"),
        ({"type": "stats", "meta": {"dropped": True}}, "overflow"),
    ],
    ids=str,
)
def test_a_comment_or_a_note_that_tells_of_a_loss_is_a_gap(line: object, cause: str, tmp_path: Path) -> None:
    assert imported(tmp_path, at(sound(), 6, line)) == 1

    assert gaps(tmp_path)[0][0] == cause


@pytest.mark.parametrize(
    "line",
    [
        "# dropped 0",
        "# received 90, dropped: 0, lost: 0",
        "# no frames were dropped",
        "# 0 dropped",
        "#",
        "# market will-it-rain",
        "// recorder 2.1, python 3.12",
        {"type": "stats", "message": "received 90; dropped 0", "error": None},
        {"type": "info", "msg": "no gaps"},
    ],
    ids=str,
)
def test_a_comment_or_a_note_that_tells_of_no_loss_is_no_gap(line: object, tmp_path: Path) -> None:
    assert imported(tmp_path, at(sound(), 6, line)) == 0
    assert gaps(tmp_path) == []


def test_what_a_comment_says_before_the_first_frame_is_of_no_book(tmp_path: Path) -> None:
    assert imported(tmp_path, ["# columns: time, dropped, frame", "# started", *sound()]) == 0
    assert gaps(tmp_path) == []


@pytest.mark.parametrize("channel", ["sports", "perps"])
def test_a_frame_of_a_channel_that_is_not_recorded_casts_no_doubt_on_books(channel: str, tmp_path: Path) -> None:
    frame = {"gameId": 19439, "leagueAbbreviation": "nfl", "score": "3-16", "live": True}
    line = {"ts_recv": 500, "channel": channel, "raw": json.dumps(frame)}

    assert imported(tmp_path, at(sound(), 6, line)) == 0
    assert gaps(tmp_path) == []


@given(st.text(max_size=300))
def test_any_text_has_a_meaning(text: str) -> None:
    assert meaning_of_text(text) in ("note", "lost", "closed", "failed", "restarted")
