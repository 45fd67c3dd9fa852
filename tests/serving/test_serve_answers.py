"""What a served network answers, at every address."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import COLOURS, ColourPredictor, image_bytes, serving, wait_for

from leannet_runtime.serving import Limits

COLOUR_OF = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


def files(*named):
    return [("files", (name, data, "image/png")) for name, data in named]


def test_raw_body(served):
    for colour in COLOURS:
        for kind in ("image/png", "image/jpeg", "application/octet-stream", "IMAGE/PNG; x=y"):
            answer = served.client.post("/predict", content=image_bytes(colour), headers={"content-type": kind})
            assert answer.status_code == 200
            [record] = answer.json()
            assert record["labels"][0] == colour
            assert record["name"] == "image"


def test_fields_of_an_answer(served):
    [record] = served.post(image_bytes((149, 99, 0))).json()
    assert list(record) == ["name", "labels", "probabilities", "exit", "milliseconds"]
    assert record["labels"] == ["red", "green", "blue"]
    assert record["probabilities"] == pytest.approx([150 / 251, 100 / 251, 1 / 251])
    assert record["exit"] == 1
    assert served.post(image_bytes("white")).json()[0]["exit"] == 2
    assert record["milliseconds"] > 0


def test_network_without_exits_or_names():
    predictor = ColourPredictor(with_exits=False)
    predictor.label_names = None
    with serving(predictor) as served:
        [record] = served.post(image_bytes("green")).json()
        assert record["exit"] is None
        assert record["labels"][0] == "1"


def test_topk(served):
    assert len(served.client.post("/predict?topk=2", files=files(("a", image_bytes("red")))).json()[0]["labels"]) == 2
    assert len(served.client.post("/predict?topk=99", files=files(("a", image_bytes("red")))).json()[0]["labels"]) == 3
    for wrong in ("0", "-1", "many", "1.5", "1e9", ""):
        refused = served.client.post(f"/predict?topk={wrong}", files=files(("a", image_bytes("red"))))
        assert refused.status_code == 422
        assert refused.json()["error"].startswith("topk: ")


def test_several_files_are_answered_in_their_order(served):
    order = ["blue", "red", "green", "red", "blue"]
    answer = served.client.post("/predict", files=files(*((f"{c}.png", image_bytes(c)) for c in order)))
    assert [record["labels"][0] for record in answer.json()] == order
    assert [record["name"] for record in answer.json()] == [f"{colour}.png" for colour in order]


def test_a_damaged_image_does_not_spoil_the_others(served):
    whole = image_bytes("red", (300, 300))
    sent = files(("a", whole), ("b", whole[: len(whole) // 2]), ("c", b"text"), ("d", image_bytes("green")), ("e", b""))
    answer = served.client.post("/predict", files=sent)
    assert answer.status_code == 200
    first, *errors, last = (answer.json()[index] for index in (0, 1, 2, 4, 3))
    assert (first["labels"][0], last["labels"][0]) == ("red", "green")
    assert all(set(record) == {"name", "error"} for record in errors)
    assert "truncated" in errors[0]["error"]
    assert served.client.post("/predict", files=sent[1:3]).status_code == 422


def test_a_network_that_fails_on_one_image_answers_the_others():
    predictor = ColourPredictor()
    predictor.fails = lambda pictures: any(picture.size == (7, 7) for picture in pictures)
    with serving(predictor) as served:
        bad = ("bad", image_bytes("red", (7, 7)))
        answer = served.client.post("/predict", files=files(("a", image_bytes("red")), bad, ("c", image_bytes("blue"))))
        labels = [record.get("labels", [None])[0] for record in answer.json()]
        assert (answer.status_code, labels) == (200, ["red", None, "blue"])
        answer = served.client.post("/predict", files=files(bad))
        assert answer.status_code == 500
        assert answer.json() == [{"name": "bad", "error": "the network failed on this image"}]
        assert served.is_right()


def test_probabilities_that_are_not_numbers_are_no_answer():
    predictor = ColourPredictor()
    right = predictor.run

    def run(pictures):
        answer = right(pictures)
        answer.probabilities[[picture.size == (7, 7) for picture in pictures]] = float("nan")
        return answer

    predictor.run = run
    with serving(predictor) as served:
        sent = files(("a", image_bytes("red", (7, 7))), ("b", image_bytes("red")))
        answer = served.client.post("/predict", files=sent).json()
        assert ["error" in record for record in answer] == [True, False]


def test_health(served):
    health = served.client.get("/health").json()
    assert health["ready"] is True
    assert (health["model"], health["sha256"], health["classes"]) == ("colours.onnx", "0" * 64, 3)
    assert health["token"] is False


def test_metrics_count_what_happened():
    with serving(limits=Limits(body_bytes=10_000)) as served:
        served.client.post("/predict", files=files(*[("x", image_bytes("red"))] * 3, ("y", b"no")))
        served.post(b"x" * 20_000)
        served.client.get("/nowhere")
        text = served.client.get("/metrics").text
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        found = {(each.name, *each.labels.values()): each.value for each in samples}
        assert found["leannet_requests_total", "200"] == 1
        assert found["leannet_requests_total", "413"] == 1
        assert found["leannet_requests_total", "404"] == 1
        assert found["leannet_images_total", "answered"] == 3
        assert found["leannet_images_total", "unreadable"] == 1
        assert found["leannet_batch_size_sum",] == 3
        assert found["leannet_request_seconds_count",] == 2
        assert found["leannet_queue_images",] == 0


def test_queue_length_is_seen():
    predictor = ColourPredictor()
    predictor.open.clear()
    with serving(predictor) as served:
        connection = served.connect()
        data = image_bytes("red")
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
        wait_for(predictor.busy.is_set)
        assert served.metric("leannet_queue_images") == 1
        predictor.open.set()
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.close()
        wait_for(lambda: served.metric("leannet_queue_images") == 0)


def test_openapi_describes_every_address(served):
    described = served.client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/predict", "/health", "/metrics"}
    predict = described["paths"]["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}
    assert {"200", "401", "408", "413", "503", "504"} <= set(predict["responses"])
    references = {word for word in json.dumps(described).split('"') if word.startswith("#/components/schemas/")}
    assert {word.rpartition("/")[2] for word in references} <= set(described["components"]["schemas"])


def test_log_has_a_line_for_each_request_and_no_names(capfd):
    with serving() as served:
        sent = files(("secret-name.png", image_bytes("red")), ("other", b"secret"))
        served.client.post("/predict?topk=1", files=sent)
        served.client.get("/secret-address?secret=1")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    said = [(line["route"], line["status"], line["images"]) for line in lines]
    assert said == [("/predict", 200, 2), ("other", 404, 0)]
    assert set(lines[0]) == {"time", "route", "status", "images", "ms", "bytes"}
    assert lines[0]["bytes"] > 100
    assert "secret" not in json.dumps(lines)
