"""What a command writes for its user, and what it leaves alone."""

import os
import subprocess
import sys
import threading

import pytest

from skinlesions.core import outputs, paths
from skinlesions.core.errors import UserError


def test_a_file_is_written_whole_and_its_folder_made(tmp_path):
    target = tmp_path / "new" / "folder" / "out.csv"
    outputs.check(target)
    outputs.write_text(target, "größe\n")
    assert target.read_bytes() == "größe\n".encode() and list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_file_as_it_was(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old")

    def fail() -> None:
        with outputs.writing(target) as stream:
            stream.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_an_input_is_refused_under_any_name(tmp_path):
    (tmp_path / "in.csv").write_text("in")
    (tmp_path / "link").symlink_to("in.csv")
    os.link(tmp_path / "in.csv", tmp_path / "hard")
    for name in ("in.csv", "link", "hard", "./in.csv"):
        with pytest.raises(UserError, match=r"--out: .* is what is read here"):
            outputs.check(tmp_path / name, [tmp_path / "in.csv"])
    outputs.check(tmp_path / "other", [tmp_path / "in.csv", tmp_path / "gone.csv"])


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("new")
    for name in ("link", "dangling"):
        outputs.check(tmp_path / name)
        outputs.write_text(tmp_path / name, "text")
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "file").read_text() == (tmp_path / "new").read_text() == "text"


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UserError, match="--out: "):
        outputs.check(tmp_path / "a")


def test_a_pipe_is_written_into_and_stays(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    outputs.check(pipe)
    outputs.write_text(pipe, "scores")
    reader.join()
    assert got == ["scores"] and pipe.is_fifo()


def test_devices_and_standard_output_are_written_into(capsys):
    outputs.check(outputs.STANDARD_OUTPUT)
    outputs.write_text(outputs.STANDARD_OUTPUT, "scores")
    assert capsys.readouterr().out == "scores"
    outputs.check(outputs.Path(os.devnull))
    outputs.write_text(outputs.Path(os.devnull), "scores")
    assert not outputs.Path(os.devnull).is_file()


def test_standard_output_may_be_named_as_a_device():
    script = (
        "from pathlib import Path; from skinlesions.core import outputs; "
        "outputs.check(Path('/dev/stdout')); outputs.write_text(Path('/dev/stdout'), 'scores')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=paths.ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("scores", "")


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for target in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="--out: "):
            outputs.check(target)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full here")
def test_a_full_disk_is_named():
    with pytest.raises(UserError, match="/dev/full cannot be written"):
        outputs.write_text(outputs.Path("/dev/full"), "x" * 100_000)
