"""What is too large, too slow, too much or without the token is refused in time, and nothing else suffers."""

import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from served import ColourPredictor, image_bytes, read_all, serving, wait_for

from leannet_runtime import UserError
from leannet_runtime.serving import Limits
from leannet_runtime.serving.server import BoundedProtocol

HEAD = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


def test_a_body_is_taken_up_to_the_limit_exactly():
    data = image_bytes("red")
    with serving(limits=Limits(body_bytes=len(data))) as served:
        assert served.post(data).status_code == 200
        refused = served.post(data + b"\0")
        assert refused.status_code == 413
        assert f"{len(data):,} bytes" in refused.json()["error"]
        chunks = (piece for piece in (data, b"\0"))  # of a length that is not announced
        assert served.post(content=chunks, headers={"content-type": "image/png"}).status_code == 413
        assert served.post(data).status_code == 200


def test_a_huge_body_is_refused_before_it_is_read():
    with serving(limits=Limits(body_bytes=2**20)) as served, served.connect() as connection:
        connection.sendall(f"{HEAD}Content-Length: {100 * 2**20}\r\n\r\n".encode())
        status, answer = read_all(connection)  # not one byte of the body was sent
        assert (status, list(answer)) == (413, ["error"])
        assert served.is_right()


def test_who_sends_a_huge_body_all_the_same_is_cut_off():
    with serving(limits=Limits(body_bytes=2**20)) as served, served.connect() as connection:
        connection.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 100 * 2**20:
                connection.sendall(chunk)
                sent += 2**16
        assert sent < 30 * 2**20  # what was read, and what both systems keep in between
        assert served.is_right()


def test_who_waits_for_leave_to_send_is_refused_at_once():
    with serving(limits=Limits(body_bytes=2**20)) as served, served.connect() as connection:
        connection.sendall(f"{HEAD}Expect: 100-continue\r\nContent-Length: {2**21}\r\n\r\n".encode())
        assert read_all(connection)[0] == 413


def test_a_body_that_trickles_is_given_up():
    with serving(limits=Limits(timeout_s=0.5)) as served:
        with served.connect() as connection:
            connection.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n".encode() + b"x")
            connection.settimeout(0.1)
            for _ in range(50):  # never silent for long
                try:
                    connection.sendall(b"x")
                    answer = connection.recv(4096)
                    break
                except TimeoutError:
                    continue
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer
        assert served.is_right()


def test_a_head_that_trickles_is_given_up(monkeypatch):
    monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.3)
    with serving() as served:
        assert served.is_right()
        for begin in (b"", b"POST /pre", HEAD.encode()):
            with served.connect() as connection:
                connection.sendall(begin)
                assert connection.recv(10) == b""
        with served.connect() as connection:  # one that was right is watched as well
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /")
            received = b""
            while piece := connection.recv(4096):
                received += piece
            assert received.count(b"HTTP/1.1 200") == 1
        assert served.is_right()


def test_a_long_answer_is_not_taken_for_a_slow_head(monkeypatch):
    monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.1)
    predictor = ColourPredictor()
    predictor.open.clear()
    with serving(predictor) as served, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(served.post, image_bytes("red"))
        wait_for(predictor.busy.is_set)
        time.sleep(0.3)
        predictor.open.set()
        assert asked.result().status_code == 200


def test_the_body_of_an_answer_does_not_wait_for_its_head_to_be_acknowledged():
    with serving() as served, served.connect():
        wait_for(lambda: served.server.server_state.connections)
        [connection] = served.server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_connections_beyond_the_limit_are_cut(monkeypatch):
    monkeypatch.setattr(BoundedProtocol, "most_connections", 5)
    with serving() as served:
        connections = [served.connect() for _ in range(10)]
        served.client.close()
        for connection in connections:
            connection.settimeout(0.05)
        wait_for(lambda: sum(_is_cut(connection) for connection in connections) == 5)
        for connection in connections:
            connection.close()
        with served.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert read_all(connection)[0] == 200


def _is_cut(connection):
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_no_answer_in_time():
    predictor = ColourPredictor()
    predictor.open.clear()
    with serving(predictor, Limits(timeout_s=0.5)) as served:
        refused = served.post(image_bytes("red"))
        assert (refused.status_code, "error" in refused.json()) == (504, True)
        assert served.metric("leannet_queue_images") == 0
        predictor.open.set()
        assert served.is_right()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again():
    predictor = ColourPredictor()
    predictor.open.clear()
    with serving(predictor, Limits(queue=3)) as served, ThreadPoolExecutor(3) as pool:
        taken = [pool.submit(served.post, image_bytes("red")) for _ in range(3)]
        wait_for(lambda: served.metric("leannet_queue_images") == 3)
        refused = served.post(image_bytes("red"))
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert served.client.get("/health").json()["ready"]
        predictor.open.set()
        assert [each.result().status_code for each in taken] == [200] * 3
        assert served.is_right()


def test_files_of_one_request():
    with serving(limits=Limits(files=4)) as served:
        for count, status in ((4, 200), (5, 413)):
            sent = [("f", (str(number), image_bytes("red"))) for number in range(count)]
            assert served.client.post("/predict", files=sent).status_code == status
        assert served.client.get("/health").json()["max_files"] == 4


def test_a_request_never_has_more_files_than_the_queue_could_take():
    assert Limits(queue=5).files == 5


def test_bodies_of_all_requests_together():
    """One is being sent for long; another, which is within the limit of its own, does not fit beside it."""
    with serving(limits=Limits(body_bytes=60_000, all_bodies_bytes=100_000)) as served:
        with served.connect() as connection:
            connection.sendall(f"{HEAD}Content-Length: 60000\r\n\r\n".encode() + bytes(50_001))
            wait_for(lambda: served.post(bytes(50_000)).status_code == 503)
        wait_for(lambda: served.post(bytes(50_000)).status_code == 422)  # no image, but read
        assert served.is_right()


def test_token():
    with serving(token="right-token") as served:
        for given in (None, "Bearer wrong", "Bearer", "Bearer right-token2", "Basic right-token", "right-token", "ä"):
            headers = {"content-type": "image/png"} | ({} if given is None else {"authorization": given.encode()})
            refused = served.client.post("/predict", content=image_bytes("red"), headers=headers)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        for address in ("/metrics", "/docs", "/openapi.json", "/nowhere"):
            assert served.client.get(address).status_code == 401
        for address in ("/", "/health"):
            assert served.client.get(address).status_code == 200
        assert served.client.get("/health").json()["token"] is True
        headers = {"content-type": "image/png", "authorization": "bearer right-token"}
        assert served.client.post("/predict", content=image_bytes("red"), headers=headers).status_code == 200


def test_limits_are_above_zero():
    for name in ("body_bytes", "timeout_s", "queue", "files", "pixels"):
        with pytest.raises(UserError, match=name):
            Limits(**{name: 0})


def test_a_taken_port_is_told():
    from leannet_runtime.serving.server import bind

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port}: Address already in use. Pass another --host or --port"):
            bind("127.0.0.1", port)
    with pytest.raises(UserError, match=r"cannot listen on 203\.0\.113\.1 port 0"):
        bind("203.0.113.1", 0)
