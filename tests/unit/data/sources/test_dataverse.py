import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from skinlesions.core.errors import UserError
from skinlesions.data.sources import dataverse
from skinlesions.data.sources.dataverse import PublishedFile
from tests.helpers.dataverse_server import DOI, Dataverse, serving

ARCHIVE = bytes(range(256)) * 4000

# Where connections are cut: on the border of what is written at once, so that the bytes that arrive are those kept.
CUT = 5 * dataverse.CHUNK_BYTES
TABLE = b"image_id,dx\nISIC_1,nv\n"


def published(name: str, content: bytes) -> PublishedFile:
    return PublishedFile(name, len(content), hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest())


FILES = (published("HAM10000_metadata.csv", TABLE), published("HAM10000_images_part_1.zip", ARCHIVE))


@pytest.fixture
def server() -> Iterator[Dataverse]:
    offered = {"readme.txt": b"", "HAM10000_metadata.tab": TABLE, "HAM10000_images_part_1.zip": ARCHIVE}
    with serving(Dataverse(offered)) as running:
        yield running


@pytest.fixture
def waits() -> list[int]:
    """The number of failures in a row at every wait."""
    return []


@pytest.fixture
def download(server: Dataverse, tmp_path: Path, waits: list[int]) -> Callable[[], Path]:
    def call() -> Path:
        dataverse.download(tmp_path / "download", base_url=server.url, doi=DOI, published=FILES, wait=waits.append)
        return tmp_path / "download"

    return call


def assert_whole(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "HAM10000_metadata.csv": TABLE,
        "HAM10000_images_part_1.zip": ARCHIVE,
    }


def test_files_come_whole_and_the_table_in_its_original_form(download, server, waits):
    assert_whole(download())
    assert waits == []
    assert [path.rpartition("/")[2] for path, _ in server.contents()] == ["original", "archival"]


def test_what_is_there_needs_no_network(download, server):
    folder = download()
    asked = len(server.asked)
    download()
    assert len(server.asked) == asked
    (folder / "HAM10000_metadata.csv").write_bytes(TABLE.replace(b"nv", b"df"))
    assert_whole(download())  # a file that was changed is fetched again
    assert len(server.contents()) == 3


def test_the_server_refuses_the_default_user_agent(server):
    assert requests.get(f"{server.url}/api/datasets/:persistentId/?persistentId={DOI}", timeout=5).status_code == 403


def test_a_cut_connection_is_resumed_where_it_broke_at_a_new_address(download, server, waits):
    server.cuts = [len(TABLE), CUT, 2 * CUT]
    assert_whole(download())
    assert waits == [1, 1]  # each attempt got further, so the wait does not grow
    ranges = [range for _, range in server.contents()[1:]]
    assert ranges == [None, f"bytes={CUT}-", f"bytes={3 * CUT}-"]
    assert len({path for path, _ in server.contents()}) == 4  # every attempt resolved the address anew


def test_an_unfinished_file_of_an_earlier_run_is_continued(download, server, tmp_path):
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "HAM10000_images_part_1.zip.part").write_bytes(ARCHIVE[:1000])
    assert_whole(download())
    assert server.contents()[1][1] == "bytes=1000-"


def test_a_finished_part_needs_only_its_name(download, server, tmp_path):
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "HAM10000_images_part_1.zip.part").write_bytes(ARCHIVE)
    assert_whole(download())
    assert len(server.contents()) == 1


@pytest.mark.parametrize("start", [b"not the archive", ARCHIVE + b"more", bytes(len(ARCHIVE))])
def test_a_wrong_part_is_fetched_again(download, tmp_path, start):
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "HAM10000_images_part_1.zip.part").write_bytes(start)
    assert_whole(download())


def test_a_server_without_ranges_is_restarted(download, server):
    server.ranges = False
    server.cuts = [len(TABLE), CUT]
    assert_whole(download())
    assert [range for _, range in server.contents()[1:]] == [None, f"bytes={CUT}-"]


def test_another_range_than_asked_for_is_not_appended(download, server):
    server.shift = 7
    server.cuts = [len(TABLE), CUT]
    assert_whole(download())
    assert [range for _, range in server.contents()[1:]] == [None, f"bytes={CUT}-", None]


def test_a_range_beyond_the_end_starts_over(download, server):
    server.shift = len(ARCHIVE)
    server.cuts = [len(TABLE), CUT]
    assert_whole(download())


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_passing_fault_is_tried_again(download, server, waits, status):
    server.statuses = [status] * 3
    assert_whole(download())
    assert waits == [1, 2, 3]


def test_a_lasting_fault_ends_with_the_ways_out(download, server, waits):
    server.statuses = [500] * 100
    with pytest.raises(UserError, match=r"8 attempts in a row got no further \(HTTP 500(.|\n)*HAM10000_DIR"):
        download()
    assert waits == list(range(1, dataverse.FILE_ATTEMPTS))


def test_a_fault_that_no_attempt_mends_is_not_tried_again(download, server, waits):
    server.statuses = [410]
    with pytest.raises(UserError, match="HTTP 410"):
        download()
    assert waits == []


def test_damage_on_the_way_is_mended_once(download, server):
    server.damaged = 1
    assert_whole(download())


def test_lasting_damage_is_refused(download, server, tmp_path):
    server.damaged = 100
    with pytest.raises(UserError, match="twice the content did not have the SHA-256"):
        download()
    assert list((tmp_path / "download").iterdir()) == []


def test_more_bytes_than_listed_are_refused(download, server, tmp_path):
    server.surplus = bytes(10)
    with pytest.raises(UserError, match=r"more than the 22 bytes of HAM10000_metadata\.csv"):
        download()
    assert list((tmp_path / "download").iterdir()) == []


@pytest.fixture
def by_md5(server: Dataverse, tmp_path: Path, waits: list[int]) -> Callable[[], Path]:
    """Download files of which nobody vouches for the size or the SHA-256."""
    known = tuple(PublishedFile(file.name, None, file.md5, None) for file in FILES)

    def call() -> Path:
        dataverse.download(tmp_path / "download", base_url=server.url, doi=DOI, published=known, wait=waits.append)
        return tmp_path / "download"

    return call


def test_a_file_known_by_its_md5_alone_is_resumed_mended_and_kept(by_md5, server, waits):
    server.cuts = [len(TABLE), CUT]
    assert_whole(by_md5())
    assert waits == [1]
    asked = len(server.asked)
    by_md5()
    assert len(server.asked) == asked
    (by_md5() / "HAM10000_images_part_1.zip").write_bytes(bytes(len(ARCHIVE)))
    server.damaged = 1
    assert_whole(by_md5())


def test_lasting_damage_of_a_file_known_by_its_md5_alone_is_refused(by_md5, server):
    server.damaged = 100
    with pytest.raises(UserError, match=f"twice the content did not have the MD5 {FILES[0].md5}"):
        by_md5()


def test_a_list_without_the_size_that_nobody_vouches_for_is_refused(by_md5, download, server):
    listed = json.loads(server.listed())
    for entry in listed["data"]["latestVersion"]["files"]:
        entry["dataFile"] = {key: value for key, value in entry["dataFile"].items() if "size" not in key.lower()}
    server.listing = json.dumps(listed).encode()
    with pytest.raises(UserError, match=r"does not say how large HAM10000_metadata\.csv is"):
        by_md5()
    assert_whole(download())  # where the size is pinned, the list need not have it


def test_another_version_of_the_dataset_is_refused_before_the_download(download, server):
    server.md5["HAM10000_images_part_1.zip"] = "0" * 32
    with pytest.raises(UserError, match=f"has the MD5 {'0' * 32} there; version 4.0"):
        download()
    assert server.contents() == []


def test_a_restricted_file_is_refused(download, server):
    server.restricted = True
    with pytest.raises(UserError, match="not open for download"):
        download()


def test_a_missing_file_is_named(download, server):
    del server.files["HAM10000_images_part_1.zip"]
    with pytest.raises(UserError, match=r"no file HAM10000_images_part_1\.zip any more"):
        download()


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"data": {"latestVersion": {"files": [{}]}}}', b"[]"])
def test_an_answer_that_is_no_file_list_is_refused(download, server, answer):
    server.listing = answer
    with pytest.raises(UserError, match="something other than the file list"):
        download()


def test_no_server_ends_with_the_three_ways_out(tmp_path):
    waits: list[int] = []
    with serving(Dataverse({})) as gone:
        pass
    with pytest.raises(UserError) as caught:
        dataverse.download(tmp_path, base_url=gone.url, doi=DOI, published=FILES, wait=waits.append)
    message = str(caught.value)
    assert re.match(re.escape(f"{gone.url} cannot be reached (") + ".*Connection refused", message)
    assert all(way in message for way in ("HAM10000_DIR", "data.folder", "run the same command again", "make demo"))
    assert waits == [1]


def test_a_disk_that_is_too_small_is_found_before_the_download(server, tmp_path):
    vast = PublishedFile(FILES[1].name, 10**18, FILES[1].md5, FILES[1].sha256)
    with pytest.raises(UserError, match=r"needs 1,000,000,000\.0 GB more"):
        dataverse.download(tmp_path, base_url=server.url, doi=DOI, published=(vast,), wait=lambda failures: None)
    assert server.contents() == []


def test_the_pinned_files_are_those_that_a_local_folder_needs():
    assert [file.name for file in dataverse.FILES] == [
        "HAM10000_metadata.csv",
        "HAM10000_images_part_1.zip",
        "HAM10000_images_part_2.zip",
    ]
    assert all(len(file.md5) == 32 and len(file.sha256) == 64 for file in dataverse.FILES)
