"""Lists of image files: what opens, and what is said of those that do not."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numbered_images import colours, png

from leannet.data import open_source, scan_source
from leannet_runtime.errors import UserError

ROWS = [("cat", "train"), ("dog", "Training"), ("cat", "val"), ("dog", "dev"), ("dog", "test")]


@pytest.fixture
def images(tmp_path):
    """Five numbered images in a folder that tells nothing about their classes."""
    (tmp_path / "set" / "all").mkdir(parents=True)
    for number in range(5):
        (tmp_path / "set" / "all" / f"{number}.png").write_bytes(png(number))
    return tmp_path / "set"


def write(folder, lines, name="list.csv", encoding="utf-8"):
    (folder / name).write_bytes("\n".join(lines).encode(encoding))
    return folder / name


def check(source, prefix="all/"):
    assert source.class_names == ("cat", "dog")
    assert source.split_lists == {
        "train": [f"{prefix}{number}.png" for number in (0, 1)],
        "validation": [f"{prefix}{number}.png" for number in (2, 3)],
        "test": [f"{prefix}4.png"],
    }
    assert source.splits["validation"].labels.tolist() == [0, 1]
    assert [colours(split) for split in source.splits.values()] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["", "\r"])
def test_csv_in_its_dialects(images, separator, encoding, end):
    lines = [separator.join(("label", "file_name", "split")) + end]
    lines += [separator.join((label, f"all/{n}.png", split)) + end for n, (label, split) in enumerate(ROWS)]
    source = open_source(write(images, [*lines, end], encoding=encoding))
    check(source)
    assert source.name == "list"
    assert len(source.fingerprint) == 64
    assert source.splits["train"].sizes().tolist() == [len(png(0)), len(png(1))]


def test_tsv_takes_tabs_only(images):
    lines = ["path\tclass\tSplit", *(f"all/{n}.png\t{label}\t{split}" for n, (label, split) in enumerate(ROWS))]
    check(open_source(write(images, lines, name="list.tsv")))
    said = message(write(images, ["path,class", "all/0.png,cat"], name="comma.tsv"))
    assert "no column of paths" in said


@pytest.mark.parametrize("path", ["file_name", "image", "Path", "filepath", " filename"])
@pytest.mark.parametrize("label", ["label", "labels", "Class", "class_name", "target"])
def test_names_of_columns(images, path, label):
    lines = [f"id,{path},{label},split"]
    lines += [f"7,all/{n}.png, {label} ,{split}" for n, (label, split) in enumerate(ROWS)]
    check(open_source(write(images, lines)))


def test_quotes_and_absolute_paths(images):
    (images / "all").rename(images / 'a "b", c')
    lines = ["file_name,label,split"]
    lines += [f'"{images}/a ""b"", c/{n}.png",{label},{split}' for n, (label, split) in enumerate(ROWS)]
    check(open_source(write(images, lines)), prefix=f'{images}/a "b", c/')


@pytest.mark.parametrize("labels", [["cat", "dog"], [1, 0]])
def test_parquet_of_paths(images, labels):
    numbers = {"cat": labels[0], "dog": labels[1]}
    table = pa.table({
        "image": [f"all/{number}.png" for number in range(5)],
        "label": [numbers[label] for label, _ in ROWS],
        "split": [split for _, split in ROWS],
    })  # fmt: skip
    if labels == [1, 0]:
        features = '{"info": {"features": {"label": {"names": ["dog", "cat"]}}}}'
        table = table.replace_schema_metadata({"huggingface": features})
    pq.write_table(table, images / "list.parquet")
    check(open_source(images / "list.parquet"))


def test_list_without_splits_is_divided(images):
    source = open_source(write(images, ["image,label", *(f"all/{n}.png,{n % 2}" for n in (0, 1, 2, 3))]))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 2, "test": 2}
    assert "no test part" in source.notes[0]


def test_metadata_of_a_folder(images):
    lines = ["file_name,label,split", *(f"all/{n}.png,{label},{split}" for n, (label, split) in enumerate(ROWS))]
    write(images, lines, name="metadata.csv")
    source = open_source(images)
    check(source)
    assert source.name == "set"


def test_metadata_of_something_else_is_not_used(make_folder):
    root = make_folder({"cat": 2, "dog": 2})
    write(root, ["file_name,caption", "cat/0.png,a cat"], name="metadata.csv")
    assert open_source(root).class_names == ("cat", "dog")


def test_file_that_is_not_there_is_a_damaged_image(images):
    lines = ["file_name,label,split", "all/9.png,cat,train"]
    lines += [f"all/{n}.png,{label},{split}" for n, (label, split) in enumerate(ROWS)]
    source = open_source(write(images, lines), bad_images="skip")
    assert len(source.fingerprint) == 64
    assert [str(error).partition(". ")[0] for error in scan_source(source).damaged["train"]] == [
        "cannot read all/9.png: no such file"
    ]


def message(path):
    with pytest.raises(UserError) as caught:
        open_source(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["file,label", "a,b"],
            "no column of paths (file_name, image, path, filepath, filename), only 'file', 'label'",
        ),
        (["path,kind", "a,b"], "no column of labels (label, labels, class, class_name, target), only 'path', 'kind'"),
        (["path,label"], "the list is empty"),
        ([], "the list is empty"),
        (["path,label", "a.png,cat", "", "b.png,"], "line 4 has no label"),
        (["path,label", "a.png,cat", "b.png"], "line 3 has no label"),
        (["path,label", "a.png,cat", ",dog"], "line 3 has no path"),
        (["path,label,split", "a,b,train", "c,d,trian"], "line 3 has the split 'trian'. The words are train, training"),
        (["path,label,split", "a,b,train", "c,d"], "line 3 has the split ''"),
        (["path,label,split", "a,b,test"], "it has no training part"),
    ],
)
def test_mistakes_are_named(images, lines, said):
    path = write(images, lines)
    assert message(path).startswith(f"cannot use {path}: ")
    assert said in message(path)


def test_other_texts(images):
    assert "it is no UTF-8 text. Save it as UTF-8" in message(write(images, ["path,label", "ä,b"], encoding="latin-1"))
    assert "field larger than field limit" in message(write(images, ["path,label", "a" * 200_000]))
    assert message(images / "none.csv").startswith(f"cannot open {images / 'none.csv'}: no such file or folder")


def test_missing_list_is_not_looked_for_on_the_hub(images, monkeypatch):
    monkeypatch.chdir(images)
    assert "no such file or folder. Data may be" in message("all/none.csv")


def test_parquet_rows_without_label_or_split(images):
    for column, said in (("label", "row 1 has no label"), ("split", "row 1 has the split 'None'")):
        columns = {"image": ["a", "b"], "label": ["x", "y"], "split": ["train", "test"]}
        columns[column][1] = None
        pq.write_table(pa.table(columns), images / "list.parquet")
        assert said in message(images / "list.parquet")
