"""``leannet serve`` as a process of its own: a real file, signals, exit codes, mistakes."""

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from served import image_bytes, wait_for

from exported_files import COLOURS, softmax, write_model

COMMAND = [sys.executable, "-m", "leannet_cli", "serve"]

SLOW = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
from served import ColourPredictor
from leannet_runtime.serving import Limits, make_app, serve
from leannet_runtime.serving.server import bind

class Slow(ColourPredictor):
    def run(self, pictures):
        pathlib.Path("busy").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        return super().run(pictures)

limits, listener = Limits(), bind("127.0.0.1", 0)
serve(make_app(Slow(), "slow", limits=limits), limits, listener, lambda: print(listener.getsockname()[1], flush=True))
"""


def start(command, folder):
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def refused(*arguments):
    """Run the command, which must end by a mistake of the user; return the one line."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "colours.onnx"
    exits = {"early_exit": {"thresholds": [0.34]}}
    return write_model(path, changes=exits, outputs=("logits", "probabilities", "exit"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_real_file_is_served_until_the_signal(model, tmp_path, number):
    process = start([*COMMAND, str(model), "--port", "0", "--threads", "1"], tmp_path)
    try:
        url = re.search(r"serving colours\.onnx at (http://127\.0\.0\.1:\d+)", process.stdout.readline())[1]
        colours = [(255, 0, 0), (0, 120, 200), (90, 200, 80), (128, 128, 128)]
        sent = [("f", (str(place), image_bytes(colour, (30 + place, 20)))) for place, colour in enumerate(colours)]
        answers = httpx2.post(f"{url}/predict?topk=3", files=sent).json()
        for colour, answer in zip(colours, answers, strict=True):
            expected = dict(zip(COLOURS, softmax([8 * value / 255 for value in colour]), strict=True))
            got = dict(zip(answer["labels"], answer["probabilities"], strict=True))
            assert got == pytest.approx(expected, abs=1e-5)
            assert answer["exit"] == (2 if len(set(colour)) == 1 else 1)
        health = httpx2.get(f"{url}/health").json()
        assert (health["architecture"], health["classes"]) == ("colours", 3)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert all(line.startswith("{") for line in err.splitlines())


def test_what_was_taken_is_answered_before_the_end(tmp_path):
    process = start([sys.executable, "-c", SLOW, str(Path(__file__).parent)], tmp_path)
    try:
        port = int(process.stdout.readline())
        url = f"http://127.0.0.1:{port}"
        with ThreadPoolExecutor(4) as pool:
            headers = {"content-type": "image/png"}
            asked = [
                pool.submit(httpx2.post, f"{url}/predict", content=image_bytes(colour), headers=headers, timeout=60)
                for colour in ("red", "green", "blue")
            ]
            wait_for((tmp_path / "busy").exists)
            wait_for(lambda: "leannet_queue_images 3.0" in httpx2.get(f"{url}/metrics").text)
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: not takes_more(url))
            assert process.poll() is None
            (tmp_path / "go").touch()
            answers = [each.result() for each in asked]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert [answer.json()[0]["labels"][0] for answer in answers] == ["red", "green", "blue"]
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def takes_more(url):
    try:
        httpx2.get(f"{url}/health")
    except httpx2.TransportError:
        return False
    return True


def test_no_torch_is_loaded(model, tmp_path):
    code = "import sys; from leannet_runtime import load, serving; load(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"


def test_mistakes(model, tmp_path):
    missing = tmp_path / "missing.onnx"
    assert str(missing) in refused(missing)
    assert "--timeout-s 0: it must be above 0" in refused(model, "--timeout-s", "0")
    assert "--max-body-mb nan" in refused(model, "--max-body-mb", "nan")
    assert "cannot listen on 203.0.113.1 port 8000" in refused(model, "--host", "203.0.113.1")
    token = tmp_path / "token"
    assert "No such file" in refused(model, "--token-file", token)
    for wrong in ("", "\n", "two words", "ä"):
        token.write_text(wrong, encoding="utf-8")
        assert "one word of printable ASCII" in refused(model, "--token-file", token)


def test_a_missing_extra_is_one_line(model):
    code = (
        "import sys; sys.modules['fastapi'] = None; sys.argv[0] = 'leannet'; from leannet_cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "serve", str(model)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        "leannet: leannet serve: it needs fastapi, which is not installed. Run: pip install 'leannet[serve]'.\n"
    )


def test_addresses_that_others_reach_come_with_a_note(model, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret-token\n")
    for options, noted in (([], True), (["--token-file", str(token)], False)):
        process = start([*COMMAND, str(model), "--host", "0.0.0.0", "--port", "0", *options], tmp_path)
        try:
            port = re.search(r":(\d+) ", process.stdout.readline())[1]
            status = httpx2.get(f"http://127.0.0.1:{port}/metrics").status_code
            assert status == (200 if noted else 401)
            process.terminate()
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
        assert ("--token-file asks for a token" in err) is noted
        assert process.returncode == 0
