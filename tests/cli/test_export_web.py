"""What ``leannet export --web`` refuses; that it works is tested where the page is looked at."""

import json

import pytest
from command_line import refusal


@pytest.fixture
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet20_cifar"}))
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--web-runtime", "a.tgz"), "--web-runtime without --web: it is for the page alone"),
        (("--web", "page", "-o", "model.onnx"), "--output with --web: the network lies in the folder of the page"),
        (("--web", "page", "--format", "torch-export"), "--format torch-export with --web: browsers run ONNX files"),
        (("--web", "page", "--preprocess", "outside"), "--preprocess outside with --web: the page gives the file"),
        (("--web", "page", "--web-runtime", "a.tgz"), "cannot read a.tgz: No such file or directory. Give the file of"),
        (
            ("--web", "page", "--web-runtime", "fake.tgz"),
            "cannot use fake.tgz: its hash is not that of onnx",
        ),
        (("--web", "."), "cannot write the page to .: the folder holds fake.tgz, and no earlier page of leannet"),
        (("--web", "fake.tgz"), "cannot write the page to fake.tgz: Not a directory"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(tmp_path, monkeypatch, model, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake.tgz").write_bytes(b"no archive")
    assert words in refusal("export", model, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["fake.tgz"]


def test_somebody_elses_model_json_is_not_written_over(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "model.json").write_text(json.dumps({"name": "mine"}))
    assert "the folder holds model.json, and no earlier page" in refusal("export", model, "--web", "page")


def test_nothing_is_fetched_for_a_network_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said = refusal("export", tmp_path / "nowhere", "--web", tmp_path / "page")
    assert "no such folder" in said
    assert list(tmp_path.iterdir()) == []
