"""Files are written whole or not at all, and the same content gives the same bytes."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import files, paths
from skinlesions.core.errors import UserError, run_main


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")

    def write_half() -> None:
        with files.replacing(target) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_appears_with_its_folders(tmp_path):
    target = tmp_path / "deep" / "er" / "new.txt"
    with files.replacing(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_kill_in_the_middle_leaves_the_old_file_and_the_next_write_cleans_up(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    code = """
        import os, signal, sys
        from pathlib import Path
        from skinlesions.core import files
        with files.replacing(Path(sys.argv[1])) as temporary:
            temporary.write_text("ne")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code), target], cwd=paths.ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    files.write_text(target, "new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_tables_have_one_form(tmp_path):
    table = pd.DataFrame({"name": ["größe", "b,c"], "value": [1 / 3, np.nan], "count": [1, 2]})
    files.write_csv(tmp_path / "table.csv", table)
    expected = 'name,value,count\ngröße,0.333333,1\n"b,c",,2\n'.encode()
    assert (tmp_path / "table.csv").read_bytes() == expected == files.csv_bytes(table)


def test_compressed_tables_hold_neither_name_nor_time(tmp_path):
    table = pd.DataFrame({"value": range(100)})
    for name in ("one.csv.gz", "two.csv.gz"):
        files.write_csv(tmp_path / name, table)
    one = (tmp_path / "one.csv.gz").read_bytes()
    assert one == (tmp_path / "two.csv.gz").read_bytes()
    assert one[4:8] == bytes(4)  # the time stamp of the gzip header (RFC 1952)
    assert gzip.decompress(one) == files.csv_bytes(table)


def test_json_is_sorted_readable_and_refuses_what_is_not_json(tmp_path):
    target = tmp_path / "value.json"
    files.write_json(target, {"b": [1, 2.5, None], "a": "größe"})
    assert target.read_text(encoding="utf-8").startswith('{\n  "a": "größe",\n  "b": [')
    assert target.read_bytes().endswith(b"}\n")
    assert files.read_json(target) == json.loads(target.read_bytes()) == {"a": "größe", "b": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(target, {"a": float("nan")})
    assert files.read_json(target)["a"] == "größe"


def test_arrays_come_back_whole_mapped_and_in_rows(tmp_path):
    array = np.random.default_rng(0).normal(size=(7, 3)).astype("float16")
    path = tmp_path / "array.npy"
    files.write_array(path, array)
    assert np.array_equal(files.read_array(path), array)
    mapped = files.read_array(path, memory_map=True)
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    for start, stop in ((0, 7), (2, 5), (5, 100), (7, 9)):  # past the end, as a slice
        rows = files.read_rows(path, start, stop)
        assert np.array_equal(rows, array[start:stop]) and rows.dtype == array.dtype
    assert type(rows) is np.ndarray and files.read_rows(path, 0, 1).flags.writeable  # a copy, not the file


def test_nothing_is_pickled(tmp_path):
    path = tmp_path / "objects.npy"
    with pytest.raises(ValueError, match="pickle"):
        files.write_array(path, np.array([{"a": 1}], dtype=object))
    assert not path.exists()
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        files.read_array(path)


def test_hashes_and_fingerprints(tmp_path, monkeypatch):
    one, two = tmp_path / "one" / "file.bin", tmp_path / "two" / "file.bin"  # one name in two folders
    files.write_bytes(one, b"abc")
    files.write_bytes(two, bytes(3_000_000))
    # The SHA-256 of "abc" is an example of FIPS 180-2, its MD5 of RFC 1321.
    assert files.sha256(one) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.md5(one) == files.md5(b"abc") == "900150983cd24fb0d6963f7d28e17f72"
    assert files.sha256(two) == files.sha256(bytes(3_000_000)) == hashlib.sha256(bytes(3_000_000)).hexdigest()
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert files.fingerprint(one, two) == {"one/file.bin": files.sha256(one), "two/file.bin": files.sha256(two)}


def test_a_user_error_ends_the_process_with_its_message_alone(capsys):
    def fail() -> None:
        raise UserError("params.yaml: split.folds is 1; set it to 3 or more")

    with pytest.raises(SystemExit) as exit_info:
        run_main(fail)
    assert exit_info.value.code == 1
    assert capsys.readouterr() == ("", "error: params.yaml: split.folds is 1; set it to 3 or more\n")


def test_any_other_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: print(1 / 0))


def test_paths_are_named_relative_to_the_repository():
    assert paths.relative(paths.ROOT / "data" / "raw" / "metadata.csv") == "data/raw/metadata.csv"
    assert paths.relative(Path("/elsewhere/file.h5")) == "/elsewhere/file.h5"


def test_unfinished_work_is_kept_under_its_key_only(tmp_path):
    folder = tmp_path / "partial"
    files.keep_only_matching(folder, {"seed": 1})  # a new folder
    (folder / "rows").write_text("done")
    files.keep_only_matching(folder, {"seed": 1})
    assert (folder / "rows").read_text() == "done"
    files.keep_only_matching(folder, {"seed": 2})
    assert [path.name for path in folder.iterdir()] == ["key.json"]
    (folder / "rows").write_text("done")
    (folder / "key.json").unlink()  # of unknown origin
    files.keep_only_matching(folder, {"seed": 2})
    assert not (folder / "rows").exists()
