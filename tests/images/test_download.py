"""Downloads within their limits: of time as a whole, of reach, of what is packed."""

import contextlib
import gzip
import http.server
import io
import socket
import threading
import time
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from tfcam.images import download as fetching
from tfcam.images.download import FetchError, fetch, is_public
from tfcam.images.kinds import ImageError
from tfcam.images.loading import load_image

PIXELS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14


def png():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    stop = threading.Event()

    def log_message(self, *args):
        pass

    def drip(self, data):
        """Each byte comes long before a server counts as silent."""
        with contextlib.suppress(OSError):
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.stop.wait(0.02):
                    return

    def do_GET(self):
        Handler.asked.append(self.path)
        name, _, argument = self.path[1:].partition("/")
        data, headers = png(), {"Content-Type": "image/png"}
        match name:
            case "drip":
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.end_headers()
                return self.drip(data * 100)
            case "drip-headers":
                return self.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Long: yes\r\n" * 1000)
            case "slow":
                self.stop.wait(0.2)
                self.send_response(302)
                headers = {"Location": f"/slow/{argument}1" if len(argument) < 4 else "/image"}
                data = b""
            case "hop":
                self.send_response(302)
                headers = {"Location": f"/hop/{argument[1:]}" if argument[1:] else "/image"}
                data = b""
            case "packed":
                self.send_response(200)
                headers["Content-Encoding"], data = argument, gzip.compress(data)
            case "strange":
                self.send_response(302)
                headers, data = {"Location": argument}, b""
            case "garbled":
                self.wfile.write(b"\x80\xff no HTTP at all\r\n\r\n")
                return None
            case "headers":
                self.send_response(200)
                headers |= {f"X-{number}": "y" * 100 for number in range(300)}
            case "image":
                self.send_response(200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return self.wfile.write(data)


@pytest.fixture(scope="module")
def server():
    Handler.stop.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.asked.clear()


def get(url, max_seconds=5.0):
    return fetch(url, timeout=1.0, max_seconds=max_seconds, max_bytes=10_000)


def downloads():
    return [each for each in threading.enumerate() if each.name == "tfcam download"]


# --- time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/drip", "/drip-headers", "/slow/"])
def test_the_whole_download_is_bounded(server, path):
    """None of these is ever silent for long, so that only the bound of the whole stops them."""
    started = time.monotonic()
    with pytest.raises(FetchError, match=r"^it takes longer than max_seconds = 0\.4$"):
        get(server + path, max_seconds=0.4)
    assert time.monotonic() - started < 1
    while downloads():  # what was left behind ends by itself, and soon
        assert time.monotonic() - started < 3
        time.sleep(0.01)


def test_the_bound_can_be_given_to_load_image(server):
    with pytest.raises(ImageError, match=r"/drip' does not: it takes longer than max_seconds = 0"):
        load_image(f"{server}/drip", max_seconds=0.2)
    np.testing.assert_array_equal(load_image(f"{server}/slow/", max_seconds=10), PIXELS)


def test_a_look_up_that_hangs_is_bounded(monkeypatch):
    let_go = threading.Event()

    def hangs(*args, **options):
        let_go.wait(10)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    with pytest.raises(FetchError, match="it takes longer"):
        get("http://slow.example/a.png", max_seconds=0.2)
    let_go.set()
    for each in downloads():
        each.join(5)


# --- reach ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # where a cloud machine asks for its own keys
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
    ],
)
def test_which_addresses_are_public(address, public):
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("journey", "reached"),
    [
        ("p", True),  # a user may name a private address
        ("pp", True),
        ("ppp", True),
        ("P", True),
        ("PP", True),
        ("pP", True),
        ("Pp", False),
        ("PPp", False),
        ("pPp", False),
    ],
)
def test_a_public_server_leads_to_no_private_address(server, monkeypatch, journey, reached):
    """Each letter is a server on the way: P is a public one, p a private one."""
    kinds = iter(journey)
    monkeypatch.setattr(fetching, "is_public", lambda address: next(kinds) == "P")
    url = f"{server}/hop/{'x' * (len(journey) - 1)}" if len(journey) > 1 else f"{server}/image"
    if reached:
        assert get(url) == png()
    else:
        with pytest.raises(FetchError, match=r"^a public server redirects to the private address"):
            get(url)
        assert "/image" not in Handler.asked  # not refused afterwards: never asked
    assert len(Handler.asked) == len(journey) - (not reached)


@pytest.mark.parametrize("path", ["/image", "/hop/x"])
def test_local_pictures_work_as_they_are(server, path):
    np.testing.assert_array_equal(load_image(server + path), PIXELS)


# --- answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "gzip,gzip"])
def test_what_is_packed_is_not_unpacked(server, packing):
    """It was not asked for, and may unpack to any size."""
    with pytest.raises(FetchError, match=f"^it comes packed as {packing}, which was not asked"):
        get(f"{server}/packed/{packing}")


@pytest.mark.parametrize(
    "path",
    [
        *("/garbled", "/headers", "/strange/http://[::1", "/strange/http://", "/strange/\\\\x"),
        *("/strange/http://a..b/", "/strange/http://127.0.0.1:99999/", "/strange/javascript:1"),
    ],
)
def test_strange_answers_are_fetch_errors(server, path):
    with pytest.raises(FetchError):
        get(server + path)


def test_a_certificate_that_is_not_valid(server):
    with pytest.raises(FetchError, match="certificate or encryption|cannot be reached"):
        get(server.replace("http:", "https:") + "/image")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((address, False) for address in ("10.0.0.1", "127.0.0.1", "169.254.169.254")),
        *((address, False) for address in ("100.64.0.1", "192.168.1.1", "0.0.0.0")),
        ("8.8.8.8", True),
    ],
)
def test_an_address_is_the_same_written_as_one_of_ipv6(address, public):
    """A socket of both kinds gives ``::ffff:10.0.0.1`` for 10.0.0.1."""
    assert is_public(address) is public
    assert is_public(f"::ffff:{address}") is public
