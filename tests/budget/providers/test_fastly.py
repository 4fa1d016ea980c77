"""Fastly's figures, from a server that gives them as late as Fastly does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from heliostat.budget.providers import FaultKind, ProviderError, Reading, open_provider
from heliostat.model.budget import ProviderSource
from tests.budget.providers.fastly_server import SERVICE, TOKEN, Account, fastly

NOW = datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)
RESET = datetime(2026, 11, 22, tzinfo=UTC)
A_SECOND = 1000


def steady(second: int) -> int:
    return A_SECOND + second % 7


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "fastly.token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


async def ask(
    account: Account,
    token_file: Path,
    since: datetime = RESET,
    service: str = SERVICE,
    **more: float,
) -> Reading:
    async with fastly(account) as base:
        source = ProviderSource("fastly", service, base, token_file=str(token_file), **more)  # type: ignore[arg-type]
        return await open_provider(source, "cdn.example.org").usage(since, account.now)


def sent(account: Account, since: datetime, reading: Reading) -> int:
    return account.between(int(since.timestamp()), int(reading.until.timestamp()))


async def test_a_figure_is_exactly_what_was_sent_until_the_time_it_names(token_file: Path) -> None:
    account = Account(NOW, steady, seconds_kept=300)
    reading = await ask(account, token_file)
    assert reading.bytes == sent(account, RESET, reading)
    assert reading.read_at == NOW
    assert NOW - reading.until < timedelta(seconds=10)
    assert "second" in reading.detail


@pytest.mark.parametrize("minutes_late", [2, 5, 15, 45])
@pytest.mark.parametrize("hours_late", [15, 120, 60 * 10])
async def test_figures_that_are_late_make_it_older_not_smaller(
    token_file: Path, hours_late: int, minutes_late: int
) -> None:
    account = Account(
        NOW,
        steady,
        hours_late_s=hours_late * 60,
        minutes_late_s=minutes_late * 60,
        seconds_kept=0,
    )
    reading = await ask(account, token_file)
    assert reading.bytes == sent(account, RESET, reading)
    assert NOW - reading.until < timedelta(minutes=minutes_late + 2)


async def test_a_gap_that_minutes_cannot_close_leaves_the_hours_figure(token_file: Path) -> None:
    since = RESET - timedelta(days=3)
    account = Account(NOW, steady, hours_late_s=40 * 3600)
    reading = await ask(account, token_file, since)
    assert reading.bytes == sent(account, since, reading) > 0
    assert NOW - reading.until > timedelta(hours=39)


async def test_a_real_time_channel_that_begins_later_is_left_out(token_file: Path) -> None:
    account = Account(NOW, steady, minutes_late_s=10 * 60)
    reading = await ask(account, token_file)
    assert reading.bytes == sent(account, RESET, reading)
    assert timedelta(minutes=9) < NOW - reading.until < timedelta(minutes=12)
    assert any("/v1/channel/" in asked for asked in account.asked)


async def test_before_anything_was_sent_the_figure_is_of_the_periods_beginning(
    token_file: Path,
) -> None:
    reading = await ask(Account(NOW, lambda _: 0), token_file)
    assert (reading.bytes, reading.until) == (0, RESET)


@pytest.mark.parametrize("minutes", [0, 1, 30, 90])
async def test_a_period_that_just_began_has_only_what_is_its_own(
    token_file: Path, minutes: int
) -> None:
    account = Account(NOW, steady)
    since = NOW - timedelta(minutes=minutes)
    since = since.replace(second=0)
    reading = await ask(account, token_file, since)
    assert since <= reading.until <= NOW
    assert reading.bytes == sent(account, since, reading)


async def test_delay_leaves_out_what_is_newer(token_file: Path) -> None:
    account = Account(NOW, steady)
    reading = await ask(account, token_file, delay_s=4 * 3600.0)
    assert NOW - reading.until > timedelta(hours=4)
    assert reading.bytes == sent(account, RESET, reading)


async def test_an_account_from_the_1st_is_asked_for_by_the_month_in_bytes(token_file: Path) -> None:
    first = datetime(2026, 11, 1, tzinfo=UTC)
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    account = Account(now, steady)
    reading = await ask(account, token_file, first, service="")
    assert account.asked == ["/stats/usage_by_month?year=2026&month=11"]
    assert reading.bytes >= sent(account, first, reading)
    assert reading.is_partial


async def test_an_account_from_another_day_is_asked_for_by_the_hour(token_file: Path) -> None:
    account = Account(NOW, steady)
    reading = await ask(account, token_file, service="")
    assert all(asked.startswith("/stats/aggregate?") for asked in account.asked)
    assert reading.bytes == sent(account, RESET, reading)


async def test_a_token_that_is_refused_and_a_service_that_is_not_there_say_so(
    token_file: Path,
) -> None:
    account = Account(NOW, steady)
    with pytest.raises(ProviderError, match="check the id") as absent:
        await ask(account, token_file, service="nobodys")
    assert absent.value.kind is FaultKind.ABSENT
    token_file.write_text("another-token")
    with pytest.raises(ProviderError, match="refuses the token") as refused:
        await ask(account, token_file)
    assert refused.value.kind is FaultKind.REFUSED
    assert "another-token" not in str(refused.value)
