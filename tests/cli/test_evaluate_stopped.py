"""An evaluation that does not come to its end: nothing half stays, and nothing that was there goes."""

import pytest
from command_line import leannet, make_trees, refusal
from model_folders import make_model_folder


@pytest.fixture(scope="module")
def network(trees, tmp_path_factory):
    return make_model_folder(tmp_path_factory.mktemp("run") / "best", trees, steps=0)


@pytest.fixture
def damaged(tmp_path):
    """Data with one test image that cannot be read."""
    data = make_trees(tmp_path / "data", train=2, test=3)
    (data / "test/birch/1.png").write_text("no image")
    return data


@pytest.fixture
def press(monkeypatch):
    """Press Ctrl-C while the results are written, when some files of them are there."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("leannet.report.evaluation.files.draw_confusion", interrupt)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_damaged_image_leaves_no_run(network, damaged, tmp_path):
    assert "cannot read test/birch/1.png" in refusal("evaluate", network, "--data", damaged)
    assert files_in(tmp_path / "runs") == []
    assert leannet("evaluate", network, "--data", damaged, "--bad-images", "skip").code == 0
    [folder] = (tmp_path / "runs" / "evaluate").iterdir()
    assert not folder.name.endswith("-2"), "the place was taken by the one that was stopped"


def test_damaged_image_leaves_an_earlier_evaluation(network, trees, damaged, tmp_path):
    out = tmp_path / "out"
    assert leannet("evaluate", network, "--data", trees, "--output", out).code == 0
    (out / "notes.txt").write_text("mine")
    before = content(out)
    refusal("evaluate", network, "--data", damaged, "--output", out)
    assert content(out) == before


def test_damaged_image_leaves_a_folder_that_was_there(network, damaged, tmp_path):
    (tmp_path / "out").mkdir()
    refusal("evaluate", network, "--data", damaged, "--output", "out")
    assert content(tmp_path / "out") == {}


@pytest.mark.usefixtures("press")
@pytest.mark.parametrize("there", [False, True])
def test_half_of_the_files_goes_again(network, trees, tmp_path, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    assert leannet("evaluate", network, "--data", trees, "--output", out).code == 130
    assert content(out) == {"notes.txt": b"mine"} if there else not out.exists()
