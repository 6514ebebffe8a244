"""Packed captures: told by their bytes, read past what is broken in them, and never larger than is allowed."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import socket
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from recorded import frames
from support.examples import examples

from pmlive import StoreError
from pmlive.captures import import_capture
from pmlive.captures.files import LONGEST, PACKINGS, Defect, Fragment, as_utf8, split_lines, unpack
from pmlive.captures.reading import ReadOptions, TimedLine, merged_lines
from pmlive.cli import main
from pmlive.recording import info

_CASES = Path(__file__).parent / "fixtures" / "captures"
_FRAMES = [frame["frame"] for frame in frames("polybot-2025-12-23").values()]
_START = 1_766_481_546_487

Pack = Callable[[bytes], bytes]
_PACK: dict[str, Pack] = {
    "gz": gzip.compress,
    "zst": zstandard.compress,
    # Small blocks, so that little text has many.
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
}


def lines(*numbers: int) -> bytes:
    """Write envelopes of one frame, each at its own millisecond and not like another."""
    words = (random.Random(number).randbytes(600).hex() for number in numbers)
    told = (
        {"recv_ms": _START + number, "id": word, "raw": _FRAMES[1]} for number, word in zip(numbers, words, strict=True)
    )
    return b"".join(json.dumps(each).encode() + b"\n" for each in told)


def read(path: Path, data: bytes, max_bytes: int | None = None) -> list[TimedLine]:
    path.write_bytes(data)
    return list(merged_lines([path], ReadOptions(max_bytes=max_bytes)))


def numbers(timed: list[TimedLine]) -> list[int | str]:
    """Give the number of each line, and a word where something is missing."""
    return ["broken" if each.line is None else each.time // 1_000_000 - _START for each in timed]


@pytest.mark.parametrize("packing", _PACK)
@pytest.mark.parametrize("name", ["a.jsonl", "A.JSONL.GZ", "a.txt.zst", "a"])
def test_a_packing_is_told_by_the_bytes_and_not_by_the_name(packing: str, name: str, tmp_path: Path) -> None:
    pack = _PACK[packing]

    assert numbers(read(tmp_path / name, pack(lines(1, 2)) + pack(lines(3)))) == [1, 2, 3]


@pytest.mark.parametrize("packing", _PACK)
@pytest.mark.parametrize("share", [0.4, 0.6, 0.97])
def test_a_member_that_ends_in_the_middle_is_a_break_and_the_next_is_read(
    packing: str, share: float, tmp_path: Path
) -> None:
    pack = _PACK[packing]
    first = pack(lines(*range(400)))

    found = numbers(
        read(tmp_path / "a", first[: int(share * len(first))] + pack(lines(5_000, 5_001)) + pack(lines(6_000)))
    )

    assert found[-4:] == ["broken", 5_000, 5_001, 6_000]
    before = found[:-4]
    assert before == list(range(len(before)))
    assert len(before) > 10


@pytest.mark.parametrize("packing", _PACK)
def test_what_ends_in_the_middle_several_times_is_told_each_time(packing: str, tmp_path: Path) -> None:
    pack = _PACK[packing]
    members = [pack(lines(*range(start, start + 300))) for start in (0, 1_000, 2_000)]
    cut = b"".join(member[: len(member) * 2 // 3] for member in members)

    found = numbers(read(tmp_path / "a", cut + pack(lines(4_000))))

    assert found.count("broken") == 3
    assert found[-2:] == ["broken", 4_000]
    assert {0, 1_000, 2_000} <= set(found)


@pytest.mark.parametrize("packing", _PACK)
def test_bytes_of_no_member_are_told_and_the_next_member_is_read(packing: str, tmp_path: Path) -> None:
    pack = _PACK[packing]

    found = numbers(read(tmp_path / "a", pack(lines(1)) + b"what is this? " * 50 + pack(lines(2))))

    assert found == [1, "broken", 2]


def test_zeros_after_a_member_are_padding(tmp_path: Path) -> None:
    assert numbers(read(tmp_path / "a", gzip.compress(lines(1)) + b"\0" * 1_024 + gzip.compress(lines(2)))) == [1, 2]


@given(st.sampled_from(PACKINGS), st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.data())
@examples(60)
def test_whole_members_give_what_was_packed_and_any_bytes_are_survived(
    packing: object, texts: list[bytes], data: st.DataObject
) -> None:
    kind = next(each for each in PACKINGS if each is packing)
    pack = {"gzip": gzip.compress, "zstd": zstandard.compress, "bzip2": bz2.compress, "xz": lzma.compress}[kind.name]
    packed = b"".join(map(pack, texts))

    assert b"".join(each for each in unpack(io.BytesIO(packed), kind) if isinstance(each, bytes)) == b"".join(texts)
    at = data.draw(st.integers(0, len(packed) - 1))
    changed = packed[:at] + data.draw(st.binary(max_size=40)) + packed[at + data.draw(st.integers(0, 40)) :]
    list(unpack(io.BytesIO(changed), kind))


def test_a_killed_file_that_was_appended_to_is_read_and_its_break_is_a_gap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = _CASES / "12-killed-then-appended.jsonl.gz"

    assert main(["import", str(capture), "--out", str(tmp_path / "tape")]) == 1

    told = capsys.readouterr().out
    assert "3 frames in 3 lines" in told
    assert "line 2: a gzip member ends in the middle, and another follows" in told
    assert "by disk" in told
    assert {(gap.cause, gap.started.isoformat()[:23]) for gap in info(tmp_path / "tape").gaps} >= {
        ("disk", "2025-12-23T09:19:06.487")
    }


# --- text ---


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_may_be_in_any_unicode(encoding: str, end: str, tmp_path: Path) -> None:
    text = lines(1, 2).decode().replace("\n", end)

    assert numbers(read(tmp_path / "a.jsonl", text.encode(encoding))) == [1, 2]
    assert numbers(read(tmp_path / "a.gz", gzip.compress(text.encode(encoding)))) == [1, 2]


def test_a_line_that_is_too_long_is_left_out_and_told(tmp_path: Path) -> None:
    long = b'{"recv_ms": 1766481546490, "raw": "' + b"x" * LONGEST + b'"}\n'

    found = read(tmp_path / "a", lines(1) + long + lines(5))

    assert numbers(found) == [1, "broken", 5]
    assert f"longer than {LONGEST:,}" in found[1].damaged


def test_zeros_that_a_crash_left_are_told(tmp_path: Path) -> None:
    assert numbers(read(tmp_path / "a", lines(1) + b"\0" * 4_096 + lines(2))) == [1, "broken", 2]


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, 8))
def test_lines_are_those_of_the_whole_text_however_it_is_cut(chunks: list[bytes], broken_at: int) -> None:
    chunks = [chunk.replace(b"\0", b"x") for chunk in chunks]
    whole: list[bytes | Defect] = list(chunks)

    assert list(split_lines(iter(whole))) == _split(b"".join(chunks))
    told = [*whole[:broken_at], Defect("here"), *whole[broken_at:]]
    pieces = list(split_lines(as_utf8(iter(told))))
    assert Defect("here") in pieces
    assert sum(isinstance(piece, Fragment) for piece in pieces) <= 1


def _split(text: bytes) -> list[bytes]:
    found = text.split(b"\n")
    found = [line.removeprefix(b"\xef\xbb\xbf") for line in found]
    return found if text.split(b"\n")[-1] else found[:-1]


# --- what is refused ---


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jsonl", lines(1))
    return out.getvalue()


def _arrow() -> bytes:
    out = io.BytesIO()
    pl.DataFrame({"raw": _FRAMES}).write_ipc(out)
    return out.getvalue()


_REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "zip": (_zip, "is a zip archive"),
    "arrow": (_arrow, "is an Arrow file"),
    "lz4": (lambda: b"\x04\x22\x4d\x18" + b"x" * 99, "packed with lz4"),
    "sqlite": (lambda: b"SQLite format 3\0" + b"x" * 99, "an SQLite database"),
    "tar": (lambda: b"a".ljust(257, b"\0") + b"ustar\0" + b"\0" * 300, "a tar archive"),
    "tar in gzip": (lambda: gzip.compress(b"a".ljust(257, b"\0") + b"ustar\0" + b"\0" * 300), "a tar archive"),
    "packed twice": (lambda: gzip.compress(zstandard.compress(lines(1))), "packed with zstd itself"),
    "broken parquet": (lambda: b"PAR1" + b"x" * 99, "cannot be read as Parquet"),
    "nothing": (lambda: b"", "no line of"),
    "blanks": (lambda: b"\n \r\n\n", "no line of"),
    "cut in the header": (lambda: gzip.compress(lines(1))[:7], "ends in the middle"),
    "noise": (lambda: bytes(range(256)) * 20, "no line of"),
}


@pytest.mark.parametrize("kind", _REFUSED)
def test_a_file_of_another_kind_is_refused_in_one_sentence(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, said = _REFUSED[kind]
    (tmp_path / "a.jsonl").write_bytes(make())

    assert main(["import", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "tape")]) == 2

    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert said in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_what_is_no_file_is_refused_without_being_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path)
        listener.bind("socket")
        for name, said in {"pipe": "is a pipe", "folder": "is a folder", "socket": "is a socket"}.items():
            assert not stat.S_ISREG((tmp_path / name).stat().st_mode)
            with pytest.raises(StoreError, match=f"cannot be read: it {said}"):
                import_capture(tmp_path / name, tmp_path / "tape")
    with pytest.raises(StoreError, match="a device"):
        import_capture("/dev/zero", tmp_path / "tape")


@pytest.mark.parametrize("packing", _PACK)
@pytest.mark.parametrize("text", ["zeros", "frames"])
def test_a_small_file_that_becomes_a_large_one_is_refused(packing: str, text: str, tmp_path: Path) -> None:
    """A run of equal bytes shrinks a thousandfold and more; equal frames nearly so."""
    repeated = bytes(1 << 20) if text == "zeros" else (_FRAMES[1].encode() + b"\n") * 1_600
    data = _PACK[packing](repeated) * 3
    (tmp_path / "a").write_bytes(data)

    with pytest.raises(StoreError, match=r"has more than [0-9,]+ bytes when it is unpacked, .*--max-bytes"):
        import_capture(tmp_path / "a", tmp_path / "tape", max_bytes=2_000_000)

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_how_much_may_come_out_of_a_file_is_bounded_by_default_and_can_be_raised(tmp_path: Path) -> None:
    data = gzip.compress(bytes(16 << 20) + b"\n") * 5

    with pytest.raises(StoreError, match="has more than 67,108,864 bytes when it is unpacked"):
        read(tmp_path / "a", data)
    assert set(numbers(read(tmp_path / "a", data + gzip.compress(lines(1)), max_bytes=200 << 20))) == {"broken", 1}


@pytest.mark.parametrize("most", ["0", "-1", "many"])
def test_a_bound_is_a_whole_number_above_zero(most: str, tmp_path: Path) -> None:
    assert main(["import", "a", "--out", str(tmp_path / "tape"), f"--max-bytes={most}"]) == 2
