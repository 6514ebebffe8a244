"""``pmlive history``: what it fetches, writes and says is missing."""

import json
from pathlib import Path

import polars as pl
import pytest
from support.data_api import CONDITION, NO, YES, Api, trade
from support.http import Answer, Request, serving

from pmlive.cli import main

LISTED = {
    "conditionId": CONDITION,
    "slug": "will-it-rain",
    "outcomes": '["Yes","No"]',
    "clobTokenIds": json.dumps([YES, NO]),
    "version": "v1",
}
ROWS = [trade(1_780_000_000, 1), trade(1_780_000_100, 2, token=NO, outcome="No"), trade(1_780_000_200, 3)]


def fetch(*arguments: str, market: dict[str, str] = LISTED) -> int:
    api = Api(ROWS, page=2)

    def answer(request: Request) -> Answer:
        return Answer(json.dumps(market)) if request.path.startswith("/markets/slug/") else api(request)

    with serving(answer) as server, pytest.MonkeyPatch.context() as patch:
        for name in ("CLOB", "GAMMA", "DATA"):
            patch.setenv(f"PMLIVE_{name}_URL", server.url)
        return main(["history", *arguments])


def test_trades_are_written_to_a_file_and_the_rest_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = fetch("trades", "will-it-rain", "--outcome", "Yes", "--out", str(tmp_path / "trades.parquet"))

    said = capsys.readouterr().out
    assert code == 0
    assert "2 rows, 2 requests" in said
    assert "2026-05-28 20:26:40.000 to 2026-05-28 20:30:00.000 UTC" in said
    assert pl.read_parquet(tmp_path / "trades.parquet")["source"].to_list() == ["rest", "rest"]


def test_json_has_the_coverage_and_the_last_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("trades", "will-it-rain", "-o", "json") == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["requests"], told["whole"], told["missing"]) == (3, 2, True, [])
    assert [row["outcome"] for row in told["last"]] == ["Yes", "No", "Yes"]


def test_what_the_venue_does_not_have_any_more_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("trades", "will-it-rain", market=LISTED | {"startDate": "2020-01-01T00:00:00Z"}) == 1
    assert "the venue lists those of three years only" in " ".join(capsys.readouterr().out.split())


def test_bad_usage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there.csv").write_text("")
    for arguments, reason in (
        (("trades", "will-it-rain", "--every", "5m"), "--every goes with prices"),
        (("trades", "will-it-rain", "--out", str(tmp_path / "there.csv")), "is not a new file"),
        (("prices", "will-it-rain"), "does not say when 'will-it-rain' began"),
    ):
        assert fetch(*arguments) == 2
        assert reason in " ".join(capsys.readouterr().err.split())
