"""Pictures and manifests in an object store, read by its own protocol from a server on this machine."""

import pytest
from object_store import ObjectStore
from parquet_files import picture, write

from annotriage.data import open_dataset
from annotriage.errors import DataError
from annotriage.settings import ServiceSettings
from annotriage.states import Failure


@pytest.fixture(scope="module")
def bucket():
    """A store whose bucket `scans` holds pictures by class."""
    from annotriage.media import object_store

    store = ObjectStore()
    store.files = {f"scans/new/{name}": picture(shade) for shade, name in enumerate(("cat/1.png", "cat/2.png", "dog/3.png", "4.png"))}
    store.files["scans/new/notes.txt"] = b"what we did"
    with pytest.MonkeyPatch.context() as patch, store.serving() as address:
        patch.setenv("AWS_ENDPOINT_URL", address)
        for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        object_store._opened.cache_clear()  # how a store is reached is read once
        yield store
    object_store._opened.cache_clear()


def test_pictures_in_a_store_are_read_like_those_in_a_folder(bucket):
    dataset = open_dataset("s3://scans/new")
    assert (dataset.name, dataset.count) == ("new", 4)
    assert [(item.id, item.labels, item.media) for item in dataset] == [
        ("4.png", None, picture(3)),
        ("cat/1.png", ("cat",), picture(0)),
        ("cat/2.png", ("cat",), picture(1)),
        ("dog/3.png", ("dog",), picture(2)),
    ]
    assert [item.id for item in dataset.part(1, 3)] == ["cat/1.png", "cat/2.png"]
    assert ".txt: 1" in dataset.notes[0]


def test_a_manifest_in_a_store_names_files_beside_it_and_in_listed_buckets_alone(bucket, tmp_path):
    paths = ["cat/1.png", "s3://scans/new/4.png", "s3://private/salaries.png", "cat/none.png"]
    bucket.files["scans/new/all.parquet"] = write(tmp_path / "all.parquet", path=paths).read_bytes()
    try:
        beside, same_bucket, other_bucket, gone = open_dataset("s3://scans/new/all.parquet")
    finally:
        del bucket.files["scans/new/all.parquet"]
    assert (beside.media, same_bucket.media) == (picture(0), picture(3))
    assert other_bucket.problem.failure == Failure.FORBIDDEN
    assert "add s3://private to the setting media_hosts" in other_bucket.problem.text
    assert not any(name.startswith("private/") for name in bucket.asked)
    assert gone.problem.failure == Failure.GONE


def test_a_manifest_on_this_machine_reads_the_buckets_that_are_listed(bucket, tmp_path):
    (tmp_path / "items.csv").write_text("path,label\ns3://scans/new/cat/1.png,cat\ns3://scans/new/dog/3.png,dog\n")
    allowed = open_dataset(tmp_path / "items.csv", server=ServiceSettings(media_hosts=("s3://scans",)))
    assert [item.media for item in allowed] == [picture(0), picture(2)]
    refused = open_dataset(tmp_path / "items.csv", server=ServiceSettings())
    assert [item.problem.failure for item in refused] == [Failure.FORBIDDEN] * 2


def test_a_store_that_throttles_for_a_moment_is_asked_again(bucket):
    bucket.throttled = 2
    assert next(iter(open_dataset("s3://scans/new"))).media == picture(3)


def test_a_file_larger_than_the_limit_is_not_read(bucket, tmp_path):
    bucket.files["scans/large/a.png"] = b"x" * (2**20 + 1)
    (item,) = open_dataset("s3://scans/large", server=ServiceSettings(media_mb=1))
    assert item.problem.failure == Failure.TOO_LARGE


def test_an_empty_place_says_what_to_check(bucket):
    with pytest.raises(DataError, match="nothing is stored there; check the bucket and the path"):
        open_dataset("s3://scans/nothing")


@pytest.mark.parametrize(
    "address", ["s3://[x/key", "s3://sc\tans/new/4.png", "s3://scans?x/4.png", "s3://scans/../private/a.png", "s3:///a.png"]
)
def test_an_address_that_names_no_bucket_fails_by_itself(bucket, tmp_path, address):
    (tmp_path / "items.csv").write_text(f'path\n"{address}"\ns3://scans/new/4.png\n')
    asked = len(bucket.asked)
    wrong, right = open_dataset(tmp_path / "items.csv", server=ServiceSettings(media_hosts=("s3://scans",)))
    assert wrong.problem.failure == Failure.ADDRESS
    assert right.media == picture(3)
    assert set(bucket.asked[asked:]) == {"scans/new/4.png"}
    with pytest.raises(DataError):
        open_dataset(address)


def test_a_piece_of_a_manifest_fetches_its_own_files_alone(bucket, tmp_path):
    (tmp_path / "items.csv").write_text("path\n" + "".join(f"s3://scans/new/cat/{n}.png\n" for n in (1, 2, 9, 8)))
    asked = len(bucket.asked)
    dataset = open_dataset(tmp_path / "items.csv", server=ServiceSettings(media_hosts=("s3://scans",)))
    assert [item.media for item in dataset.part(1, 2)] == [picture(1)]
    assert set(bucket.asked[asked:]) == {"scans/new/cat/2.png"}


def test_parts_in_folders_name_files_beside_themselves(bucket, tmp_path):
    for site in ("a", "b"):
        bucket.files[f"scans/hive/site={site}/part.parquet"] = write(tmp_path / f"{site}.parquet", path=["1.png"], id=[site]).read_bytes()
        bucket.files[f"scans/hive/site={site}/1.png"] = picture(ord(site))
    assert [item.media for item in open_dataset("s3://scans/hive")] == [picture(ord("a")), picture(ord("b"))]
