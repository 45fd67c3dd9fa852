"""Small sets of real form, made in the test's own folder."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numbered_images import png

from leannet.data import split as split_module

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def shared():
    if not SHARED.is_dir():
        pytest.skip(f"the real images of {SHARED} are not there")
    return SHARED


@pytest.fixture
def make_folder(tmp_path):
    """Make a folder from {"train/cat": 3, ...}: how many images each holds; every image has its own colour."""

    def make(counts, name="photos"):
        value = 0
        for folder, count in counts.items():
            (tmp_path / name / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                (tmp_path / name / folder / f"{number}.png").write_bytes(png(value))
                value += 1
        return tmp_path / name

    return make


@pytest.fixture
def make_parquet(tmp_path):
    """Write a parquet file of 4 x 4 images with these labels, in the hub's layout or plainer."""

    def make(name, labels, names=None, *, plain=False, columns=("image", "label")):
        encoded = [png(value) for value in range(len(labels))]
        images = encoded if plain else [{"bytes": item, "path": None} for item in encoded]
        kind = None if plain else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table({columns[0]: pa.array(images, kind), columns[1]: labels})
        if names:
            features = f'{{"info": {{"features": {{"{columns[1]}": {{"names": {names}, "_type": "ClassLabel"}}}}}}}}'
            table = table.replace_schema_metadata({"huggingface": features.replace("'", '"')})
        path = tmp_path / "table" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        pq.write_table(table, path)
        return path

    return make


@pytest.fixture
def decodings(monkeypatch):
    """Count how often each image is decoded."""
    counts = Counter()
    decode = split_module.decode_image

    def counting(source, *, name=None, **options):
        counts[name] += 1
        return decode(source, name=name, **options)

    monkeypatch.setattr(split_module, "decode_image", counting)
    return counts
