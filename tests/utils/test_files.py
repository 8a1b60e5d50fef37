"""Files are there whole or not at all, and nothing else is touched."""

import errno
import resource

import pytest

from tfcam.utils.files import open_whole, read_lines, write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write():
        with open_whole(path) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_texts_is_read_however_it_was_saved(tmp_path):
    """As of Windows, with a mark at its beginning, which would make its first word unknown."""
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffa film\r\n \r\na book\u2028by him\x85".encode())
    assert read_lines(path) == ["a film", "a book\u2028by him\x85"]
    path.write_bytes("a caf\xe9".encode("latin-1"))
    with pytest.raises(ValueError, match=r"must be in UTF-8; '.*texts.txt' is not, from byte 5 on"):
        read_lines(path)


def test_a_full_disk_is_told(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as if there were no more room
    try:
        with pytest.raises(
            OSError, match=r"a\.bin' could not be written: File too large\. What wa"
        ) as told:
            write_whole(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert told.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_waits_at_the_temporary_name_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda count: "known")
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / ".a.bin.known").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a.bin", b"theirs")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert (tmp_path / ".a.bin.known").is_symlink()


def test_the_longest_name_is_written(tmp_path):
    path = tmp_path / ("a" * 251 + ".bin")
    write_whole(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_a_folder_that_is_missing_or_is_the_target_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="The folder of .*a.bin' does not exist; make it"):
        write_whole(tmp_path / "no" / "a.bin", b"")
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        write_whole(tmp_path, b"")
