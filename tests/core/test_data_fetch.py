"""Downloads from a server on this machine: whole and verified, or nothing at all."""

import hashlib
import http.server
import stat
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from mfcore.data._fetch import download, extract_zip, file_sha256, folder_in_place
from mfcore.errors import DatasetUnavailableError

CONTENT = b"0123456789" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path; counts what it was asked."""

    asked: list[str]

    def do_GET(self):
        self.server.asked.append(self.path)
        n_asked = self.server.asked.count(self.path)
        if self.path == "/gone":
            self.send_error(404)
        elif self.path == "/busy" or (self.path == "/flaky" and n_asked == 1):
            self.send_error(503)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            whole = self.path != "/short" and not (self.path == "/once-short" and n_asked == 1)
            self.wfile.write(CONTENT if whole else CONTENT[:100])

    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/good", "/flaky", "/once-short"])
def test_a_file_arrives_whole_even_after_a_failure_that_passes(server, tmp_path, path):
    target = tmp_path / "new" / "file"
    download(server.url + path, target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert file_sha256(target) == SHA256
    assert [entry.name for entry in target.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("/good", "0" * 64, f"SHA-256 is {SHA256}, should be 0000"),
        ("/short", SHA256, "broke off after 100 of 10,000 bytes.*tried 2 times"),
        ("/busy", SHA256, "answered 503.*tried 2 times"),
        ("/gone", SHA256, "answered 404"),
    ],
)
def test_a_failed_download_leaves_nothing(server, tmp_path, path, sha256, message):
    with pytest.raises(DatasetUnavailableError, match=message):
        download(server.url + path, tmp_path / "file", sha256=sha256, retries=1)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_an_earlier_file_alone(server, tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"earlier")
    with pytest.raises(DatasetUnavailableError):
        download(f"{server.url}/gone", target, sha256=None)
    assert target.read_bytes() == b"earlier"


def test_what_is_gone_or_out_of_reach_is_not_asked_for_again(server, tmp_path):
    with pytest.raises(DatasetUnavailableError):
        download(f"{server.url}/gone", tmp_path / "file", sha256=None)
    assert server.asked == ["/gone"]
    with pytest.raises(DatasetUnavailableError, match="cannot be reached"):
        download("http://127.0.0.1:1/file", tmp_path / "file", sha256=None)


def test_the_same_file_fetched_many_times_at_once_is_whole(server, tmp_path):
    target = tmp_path / "file"
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(download, f"{server.url}/good", target, sha256=SHA256) for _ in range(16)]:
            done.result()
    assert file_sha256(target) == SHA256
    assert len(list(tmp_path.iterdir())) == 1


def archive(path, members):
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return path


@pytest.mark.parametrize("top", ["", "ml-100k/"])
def test_a_zip_is_unpacked_without_its_top_folder(tmp_path, top):
    path = archive(tmp_path / "a.zip", {f"{top}u.data": b"1", f"{top}sub/u.item": b"2"})
    extract_zip(path, tmp_path / "out")
    assert (tmp_path / "out" / "u.data").read_bytes() == b"1"
    assert (tmp_path / "out" / "sub" / "u.item").read_bytes() == b"2"


def link():
    member = zipfile.ZipInfo("link")
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../outside", "outside the folder"),
        ("in/../../outside", "outside the folder"),
        ("/absolute", "outside the folder"),
        ("C:/windows", "outside the folder"),
        ("..\\windows", "outside the folder"),
        (link(), "is a link"),
    ],
)
def test_members_that_would_leave_the_folder_are_refused(tmp_path, member, message):
    path = archive(tmp_path / "a.zip", {"good": b"1", member: b"/etc/passwd"})
    with pytest.raises(DatasetUnavailableError, match=message):
        extract_zip(path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]


def test_a_bomb_and_a_damaged_zip_leave_nothing(tmp_path):
    path = archive(tmp_path / "a.zip", {"good": b"1" * 1000})
    with pytest.raises(DatasetUnavailableError, match="1,000 bytes, more than the 999 allowed"):
        extract_zip(path, tmp_path / "out", max_bytes=999)
    path.write_bytes(path.read_bytes().replace(b"1" * 1000, b"1" * 500 + b"2" * 500))
    with pytest.raises(DatasetUnavailableError, match="damaged zip"):
        extract_zip(path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_made_by_somebody_else_meanwhile_stays(tmp_path):
    with folder_in_place(tmp_path / "out") as mine:
        (mine / "file").write_text("mine")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "file").write_text("theirs")
    assert (tmp_path / "out" / "file").read_text() == "theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_appears_only_when_complete(tmp_path):
    def make():
        with folder_in_place(tmp_path / "out") as mine:
            (mine / "half").write_text("")
            assert not (tmp_path / "out").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make()
    assert list(tmp_path.iterdir()) == []
