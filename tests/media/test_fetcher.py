"""The guarded fetcher: what it contacts, what it takes, and what it says when it does neither. All servers are on loopback."""

import gzip
import ipaddress
import logging
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from waiting import PATIENCE, wait_until

from annotriage.errors import MediaError, MediaUnavailable, SettingError
from annotriage.media.fetcher import Fetcher, Limits, Origin

PICTURE = b"\x89PNG" + bytes(range(256)) * 40
PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
PRIVATE_V4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
    *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
)
PRIVATE_V6 = (
    *("::/128", "::1/128", "::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32"),
    *("2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
)


class Server:
    """An HTTP server in a thread. answers: by path, functions of the handler; every other path has PICTURE."""

    def __init__(self, tls=None):
        self.answers, self.requests, self.connections, self.stopping = {}, [], 0, threading.Event()
        this = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                this.connections += 1
                super().setup()

            def do_GET(self):
                this.requests.append((self.path, dict(self.headers)))
                this.answers.get(self.path.partition("?")[0], answer())(self)

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads, block_on_close, request_queue_size = True, False, 64

            def handle_error(self, *_):
                """Clients that hang up are what is tested here."""

        self.http = Quiet(("127.0.0.1", 0), Handler)
        if tls:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_port
        self.base = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self):
        self.stopping.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def answer(status=200, content=PICTURE, **headers):
    """Sends this; headers: None leaves one out."""
    given = {"Content-Length": len(content)} | {name.replace("_", "-"): value for name, value in headers.items()}

    def send(handler):
        handler.send_response(status)
        for name, value in given.items():
            if value is not None:
                handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(content)

    return send


def redirect(location, status=302):
    return answer(status, b"", Location=location)


@pytest.fixture
def server():
    with closing(Server()) as running:
        yield running


@pytest.fixture
def other():
    with closing(Server()) as running:
        yield running


@pytest.fixture
def fetcher():
    with closing(Fetcher(["127.0.0.1"], limits=Limits(seconds=PATIENCE, size=2**20))) as made:
        yield made


@pytest.fixture(scope="module")
def guarded():
    with closing(Fetcher(["images.example.com", "*.example.com", PUBLIC])) as made:
        yield made


@contextmanager
def no_network(names=None):
    """Names have the addresses given (by one function or dict), no connection is opened; gives what was asked and dialled."""
    asked, dialled, resolver = [], [], socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            asked.append(host)
            found = names(host) if callable(names) else (names or {}).get(host, [])
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
            return [(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in found]
        return resolver(host, port, *args, **kwargs)

    def connect(_, address):
        dialled.append(address[:2])
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        patch.setattr(socket.socket, "connect", connect)
        yield asked, dialled


@pytest.fixture
def names(monkeypatch):
    """A dict of names whose address is to be 127.0.0.1 or what is put in."""
    table, resolver = {}, socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args, **options: resolver(table.get(host, host), *args, **options))
    return table


def refusal(fetcher, url, kind=MediaError):
    with pytest.raises(kind) as raised:
        fetcher.get(url, "task 41")
    assert type(raised.value) is kind, raised.value
    assert str(raised.value).startswith("task 41: ")
    return str(raised.value)


# -- what is contacted


def addresses(networks):
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(network=network))


@st.composite
def spelled(draw, address):
    """An IPv4 address as systems read it: one to four numbers, decimal, octal or hexadecimal, and look-alikes of their characters."""
    number, count = int(address), draw(st.integers(1, 4))
    parts = [number >> shift & 255 for shift in (24, 16, 8)[: count - 1]] + [number & (1 << 8 * (5 - count)) - 1]
    forms = st.sampled_from(["{}", "0{:o}", "000{:o}", "0x{:x}", "0X{:X}", "0x00{:x}"])
    text = ".".join(draw(forms).format(part) for part in parts) + draw(st.sampled_from(["", "."]))
    wide = str.maketrans("0123456789.", "０１２３４５６７８９。")
    return draw(st.sampled_from([text, text.translate(wide), text.replace(".", "．"), text.replace("1", "①")]))


def disguised(address):
    """The IPv6 addresses that stand for an IPv4 address."""
    high, low = divmod(int(address), 2**16)
    mapped = [f"[::ffff:{address}]", f"[::FFFF:{high:x}:{low:x}]", f"[0:0:0:0:0:ffff:{high:x}:{low:x}]", f"[::ffff:0:{address}]"]
    return st.sampled_from([*mapped, f"[::{address}]", f"[64:ff9b::{address}]", f"[2002:{high:x}:{low:x}::1]"])


hosts = st.one_of(
    addresses(PRIVATE_V4).flatmap(spelled),
    addresses(PRIVATE_V4).flatmap(disguised),
    addresses(PRIVATE_V6).map(lambda address: f"[{address}]"),
    st.sampled_from(["localhost", "LOCALHOST.", "ip6-localhost", "localhost.localdomain", "metadata.google.internal", "127.0.0.1.nip.io"]),
)


@settings(max_examples=300, deadline=None)
@given(hosts, st.sampled_from(["http://{}/a.png", "HTTPS://{}:443", "http://{}:8080/?a", "http://images.example.com@{}/", "http:////{}/"]))
def test_no_spelling_of_a_private_address_is_contacted(guarded, host, shape):
    with no_network() as (asked, dialled):
        refusal(guarded, shape.format(host))
    assert (asked, dialled) == ([], [])


@settings(max_examples=300, deadline=None)
@given(st.ip_addresses(v=4).flatmap(lambda address: st.tuples(st.just(str(address)), spelled(address))))
def test_every_spelling_of_an_address_is_one_host(case):
    address, spelling = case
    assert Origin.of(f"hTTp://{spelling}:80/x") == Origin("http", address, 80)


@settings(max_examples=300, deadline=None)
@given(addresses(PRIVATE_V4 + PRIVATE_V6).map(str))
@example("169.254.169.254")
@example("fe80::1%2")
def test_a_name_under_a_wildcard_leads_to_no_address_that_is_not_public(guarded, address):
    host = f"{re.sub('[^0-9a-f]', '-', address)}.example.com"  # one for each address: names are remembered
    with no_network(lambda _: [address]) as (_, dialled):
        message = refusal(guarded, f"https://{host}/a.png?signature=secret")
    assert dialled == []
    assert message == (
        f"task 41: https://{host}/a.png: its host has the address {address}, which is not a public one;"
        f" if it is meant to be fetched from, add {host} itself to the setting media_hosts"
    )


def test_a_name_under_a_wildcard_leads_to_its_public_addresses_alone():
    with (
        no_network({"cdn.example.com": ["127.0.0.1", PUBLIC, "::1", PUBLIC_V6]}) as (_, dialled),
        closing(Fetcher(["*.example.com"])) as fetcher,
    ):
        message = refusal(fetcher, "https://cdn.example.com/a.png", MediaUnavailable)
    assert dialled == [(PUBLIC, 443), (PUBLIC_V6, 443)]
    assert f"cdn.example.com does not take connections ({PUBLIC}, {PUBLIC_V6})" in message


def test_a_name_that_changes_its_address_after_the_check_gains_nothing():
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    with no_network(lambda _: next(answers)) as (asked, dialled), closing(Fetcher(["*.example.com"])) as fetcher:
        refusal(fetcher, "http://rebind.example.com/", MediaUnavailable)
        assert (asked, dialled) == (["rebind.example.com"], [(PUBLIC, 80)])
        refusal(fetcher, "http://rebind.example.com/")
    assert dialled == [(PUBLIC, 80)]


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(), st.text().map("http://".__add__), st.text().map("https://images.example.com".__add__), st.from_regex(r"https?://.*")
    )
)
def test_whatever_stands_for_an_address_only_listed_hosts_are_asked_for(guarded, url):
    with no_network() as (asked, dialled), pytest.raises(MediaError, match=r"^task 41: "):
        guarded.get(url, "task 41")
    assert not dialled
    assert set(asked) <= {"images.example.com"}


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("images.example.com", "https://images.example.com/a.png"),
        ("images.example.com", "https://IMAGES.Example.com.:8443/a.png"),
        ("Images.Example.com.", "https://images.example.com/a.png"),
        ("*.example.com", "https://a.b.example.com/a.png"),
        ("bücher.example", "http://xn--bcher-kva.example/a.png"),
        ("xn--bcher-kva.example", "http://BÜCHER.example/a.png"),
        ("cdn.example.com:8443", "https://cdn.example.com:8443/a.png"),
        (" 10.0.0.7 ", "http://10.0.0.7/a.png"),
        ("10.0.0.7:8080", "http://0xa.7:8080/a.png"),
        ("::1", "http://[::1]/a.png"),
        ("[::1]:8080", "http://[0:0::1]:8080/a.png"),
        ("intranet", "http://intranet/a.png"),
    ],
)
def test_listed_hosts_are_contacted(allowed, url):
    address = PUBLIC if allowed.startswith("*") else "10.0.0.1"
    with no_network(lambda _: [address]) as (_, dialled), closing(Fetcher([allowed])) as fetcher:
        refusal(fetcher, url, MediaUnavailable)
    assert len(dialled) == 1


@pytest.mark.parametrize(
    ("allowed", "url", "entry"),
    [
        ("example.com", "https://images.example.com/", "images.example.com"),
        ("*.example.com", "https://example.com/", "example.com"),
        ("*.example.com", "https://badexample.com/", "badexample.com"),
        ("example.com", "https://example.com.evil.org/", "example.com.evil.org"),
        ("cdn.example.com:8443", "https://cdn.example.com/", "cdn.example.com"),
        ("cdn.example.com", "https://cdn.example.co/", "cdn.example.co"),
        ("cdn.example.com:443", "https://cdn.example.com:8443/", "cdn.example.com:8443"),
        ("10.0.0.7", "http://10.0.0.8/", "10.0.0.8"),
    ],
)
def test_hosts_that_are_not_listed_are_refused_with_the_entry_to_add(allowed, url, entry):
    with no_network() as (asked, dialled), closing(Fetcher([allowed])) as fetcher:
        assert refusal(fetcher, url) == f"task 41: {url}: its host is not on the list; add {entry} to the setting media_hosts"
        assert (asked, dialled) == ([], [])
    with no_network(lambda _: [PUBLIC]) as (_, dialled), closing(Fetcher([entry])) as fetcher:
        refusal(fetcher, url, MediaUnavailable)
    assert len(dialled) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://bucket/a.png", "no http or https address"),
        ("file:///etc/passwd", "no http or https address"),
        ("/data/upload/1/a.png", "no http or https address"),
        ("//cdn.example.com/a.png", "no http or https address"),
        ("http:cdn.example.com/a.png", "names no host"),
        ("http://user:pass@cdn.example.com/a.png", "a user name or password"),
        ("http://cdn.example.com\\@evil.org/", "a user name or password"),
        ("http://cdn.example.com/a.png\r\nX-Evil: 1", "a control character"),
        ("http://cdn.exam\tple.com/", "a control character"),
        ("http://cdn.example.com:0/", "the port 0"),
        ("http://cdn.example.com:99999/", "no valid address"),
        ("http://[::1/", "no valid address"),
        ("http://[fe80::1%25eth0]/", "no valid host"),
        ("http://cdn..example.com/", "no valid host"),
        ("http://cdn%2eexample.com/", "no valid host"),
        ("http://1.2.3.4.5/", "no valid host"),
        ("http://256.1.1.1/", "no valid host"),
    ],
)
def test_what_is_no_plain_web_address_is_refused(url, words):
    with no_network() as (asked, dialled), closing(Fetcher(["cdn.example.com", "*.example.com"])) as fetcher:
        assert words in refusal(fetcher, url)
    assert (asked, dialled) == ([], [])
    with pytest.raises(MediaError, match=words):
        Origin.of(url)


@pytest.mark.parametrize(
    "entry", ["", "*", "*.", "https://cdn.example.com", "cdn.example.com/a", "*.0.0.1", "a*.example.com", "u@h", "h:x"]
)
def test_an_entry_that_is_no_host_is_refused_at_the_start(entry):
    with pytest.raises(SettingError, match="media_hosts"):
        Fetcher([entry])


# -- redirects and credentials


def test_a_listed_loopback_address_is_fetched_from(server, fetcher):
    assert fetcher.get(f"{server.base}/a b/ä.png?size=1&name=x#there", "task 1") == PICTURE
    path, headers = server.requests[0]
    assert path == "/a%20b/%C3%A4.png?size=1&name=x"
    assert headers["Host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server, fetcher, status):
    server.answers["/moved/a"] = redirect("../there/b?c", status)
    assert fetcher.get(f"{server.base}/moved/a", "task 1") == PICTURE
    assert [path for path, _ in server.requests] == ["/moved/a", "/there/b?c"]
    assert server.connections == 1


@pytest.mark.parametrize("host", ["localhost", "169.254.169.254", "[::1]", "0x7f000002", "evil.example.com", "user@127.0.0.1"])
def test_a_redirect_to_a_host_that_is_not_listed_is_not_followed(server, fetcher, host):
    server.answers["/a.png"] = redirect(f"http://{host}:{server.port}/secret?key=1")
    message = refusal(fetcher, f"{server.base}/a.png")
    assert len(server.requests) == 1
    assert message.startswith(f"task 41: {server.base}/a.png redirects to http://{host.removeprefix('user@')}:{server.port}/secret: ")


def test_a_redirect_to_a_private_address_under_a_wildcard_is_not_followed(server, names):
    names["x.example.com"] = "127.0.0.1"
    server.answers["/a.png"] = redirect(f"http://x.example.com:{server.port}/secret")
    with closing(Fetcher(["127.0.0.1", "*.example.com"])) as fetcher:
        assert "not a public one" in refusal(fetcher, f"{server.base}/a.png")
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "gopher://127.0.0.1/"])
def test_a_redirect_to_what_is_no_web_address_is_refused(server, fetcher, location):
    server.answers["/a.png"] = redirect(location)
    assert "address" in refusal(fetcher, f"{server.base}/a.png")


def test_a_circle_of_redirects_ends(server, fetcher):
    server.answers |= {"/a": redirect("/b"), "/b": redirect("/a")}
    assert "more than 3 redirects" in refusal(fetcher, f"{server.base}/a")
    assert len(server.requests) == 4


def test_credentials_go_to_the_trusted_origin_alone(server, other):
    server.answers["/away"] = redirect(f"{other.base}/b.png")
    other.answers["/back"] = redirect(f"{server.base}/c.png")
    tokens = iter(["first", "second", "third"])
    trusted = {f"{server.base}/": lambda target: {"Authorization": f"Token {next(tokens)}"}}
    with closing(Fetcher([f"127.0.0.1:{other.port}"], trusted=trusted)) as fetcher:
        for url in (f"{server.base}/away", f"{other.base}/back", f"http://0x7f.1:{server.port}/d.png"):
            assert fetcher.get(url, "task 1") == PICTURE
    assert [(path, headers.get("Authorization")) for path, headers in server.requests] == [
        ("/away", "Token first"),
        ("/c.png", "Token second"),
        ("/d.png", "Token third"),
    ]
    assert [(path, headers.get("Authorization")) for path, headers in other.requests] == [("/b.png", None), ("/back", None)]


def test_whoever_trusts_an_origin_says_which_of_its_paths_get_credentials(server):
    server.answers["/away"] = redirect("/api/users/?a=b")
    asked = []
    trusted = {server.base: lambda target: asked.append(target) or ({"Authorization": "Token"} if target.startswith("/data/") else {})}
    with closing(Fetcher([], trusted=trusted)) as fetcher:
        for path in ("/data/a.png", "/away"):
            fetcher.get(server.base + path, "task 1")
        server.answers["/api/users/"] = answer(401)
        assert "none for this address" in refusal(fetcher, f"{server.base}/away")
    assert asked[:3] == ["/data/a.png", "/away", "/api/users/?a=b"]
    assert [headers.get("Authorization") for _, headers in server.requests][:3] == ["Token", None, None]


def test_a_trusted_origin_is_private_without_being_listed_but_not_its_other_ports(server, other):
    with closing(Fetcher([], trusted={server.base: lambda target: {}})) as fetcher:
        assert fetcher.get(f"{server.base}/a.png", "task 1") == PICTURE
        assert "add 127.0.0.1 to the setting" in refusal(fetcher, f"{other.base}/a.png")
    assert other.requests == []


def test_no_proxy_of_the_environment_is_asked(server, other, fetcher, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.base)
    assert fetcher.get(f"{server.base}/a.png", "task 1") == PICTURE
    assert other.requests == []


# -- time and size


def trickle(handler, start, server):
    handler.wfile.write(start)
    while not server.stopping.wait(0.05):
        handler.wfile.write(b"x")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_server_that_trickles_is_left_at_the_deadline(server, start):
    server.answers["/a.png"] = lambda handler: trickle(handler, start, server)
    with closing(Fetcher(["127.0.0.1"], limits=Limits(seconds=0.5))) as fetcher:
        began = time.monotonic()
        message = refusal(fetcher, f"{server.base}/a.png", MediaUnavailable)
        assert time.monotonic() - began > 0.4
        assert "took longer than 0.5 s" in message

        def fetched():
            with suppress(MediaUnavailable):  # on a busy machine this may take half a second, too
                return fetcher.get(f"{server.base}/b.png", "task 42") == PICTURE

        wait_until(fetched, what="for another picture")


def test_redirects_share_one_deadline(server):
    def slow(handler):
        server.stopping.wait(0.2)
        redirect(handler.path + "x")(handler)

    server.answers |= {"/" + "x" * count: slow for count in range(1, 40)}
    with closing(Fetcher(["127.0.0.1"], limits=Limits(seconds=0.5, redirects=30))) as fetcher:
        assert "took longer than 0.5 s" in refusal(fetcher, f"{server.base}/x", MediaUnavailable)
    assert len(server.requests) <= 3, "with a deadline each they would go on for 30"


def test_a_resolver_that_does_not_answer_is_left_at_the_deadline(monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: done.wait(20) and [])
    with closing(Fetcher(["slow.example.com"], limits=Limits(seconds=0.3))) as fetcher:
        assert "took longer than 0.3 s" in refusal(fetcher, "http://slow.example.com/a.png", MediaUnavailable)
    done.set()


def test_a_body_without_end_is_left_at_the_limit(server, fetcher):
    sent = []

    def endless(handler):
        answer(content=b"", Content_Length=None, Connection="close")(handler)
        while not server.stopping.is_set():
            sent.append(handler.wfile.write(bytes(2**16)))

    server.answers["/a.png"] = endless
    assert "is larger than 1 MB; make the file smaller or raise the setting media_mb" in refusal(fetcher, f"{server.base}/a.png")
    assert sum(sent) < 2**24


def test_a_body_said_to_be_too_large_is_not_read(server, fetcher):
    server.answers["/a.png"] = answer(content=b"", Content_Length=2**20 + 1)
    assert "is larger than 1 MB" in refusal(fetcher, f"{server.base}/a.png")


def test_a_body_as_large_as_the_limit_is_fetched(server, fetcher):
    server.answers["/a.png"] = answer(content=bytes(2**20))
    assert fetcher.get(f"{server.base}/a.png", "task 1") == bytes(2**20)


def test_a_gzip_bomb_is_not_unpacked_beyond_the_limit(server, fetcher):
    server.answers["/a.png"] = answer(content=gzip.compress(bytes(2**27)), Content_Encoding="gzip")
    tracemalloc.start()
    try:
        assert "is larger than 1 MB" in refusal(fetcher, f"{server.base}/a.png")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_what_is_packed_all_the_same_is_unpacked(server, fetcher):
    server.answers["/a.png"] = answer(content=gzip.compress(PICTURE), Content_Encoding="GZIP")
    assert fetcher.get(f"{server.base}/a.png", "task 1") == PICTURE
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("content", "encoding", "words"),
    [
        (gzip.compress(PICTURE, mtime=0)[:-20], "gzip", "is packed and breaks off"),
        (PICTURE, "gzip", "cannot be unpacked"),
        (PICTURE, "br", "is sent in the encoding 'br'"),
        (PICTURE, "gzip, gzip", "is sent in the encoding 'gzip, gzip'"),
    ],
    ids=["broken off", "not packed", "unknown", "packed twice"],
)
def test_what_cannot_be_unpacked_is_refused(server, fetcher, content, encoding, words):
    server.answers["/a.png"] = answer(content=content, Content_Encoding=encoding)
    assert words in refusal(fetcher, f"{server.base}/a.png")


def test_a_body_that_breaks_off_is_no_file(server, fetcher):
    def broken(handler):
        answer(content=PICTURE, Content_Length=len(PICTURE) + 1, Connection="close")(handler)
        handler.close_connection = True

    server.answers["/a.png"] = broken
    assert "the connection broke" in refusal(fetcher, f"{server.base}/a.png", MediaUnavailable)


def test_a_body_longer_than_it_says_does_not_spoil_the_next(server, fetcher):
    server.answers["/a.png"] = answer(content=PICTURE + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Content_Length=len(PICTURE))
    assert fetcher.get(f"{server.base}/a.png", "task 1") == PICTURE
    assert fetcher.get(f"{server.base}/b.png", "task 2") == PICTURE


# -- what goes wrong


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, MediaError, "it wants credentials, and there are none for this address"),
        (403, MediaError, "it may not be read"),
        (404, MediaError, "there is no such file"),
        (410, MediaError, "there is no such file"),
        (429, MediaUnavailable, "too many requests"),
        (500, MediaUnavailable, "its server has a problem"),
        (503, MediaUnavailable, "its server has a problem"),
        (204, MediaError, "where a file (200) was expected"),
        (304, MediaError, "where a file (200) was expected"),
    ],
)
def test_every_other_answer_says_what_to_do_and_whether_to_try_again(server, fetcher, status, kind, words):
    content = b"" if status in (204, 304) else b"no"
    server.answers["/a.png"] = answer(status, content)
    message = refusal(fetcher, f"{server.base}/a.png?X-Amz-Signature=secret", kind)
    assert message.startswith(f"task 41: {server.base}/a.png: answered {status}")
    assert words in message
    assert "secret" not in message


def test_a_token_that_is_not_accepted_may_be_renewed(server):
    server.answers["/a.png"] = answer(401, b"no")
    with closing(Fetcher([], trusted={server.base: lambda target: {"Authorization": "Token old"}})) as fetcher:
        assert "renew the token" in refusal(fetcher, f"{server.base}/a.png", MediaUnavailable)


@pytest.mark.parametrize(("value", "seconds"), [("30", 30), ("Fri, 01 Jan 2021 00:00:00 GMT", 0), ("soon", None), (None, None)])
def test_retry_after_is_handed_on(server, fetcher, value, seconds):
    server.answers["/a.png"] = answer(429, b"", Retry_After=value)
    with pytest.raises(MediaUnavailable) as raised:
        fetcher.get(f"{server.base}/a.png", "task 41")
    assert raised.value.retry_after == seconds


def test_a_server_that_is_down_may_come_back(fetcher):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    assert f"127.0.0.1:{port} does not take connections" in refusal(fetcher, f"http://127.0.0.1:{port}/a.png", MediaUnavailable)


def test_the_next_address_of_a_name_is_tried_and_then_kept(server, monkeypatch):
    dialled, connect = [], socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: (dialled.append(address[0]), connect(self, address))[1])
    resolver = socket.getaddrinfo
    two = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **options: two if host == "two.test" else resolver(host, *rest, **options)
    )
    with closing(Fetcher(["two.test"])) as fetcher:
        for _ in range(3):
            assert fetcher.get(f"http://two.test:{server.port}/a.png", "task 1") == PICTURE
    assert dialled == ["127.0.0.2", "127.0.0.1"]


def test_a_name_is_asked_for_once_and_its_connections_outlive_a_new_order_of_its_addresses(server, monkeypatch):
    asked, dialled, resolver, connect = [], [], socket.getaddrinfo, socket.socket.connect
    order = ["127.0.0.1", "127.0.0.2"]

    def getaddrinfo(host, *rest, **options):
        if host != "two.test":
            return resolver(host, *rest, **options)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in order]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: (dialled.append(address[0]), connect(self, address))[1])
    with closing(Fetcher(["two.test"])) as fetcher:
        for _ in range(3):
            fetcher.get(f"http://two.test:{server.port}/a.png", "task 1")
        assert asked == ["two.test"]
        order.reverse()
        now = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: now() + 100)
        fetcher.get(f"http://two.test:{server.port}/a.png", "task 1")
    assert asked == ["two.test"] * 2
    assert dialled == ["127.0.0.1"]


def test_a_name_that_nobody_knows_is_said_so(fetcher):
    with no_network(), closing(Fetcher(["cdn.example.com"])) as fetcher:
        message = refusal(fetcher, "http://cdn.example.com/a.png", MediaUnavailable)
    assert "its host cdn.example.com has no known address (Name or service not known); check the name" in message


@pytest.mark.parametrize(
    "bytes_sent", [b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"]
)
def test_what_is_no_web_server_is_said_so(server, fetcher, bytes_sent):
    def nonsense(handler):
        handler.wfile.write(bytes_sent)
        handler.close_connection = True

    server.answers["/a.png"] = nonsense
    assert "the connection broke" in refusal(fetcher, f"{server.base}/a.png", MediaUnavailable)


def test_no_signature_reaches_the_log(server, fetcher, caplog):
    def odd(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 1\r\n\r\na")
        handler.close_connection = True

    server.answers["/odd.png"] = odd
    caplog.set_level(logging.DEBUG)
    for path in ("a.png", "odd.png"):
        with suppress(MediaError):
            fetcher.get(f"{server.base}/{path}?signature=secret", "task 1")
    assert "secret" not in caplog.text


# -- kept connections


def test_two_thousand_files_over_eight_threads_take_eight_connections(server, fetcher):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: fetcher.get(f"{server.base}/{number}.png", f"task {number}"), range(2000)))
    assert found == [PICTURE] * 2000
    assert len(server.requests) == 2000
    assert server.connections <= 8


def test_no_more_connections_than_asked_for_are_open_at_once(server):
    server.answers["/slow.png"] = lambda handler: (server.stopping.wait(0.05), answer()(handler))
    with closing(Fetcher(["127.0.0.1"], connections=2)) as fetcher, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: fetcher.get(f"{server.base}/slow.png", "task 1"), range(16))) == [PICTURE] * 16
    assert server.connections == 2


def test_errors_and_redirects_keep_the_connection(server, fetcher):
    server.answers |= {"/404": answer(404, b"not found"), "/moved": redirect("/a.png"), "/500": answer(500, b"")}
    for _ in range(3):
        refusal(fetcher, f"{server.base}/404")
        refusal(fetcher, f"{server.base}/500", MediaUnavailable)
        fetcher.get(f"{server.base}/moved", "task 1")
    assert server.connections == 1


def test_what_was_given_up_leaves_nothing_to_the_next_file_on_its_connection(server):
    def late(status, length):
        def send(handler):
            answer(status, b"", Content_Length=length)(handler)
            server.stopping.wait(0.1)
            with suppress(OSError):
                answer(200, b"evil")(handler)

        return send

    large = answer(content=bytes(3 * 2**20), Content_Length=None, Connection="close")
    server.answers |= {"/large": late(200, 2**21), "/gone": late(404, 2**21), "/more": large}
    with closing(Fetcher(["127.0.0.1"], limits=Limits(seconds=PATIENCE, size=2**20), connections=1)) as fetcher:
        for path in ("large", "gone", "more") * 2:
            refusal(fetcher, f"{server.base}/{path}")
            assert fetcher.get(f"{server.base}/a.png", "task 1") == PICTURE


def test_a_connection_that_the_server_closes_when_asked_again_is_opened_again(server, fetcher):
    def once(handler):
        if hasattr(handler, "has_answered"):
            handler.close_connection = True
        else:
            handler.has_answered = True
            answer()(handler)

    server.answers["/a.png"] = once
    for number in range(5):
        assert fetcher.get(f"{server.base}/a.png", f"task {number}") == PICTURE
    assert server.connections == 5


def test_hundreds_of_hosts_do_not_hold_hundreds_of_connections(server, names):
    hosts = [f"host{number}.test" for number in range(200)]
    names |= dict.fromkeys(hosts, "127.0.0.1")
    before = open_files()
    with closing(Fetcher(hosts)) as fetcher:
        for host in hosts:
            assert fetcher.get(f"http://{host}:{server.port}/a.png", "task 1") == PICTURE
        wait_until(lambda: open_files() - before <= 2 * 64 + 8)  # both ends of each connection are in this process
        assert open_files() - before > 64
    wait_until(lambda: open_files() - before <= 8)


def open_files():
    return sum(1 for _ in Path("/dev/fd").iterdir())


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing: install it (Debian: apt-get install openssl)")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=images.test -addext subjectAltName=DNS:images.test"
    subprocess.run([*command.split(), "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    return folder


@pytest.fixture
def secure(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    context.asked_for = []
    context.sni_callback = lambda _, name, __: context.asked_for.append(name)
    with closing(Server(context)) as running:
        running.asked_for = context.asked_for
        yield running


def test_tls_asks_for_the_name_and_checks_it(secure, certificate, names, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    names |= {"images.test": "127.0.0.1", "other.test": "127.0.0.1"}
    with closing(Fetcher(["images.test", "other.test", "127.0.0.1"])) as fetcher:
        for _ in range(3):
            assert fetcher.get(f"https://images.test:{secure.port}/a.png", "task 1") == PICTURE
        assert secure.connections == 1
        assert secure.asked_for == ["images.test"]
        assert secure.requests[0][1]["Host"] == f"images.test:{secure.port}"
        for host in ("other.test", "127.0.0.1"):
            assert "certificate is not accepted (" in refusal(fetcher, f"https://{host}:{secure.port}/a.png")
    assert len(secure.requests) == 3


def test_a_certificate_of_an_unknown_authority_is_not_accepted(secure, names):
    names["images.test"] = "127.0.0.1"
    with closing(Fetcher(["images.test"])) as fetcher:
        assert "SSL_CERT_FILE" in refusal(fetcher, f"https://images.test:{secure.port}/a.png")
    assert secure.requests == []


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_server_that_trickles_under_tls_is_left_at_the_deadline(secure, certificate, names, monkeypatch, start):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    names["images.test"] = "127.0.0.1"
    secure.answers["/a.png"] = lambda handler: trickle(handler, start, secure)
    with closing(Fetcher(["images.test"], limits=Limits(seconds=0.5))) as fetcher:
        assert "took longer than 0.5 s" in refusal(fetcher, f"https://images.test:{secure.port}/a.png", MediaUnavailable)


def test_a_server_that_never_shakes_hands_is_left(names):
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        closing(Fetcher(["127.0.0.1"], limits=Limits(connect_seconds=0.3))) as fetcher,
    ):
        refusal(fetcher, f"https://127.0.0.1:{silent.getsockname()[1]}/a.png", MediaUnavailable)
