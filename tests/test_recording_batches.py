"""Reading of long recordings: exports and quality hold no more rows of a long one than of a short one."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples
from support.taping import TOKENS, told

import pmlive as pm
from pmlive.export import to_csv, to_duckdb, to_hftbacktest
from pmlive.recording.batches import batches, most_rows, row_groups
from pmlive.recording.index import IndexCache, RecordingIndex
from pmlive.recording.latency import Delays
from pmlive.recording.mirror import Mirror, mirror
from pmlive.store import Manifest, SealedFile, compact, parquet, read_manifest, scan
from pmlive.tables import SCHEMAS

_SEGMENTS = (2, 6)
# The tables that grow with every message of a book.
_LONG = ("book_deltas", "trades")
_READERS: dict[str, Callable[[Path, Path], object]] = {
    "quality": lambda folder, _: pm.open_recording(folder).quality(),
    "csv": to_csv,
    "duckdb": to_duckdb,
    "hftbacktest": lambda folder, out: to_hftbacktest(folder, out, token_id=TOKENS[0]),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("recordings")
    for segments in _SEGMENTS:
        told(folder / str(segments), 21, segments=segments)
    return {segments: folder / str(segments) for segments in _SEGMENTS}


def _most_files_at_once(read: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many files of a long table were read as one frame, which has all of their rows in memory."""
    most = 0
    whole = pl.scan_parquet

    def seen(paths: list[Path], *, glob: bool = False, hive_partitioning: bool = False) -> pl.LazyFrame:
        nonlocal most
        most = max(most, sum(path.parent.parent.name in _LONG for path in paths))
        return whole(paths, glob=glob, hive_partitioning=hive_partitioning)

    with monkeypatch.context() as patch:
        patch.setattr(pl, "scan_parquet", seen)
        read()
    return most


@pytest.mark.parametrize("name", _READERS)
def test_no_more_files_are_read_at_once_of_a_longer_recording(
    recorded: dict[int, Path], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _READERS[name]

    short, long = (
        _most_files_at_once(lambda at=segments: read(recorded[at], tmp_path / str(at)), monkeypatch)
        for segments in _SEGMENTS
    )

    assert short <= 1
    assert long <= 1


def _sealed(folder: Path, frames: Sequence[tuple[str, pl.DataFrame]]) -> list[SealedFile]:
    """Write tables as a recorder would have, whose raw frames were given up."""
    files: list[SealedFile] = []
    for number, (table, frame) in enumerate(frames, start=1):
        encoded = parquet.encode(table, frame)
        path = folder / table / "date=2026-11-21" / f"{encoded.first_time}-00000000-{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.data)
        listed = {name: getattr(encoded, name) for name in encoded.__struct_fields__ if name != "data"}
        sha256 = hashlib.sha256(encoded.data).hexdigest()
        name = path.relative_to(folder).as_posix()
        files.append(SealedFile(path=name, table=table, bytes=len(encoded.data), sha256=sha256, **listed))
    last = max(file.last_time for file in files)
    markets: list[dict[str, object]] = [{"token_ids": ["a", "b"]}, {"token_ids": ["c", "a"]}, {"token_ids": ["c"]}]
    manifest = Manifest(
        pmlive="", created="2026-11-21T00:00:00Z", files=files, last_recv=last, raw_from=last + 1, markets=markets
    )
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return files


def _typed(table: str, **columns: object) -> pl.DataFrame:
    given = pl.DataFrame({"conn": 1} | columns)
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in SCHEMAS[table].items()
    )


@pytest.mark.parametrize(("table", "rows"), [("trades", 150_000), ("book_snapshots", 10_000)])
def test_a_file_is_read_a_batch_at_a_time_and_whole(tmp_path: Path, table: str, rows: int) -> None:
    number = pl.int_range(1, rows + 1, eager=True)
    sides = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    ladders = dict.fromkeys(sides, (number % 100 / 100).reshape((rows, 1)).arr.to_list())
    token = (number % 3).cast(pl.String)
    frame = _typed(
        table, seq=number, ts_recv=number, token_id=token, opening=number % 2 == 0, price=number / 7, **ladders
    )
    files = _sealed(tmp_path, [(table, frame)])

    parts = list(batches(tmp_path, table, files))

    assert max(part.height for part in parts) <= most_rows(table) < rows
    assert pl.concat(parts).equals(scan(tmp_path, table).collect())
    assert sum(group.rows for group in row_groups(tmp_path, files)) == rows


@pytest.mark.parametrize("segments", _SEGMENTS)
def test_every_table_of_a_recording_is_read_as_a_scan_reads_it(recorded: dict[int, Path], segments: int) -> None:
    folder = recorded[segments]

    for table, schema in SCHEMAS.items():
        parts = list(batches(folder, table, read_manifest(folder).of(table)))
        assert pl.concat([schema.to_frame(), *parts]).equals(scan(folder, table).collect())


def test_a_token_whose_book_could_never_be_trusted_is_left_out_of_an_export(tmp_path: Path) -> None:
    gap = _typed("gaps", seq=[5], ts_recv=9, token_id="a", started=0, ended=90, cause="silence", detail="")
    _sealed(tmp_path / "night", [("keyframes", _books(["a", "b"], 1, 5)), ("gaps", gap)])

    done = to_hftbacktest(tmp_path / "night", tmp_path / "out")

    assert [(one.token_id, one.reason) for one in done.skipped] == [
        ("a", "no book of it could be trusted, and no trade was recorded")
    ]
    assert [one.token_id for one in done.tokens] == ["b"]


# --- latency ---

_CHUNKS = st.lists(
    st.lists(
        st.integers(-(1 << 62), 1 << 62) | st.integers(-2_000, 2_000) | st.integers(10**9, 10**9 + 50) | st.just(7)
    ),
    min_size=1,
    max_size=6,
)


@given(_CHUNKS, st.integers(1, 20))
@example([[7] * 40, [7, 8, 9]], 2)
@example([[-(1 << 53), 1 << 53, (1 << 53) + 1, -(1 << 53) - 1]], 1)
@examples(200)
def test_the_ranks_of_delays_are_those_of_all_of_them_sorted(chunks: list[list[int]], most_kept: int) -> None:
    arrays = [np.array(chunk, dtype=np.int64) for chunk in chunks]
    delays = Delays(most_kept=most_kept)
    for array in arrays:
        delays.add(array)

    found = delays.latency(99, lambda: arrays)

    whole = pl.Series(np.concatenate(arrays)) / 1e6
    assert found.changes == 99
    expected = (whole.median(), whole.quantile(0.95), whole.quantile(0.99), whole.max())
    for ours, theirs in zip((found.median, found.p95, found.p99, found.most), expected, strict=True):
        assert ours == (None if theirs is None else pytest.approx(theirs, rel=1e-14, abs=1e-9))


def test_no_more_delays_are_kept_than_allowed_where_nearly_all_are_alike() -> None:
    alike = np.arange(10**15, 10**15 + 5_000, dtype=np.int64)
    delays = Delays(most_kept=10)
    delays.add(alike)
    read: list[int] = []

    def again() -> Iterator[npt.NDArray[np.int64]]:
        read.append(1)
        yield alike

    found = delays.latency(5_000, again)

    assert found.median == pytest.approx((10**15 + 2499.5) / 1e6, rel=1e-14)
    assert 1 < len(read) < 6


# --- mirrors ---


def _night_of_pairs(folder: Path, random: Random, files: int) -> None:
    """Write prices of tokens that mirror each other now and then, after keyframes of all; one is in two markets."""
    tokens, prices = list("abcd"), (None, 0.25, 0.5, 0.75)
    frames, seq, time = [("keyframes", _books(tokens, 1, 0))], 10, 0
    for _ in range(files):
        # A clock may be set back between two runs.
        time = max(time + random.choice((-25, 0, 3)), 1)
        rows = [(random.choice(tokens), random.choice(prices), random.choice(prices)) for _ in range(30)]
        times = [time := time + random.choice((0, 0, 1, 2)) for _ in rows]
        token_id, bid, ask = zip(*rows, strict=True)
        numbers = range(seq, seq + 30)
        made = _typed("prices", seq=numbers, ts_recv=times, token_id=token_id, best_bid=bid, best_ask=ask)
        frames.append(("prices", made))
        seq += 30
    gap = _typed("gaps", seq=[seq], ts_recv=60, token_id="b", started=40, ended=60, cause="silence", detail="")
    _sealed(folder, [*frames, ("gaps", gap), ("keyframes", _books(tokens, seq + 1, 1_000))])


def _books(tokens: Sequence[str], seq: int, time: int) -> pl.DataFrame:
    numbers, nothing = range(seq, seq + len(tokens)), pl.Series([[0.5]] * len(tokens))
    levels = dict.fromkeys(("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"), nothing)
    return _typed("keyframes", seq=numbers, ts_recv=time, token_id=tokens, state="verified", alone=False, **levels)


def _simple_mirror(index: RecordingIndex) -> Mirror:
    """Go through all times one by one."""
    rows = index.contents.scan("prices").collect().sort("ts_recv", maintain_order=True)
    found: list[float] = []
    for market in index.markets:
        tops: dict[str, tuple[float | None, float | None]] = {}
        for (time,), part in rows.filter(pl.col("token_id").is_in(market.token_ids)).group_by(
            pl.col("ts_recv").dt.epoch("ns"), maintain_order=True
        ):
            assert isinstance(time, int)
            tops |= {token: (bid, ask) for token, bid, ask in part.select("token_id", "best_bid", "best_ask").rows()}
            spans = [index.timelines[token].spans() for token in market.token_ids if token in index.timelines]
            if len(tops) == 2 and all(any(span.start <= time < span.end for span in each) for each in spans):
                found += _deviations(*(tops[token] for token in market.token_ids))
    return Mirror(
        moments=len(found), mirrored=sum(each < 1e-9 for each in found), worst=round(max(found, default=0.0), 9)
    )


def _deviations(one: tuple[float | None, float | None], other: tuple[float | None, float | None]) -> list[float]:
    crossed = [(one[0], other[1]), (one[1], other[0])]
    both = [abs(theirs - (1 - ours)) for ours, theirs in crossed if ours is not None and theirs is not None]
    return [max(both)] if both else []


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("merged", [False, True])
def test_mirrors_are_compared_in_parts_as_they_are_one_time_after_the_other(
    tmp_path: Path, seed: int, *, merged: bool
) -> None:
    _night_of_pairs(tmp_path, Random(seed), files=7)
    if merged:
        compact(tmp_path, grace=0)
    index = IndexCache(tmp_path).current()

    expected = _simple_mirror(index)

    assert 10 < expected.mirrored + 10 < expected.moments
    assert expected.worst > 0
    for at_once in (1, 40, 10**6):
        assert mirror(index, at_once=at_once) == expected
