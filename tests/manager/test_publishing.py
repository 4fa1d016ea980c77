"""Who may publish, and what folders and buckets have after it: real files, a real S3 protocol."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import boto3
import pytest
from aiohttp.test_utils import TestServer
from moto.server import ThreadedMotoServer

from heliostat.config.load import LoadedConfig
from heliostat.demo.process import free_port
from heliostat.manager.errors import DestinationError, OtherPublisherError
from heliostat.manager.publishing import destinations
from heliostat.manager.publishing.destinations import BucketDestination, destination_of
from heliostat.manager.publishing.lease import LEASE, give_back, hold, holder_of
from heliostat.manager.reports.server import report_app
from heliostat.manager.work.models import PublisherLease
from heliostat.state.compile import compile_state
from heliostat.state.errors import StateError, StateRefusedError
from heliostat.state.fetch import fetch_state
from heliostat.state.keys import KEYS_FOLDER, KeyFolder
from heliostat.state.sign import sign
from heliostat.state.sources import WebSource
from heliostat.state.store import StateStore
from heliostat.state.trust import verified_manifest
from tests.support.worlds import GERMANY, known_world, make_catalog, make_mirror

# the lease


def expire() -> None:
    PublisherLease.objects.update(until=datetime.now(UTC) - timedelta(seconds=1))


@pytest.mark.usefixtures("loaded")
def test_one_manager_publishes_and_the_other_waits() -> None:
    assert [hold("one"), hold("one")] == [1, 1]
    with pytest.raises(OtherPublisherError, match="stop that one first"):
        hold("two")
    assert hold("one") == 1


@pytest.mark.usefixtures("loaded")
def test_a_silent_manager_is_replaced_under_a_higher_number_and_cannot_come_back() -> None:
    assert hold("one") == 1
    expire()
    assert hold("two") == 2
    with pytest.raises(OtherPublisherError):
        hold("one")
    expire()
    assert hold("one") == 3


@pytest.mark.usefixtures("loaded")
def test_a_manager_that_ends_in_order_is_replaced_at_once() -> None:
    hold("one")
    give_back("two")  # not his
    with pytest.raises(OtherPublisherError):
        hold("two")
    give_back("one")
    assert hold("two") == 2


@pytest.mark.usefixtures("loaded")
def test_a_database_made_anew_begins_no_lower_than_what_was_published() -> None:
    assert hold("one", floor=7) == 7
    assert hold("one") == 7
    give_back("one")
    assert hold("two", floor=3) == 8


@pytest.mark.usefixtures("loaded")
def test_keeping_the_lease_moves_its_end() -> None:
    hold("one")
    expire()
    hold("one")
    assert PublisherLease.objects.get().until > datetime.now(UTC) + LEASE / 2


def test_a_manager_knows_itself_by_its_folder(tmp_path: Path) -> None:
    one, other = holder_of(tmp_path / "one"), holder_of(tmp_path / "other")
    assert one == holder_of(tmp_path / "one") != other
    (tmp_path / "one" / "manager-id").write_text("")  # of a disk that was full
    assert holder_of(tmp_path / "one")


# the destinations


def publish(data_dir: Path, name: str = "de.example", *, fence: int = 1) -> StateStore:
    store = StateStore(data_dir / "state")
    known = known_world(make_catalog({b"a": b"1"}), [make_mirror(name, GERMANY)])
    compile_state(known, store, datetime.now(UTC), fence=fence)
    return store


class Bucket:
    """A bucket behind S3's protocol that the public may read."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.name = f"states-{secrets.token_hex(4)}"
        self.url = f"s3://{self.name}/pub"
        self.client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        self.client.create_bucket(Bucket=self.name)
        public = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{self.name}/*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [public]})
        self.client.put_bucket_policy(Bucket=self.name, Policy=policy)

    def destination(self) -> BucketDestination:
        return BucketDestination(self.url, endpoint=self.endpoint, region="")

    def keys(self) -> set[str]:
        listed = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {item["Key"].removeprefix("pub/") for item in listed}

    def source(self) -> WebSource:
        return WebSource(f"{self.endpoint}{self.name}/pub/")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    try:
        host, port = server.get_host_and_port()
        made = Bucket(f"http://{host}:{port}/")
        yield made
        made.client.close()
    finally:
        server.stop()


def test_an_edge_fetches_from_the_bucket_what_was_put_there(bucket: Bucket, tmp_path: Path) -> None:
    store, held = publish(tmp_path), StateStore(tmp_path / "held")
    anchor = KeyFolder(tmp_path / KEYS_FOLDER).roots()[1]
    assert bucket.destination().push(store)
    state = fetch_state(bucket.source(), held, None, anchor=anchor)
    assert state is not None
    assert verified_manifest(held.folder) == store.manifest()
    assert not bucket.destination().push(store)
    publish(tmp_path, "other.example")
    assert bucket.destination().push(store)
    source = bucket.source()
    newer = fetch_state(source, held, state.manifest, anchor=anchor)
    assert newer is not None
    assert newer.version == store.version()
    assert source.timestamp() is None


def test_a_bucket_forgets_what_nobody_reads_any_more(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = publish(tmp_path)
    bucket.destination().push(store)
    first = bucket.keys()
    for number in range(4):
        publish(tmp_path, f"m{number}.example")
        bucket.destination().push(store)
    assert first <= bucket.keys(), "a slow reader may still want them"
    monkeypatch.setattr(destinations, "OLD", timedelta(0))
    publish(tmp_path, "last.example")
    bucket.client.put_object(Bucket=bucket.name, Key="pub/mine.txt", Body=b"x")
    bucket.destination().push(store)
    kept = bucket.keys()
    assert not first <= kept
    assert {"metadata/1.root.json", "metadata/timestamp.json", "mine.txt"} <= kept
    held = StateStore(tmp_path / "held")
    anchor = KeyFolder(tmp_path / KEYS_FOLDER).roots()[1]
    assert fetch_state(bucket.source(), held, None, anchor=anchor) is not None


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_of_two_managers_the_one_with_the_older_lease_is_refused(
    bucket: Bucket, tmp_path: Path, kind: str, loaded: LoadedConfig
) -> None:
    """As after a restore beside a manager that was thought dead."""

    def place() -> destinations.Destination:
        if kind == "bucket":
            return bucket.destination()
        return destination_of(str(tmp_path / "out"), loaded)

    old = publish(tmp_path / "old", fence=1)
    place().push(old)
    new = publish(tmp_path / "new", fence=2)
    assert place().push(new)
    publish(tmp_path / "old", "newer.example", fence=1)
    with pytest.raises(StateRefusedError, match="lease"):
        place().push(old)
    assert not place().push(new)


def test_two_who_put_at_the_same_moment_do_not_overwrite_each_other(
    bucket: Bucket, tmp_path: Path
) -> None:
    one, other = publish(tmp_path / "one"), publish(tmp_path / "other")
    first = bucket.destination()
    switch, tag = first._switch()
    assert (switch, tag) == (None, None)
    assert bucket.destination().push(other)
    raw = one.switch.read_bytes()
    with pytest.raises(StateRefusedError, match="another manager"):
        first._put_switch(raw, tag)  # what it saw before is there no more


def test_a_state_is_never_replaced_by_an_older_one(bucket: Bucket, tmp_path: Path) -> None:
    store = publish(tmp_path)
    manifest = store.manifest()
    newer = replace(manifest, version=manifest.version + 9)
    store.commit(sign(newer, KeyFolder(tmp_path / KEYS_FOLDER)))
    bucket.destination().push(store)
    store.commit(sign(manifest, KeyFolder(tmp_path / KEYS_FOLDER)))
    with pytest.raises(StateRefusedError, match="publish anew"):
        bucket.destination().push(store)


def test_a_bucket_that_is_not_there_is_one_sentence(bucket: Bucket, tmp_path: Path) -> None:
    missing = BucketDestination("s3://no-such-bucket/x", endpoint=bucket.endpoint, region="")
    with pytest.raises(DestinationError, match="s3://no-such-bucket/x: "):
        missing.push(publish(tmp_path))


def test_a_place_of_another_kind_is_one_sentence(loaded: LoadedConfig) -> None:
    for where in ("ftp://host/x", "s3:///x"):
        with pytest.raises(DestinationError, match="s3://BUCKET/PREFIX"):
            destination_of(where, loaded)


async def test_the_manager_itself_offers_its_states(tmp_path: Path) -> None:
    store, held = publish(tmp_path), StateStore(tmp_path / "held")
    anchor = KeyFolder(tmp_path / KEYS_FOLDER).roots()[1]
    async with TestServer(report_app({}, store.folder)) as server:
        source = WebSource(str(server.make_url("/-/state/")))
        take = partial(fetch_state, source, held, None, anchor=anchor)
        assert await asyncio.to_thread(take) is not None
        assert verified_manifest(held.folder) == store.manifest()
        for path in ("writer.lock", "../keys/root.pem", "metadata/../writer.lock", "files/x"):
            with pytest.raises(StateError):
                await asyncio.to_thread(lambda p=path: list(source.chunks(p, 10)))  # type: ignore[misc]
