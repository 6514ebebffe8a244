"""Tables that are damaged or lie: whoever reads one answers, or says in one error which file it is and what to do."""

# pyarrow comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
import hashlib
import json
import os
import struct
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.taping import TOKENS, copied, first, told

import pmlive as pm
from pmlive.export import to_csv, to_duckdb, to_hftbacktest
from pmlive.recording import Recording, info
from pmlive.store import verify_files

_TABLES = ("book_deltas", "book_snapshots", "keyframes", "prices", "trades", "gaps", "checks")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "a night"
    told(folder, 21, segments=2)
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    return copied(recorded, tmp_path)


# --- what may be wrong with a file ---

Spoil = Callable[[Path], None]


def _rows(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def _write(path: Path, rows: pa.Table) -> None:
    pq.write_table(rows, path, compression="zstd", store_schema=False, write_page_checksum=True)


def _with(path: Path, name: str, values: pa.Array) -> None:
    rows = _rows(path)
    _write(path, rows.set_column(rows.schema.get_field_index(name), name, values))


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _with_zeros(path: Path) -> None:
    data = path.read_bytes()
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[:4] + bytes(end - 4) + data[end:])


def _of_noise(path: Path) -> None:
    path.write_bytes(b"PAR1" + os.urandom(500) + b"PAR1")


def _of_another_table(path: Path) -> None:
    other = "trades" if path.parent.parent.name != "trades" else "checks"
    path.write_bytes(first(path.parent.parent.parent, other).read_bytes())


def _without_rows(path: Path) -> None:
    _write(path, _rows(path).slice(0, 0))


def _of_half_the_rows(path: Path) -> None:
    rows = _rows(path)
    _write(path, rows.slice(0, rows.num_rows // 2))


def _turned_round(path: Path) -> None:
    rows = _rows(path)
    _write(path, rows.take(pa.array(range(rows.num_rows - 1, -1, -1))))


def _of_one_row(path: Path) -> None:
    rows = _rows(path)
    _write(path, rows.take(pa.array([0] * rows.num_rows)))


def _of_nulls(path: Path) -> None:
    rows = _rows(path)
    _write(path, pa.table({field.name: pa.nulls(rows.num_rows, field.type) for field in rows.schema}))


def _of_words(path: Path) -> None:
    """Have the word ``nope`` in every text, and in every column that is read as an enumeration."""
    rows = _rows(path)
    for at, field in enumerate(rows.schema):
        if pa.types.is_string(field.type):
            rows = rows.set_column(at, field.name, pa.array(["\x1b[31mnope\n"] * rows.num_rows))
    _write(path, rows)


def _of_short_lists(path: Path) -> None:
    for name in ("bid_sizes", "ask_prices"):
        if name in _rows(path).schema.names:
            _with(path, name, pa.array([[0.5]] * _rows(path).num_rows))


def _bounds(name: str, path: Path) -> None:
    """State that a column begins where it ends, so that readers leave out what has lesser values."""
    values = _rows(path)[name].cast(pa.int64()).to_pylist()
    data = path.read_bytes()
    begins = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[begins:].replace(struct.pack("<q", min(values)), struct.pack("<q", max(values)))
    path.write_bytes(data[:begins] + footer)


def _column(change: Callable[[Path, str], None], name: str, path: Path) -> None:
    if name in _rows(path).schema.names:
        change(path, name)


def _nulls_in(path: Path, name: str) -> None:
    rows = _rows(path)
    _with(path, name, pa.nulls(rows.num_rows, rows.schema.field(name).type))


def _without(path: Path, name: str) -> None:
    _write(path, _rows(path).drop_columns([name]))


def _another_type(path: Path, name: str) -> None:
    rows = _rows(path)
    is_text = pa.types.is_string(rows.schema.field(name).type)
    _with(path, name, pa.array([7] * rows.num_rows) if is_text else pa.array(["x"] * rows.num_rows))


_DAMAGE: dict[str, Spoil] = {
    "emptied": _emptied,
    "cut": _cut,
    "with zeros": _with_zeros,
}
_COLUMNS = ("seq", "ts_recv", "conn", "token_id", "price", "bid_prices", "side", "state", "alone", "opening", "started")
_LIES: dict[str, Spoil] = {
    "of noise": _of_noise,
    "of another table": _of_another_table,
    "without rows": _without_rows,
    "of half the rows": _of_half_the_rows,
    "turned round": _turned_round,
    "of one row": _of_one_row,
    "of nulls": _of_nulls,
    "of words": _of_words,
    "of short lists": _of_short_lists,
    "with other numbers in its footer": partial(_bounds, "seq"),
    "with other times in its footer": partial(_bounds, "ts_recv"),
    **{f"with nulls in {name}": partial(_column, _nulls_in, name) for name in _COLUMNS},
    **{f"without {name}": partial(_column, _without, name) for name in _COLUMNS[:6]},
    **{f"with another type of {name}": partial(_column, _another_type, name) for name in _COLUMNS[:6]},
}


def _relist(folder: Path, path: Path) -> None:
    """List the checksum of a file as it is now: whoever lies can do that."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data, name = path.read_bytes(), path.relative_to(folder).as_posix()
    (listed,) = (file for file in manifest["files"] if file["path"] == name)
    listed |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


# --- whoever reads it ---


def _times(night: Recording) -> list[datetime]:
    begin, end = night.first_time, night.last_time
    assert begin is not None
    assert end is not None
    return [begin + (end - begin) * part / 4 for part in range(5)]


def _readers(folder: Path, out: Path) -> Generator[tuple[str, Callable[[], object]]]:
    """Yield every public way to read the tables of a recording."""
    night = pm.open_recording(folder)
    yield "repr", lambda: (repr(night), night.to_dict())
    yield "tables", lambda: (night.tables, night.markets, night.gaps, night.gap_index)
    yield "token", lambda: night.token("nobody")
    yield "info", lambda: info(folder)
    yield "quality", lambda: repr(night.quality())
    yield "verify", lambda: repr(night.verify())
    yield "digest", night.digest
    for table in _TABLES:
        yield f"scan {table}", partial(night.scan, table, token="11")
    yield "prices", lambda: (night.prices(), night.prices("11"), night.prices(every="1s"))
    yield "depth", lambda: [night.depth(token, "1s") for token in TOKENS]
    yield "bars", lambda: night.bars(every="1s")
    yield "books", lambda: [night.book_at(token, time).to_dict() for token in TOKENS for time in _times(night)]
    yield "events", lambda: (list(night.events()), list(night.events("11", start=_times(night)[2])))
    yield "csv", lambda: to_csv(folder, out / "csv")
    yield "duckdb", lambda: to_duckdb(folder, out / "duckdb")
    yield "hftbacktest", lambda: to_hftbacktest(folder, out / "hftbacktest")


def _said(folder: Path, out: Path) -> dict[str, str]:
    """Return what each reader raised; anything but an error of ours is a failure."""
    said: dict[str, str] = {}
    for name, read in _readers(folder, out):
        try:
            read()
        except pm.PmliveError as error:
            said[name] = str(error)
    assert [text for text in said.values() if not text.isprintable()] == []
    return said


@pytest.mark.quick(4)
@pytest.mark.parametrize("table", ["book_deltas", "keyframes", "gaps"])
@pytest.mark.parametrize("spoil", _DAMAGE.values(), ids=_DAMAGE.keys())
def test_a_damaged_table_is_named_by_whoever_cannot_read_it(
    folder: Path, tmp_path: Path, spoil: Spoil, table: str
) -> None:
    path = first(folder, table)
    spoil(path)

    said = _said(folder, tmp_path / "out")

    said.pop("token")
    assert f"scan {table}" in said or spoil is _with_zeros
    assert said.keys() >= {"csv", "duckdb"}
    for text in said.values():
        assert path.name in text
        assert f"pmlive verify '{folder}'" in text


def _lies() -> Iterator[Any]:
    """Yield lies about tables: those that readers once failed at for every day, and as slow every fourth of the rest.

    So each lie is told of several tables, and each table has lies of many kinds.
    """
    everyday = {
        ("keyframes", "with other numbers in its footer"),
        ("keyframes", "with nulls in bid_prices"),
        ("keyframes", "of short lists"),
        ("book_snapshots", "with other times in its footer"),
        ("book_deltas", "of nulls"),
        ("book_deltas", "with another type of price"),
        ("gaps", "with nulls in started"),
        ("gaps", "of words"),
        ("checks", "of another table"),
        ("prices", "without token_id"),
        ("trades", "of half the rows"),
    }
    for number, table in enumerate(_TABLES):
        for position, (name, spoil) in enumerate(_LIES.items()):
            if (table, name) in everyday:
                yield pytest.param(table, spoil, id=f"{table} {name}")
            elif (number + position) % 4 == 0:
                yield pytest.param(table, spoil, id=f"{table} {name}", marks=pytest.mark.slow)


@pytest.mark.quick(3)
@pytest.mark.parametrize(("table", "spoil"), [*_lies()])
def test_a_table_that_lies_makes_no_reader_fail_in_any_other_way(
    folder: Path, tmp_path: Path, table: str, spoil: Spoil
) -> None:
    path = first(folder, table)
    spoil(path)
    _relist(folder, path)

    said = _said(folder, tmp_path / "out")

    said.pop("token", None)
    for text in said.values():
        assert path.name in text
        assert f"pmlive verify '{folder}'" in text


def test_what_is_wrong_with_a_table_that_lies_is_a_finding(folder: Path) -> None:
    for table, spoil in (("keyframes", _of_short_lists), ("book_deltas", _of_words), ("gaps", _turned_round)):
        spoil(first(folder, table))
        _relist(folder, first(folder, table))

    problems = {one.path.partition("/")[0]: one.problem for one in verify_files(folder)}

    assert "not as long as those in bid_sizes" in problems["keyframes"]
    assert "which is none of" in problems["book_deltas"]
    assert "not in order of arrival" in problems["gaps"]


@pytest.mark.parametrize("spoil", [partial(_without, name="price"), _of_words, _cut, _of_another_table])
def test_quality_leaves_out_what_it_cannot_read_though_it_has_its_checksum(folder: Path, spoil: Spoil) -> None:
    path = first(folder, "book_deltas")
    spoil(path)
    _relist(folder, path)

    found = pm.open_recording(folder).quality()

    assert [one.path for one in found.damaged] == [path.relative_to(folder).as_posix()]
    assert not found.ok
