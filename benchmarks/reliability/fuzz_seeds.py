"""Sound files for `fuzz`, and how they are changed."""

from __future__ import annotations

import io
import json
from importlib import resources
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

# What breaks readers of text and of numbers.
TOKENS = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b'"', b"'", b",", b";", b"\t", b"{", b"}", b"]", b": ", b"- "),
    *(b"null", b"NaN", b"-1", b"1e999", b"9" * 5000, b"2001-99-99", b"0x", b"!!python/name:os.system", b"<<: *a"),
    *(
        b"[" * 3000,
        b"{a: " * 500,
        b"&a [*a, *a]",
        b"? [a, b]\n: c\n",
        b"1: 2\n",
        b"%YAML 9.9\n",
        b"---\n",
        b"x" * 10_000,
    ),
    *(b"../../../../etc/passwd", b"\\u0000", b"\\ud800", b"\xf0\x9f\x90\x88"),
)

NUMBERS = (0, -1, 1, 2**16, 2**31, 2**63, 10**12, 10**400, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "",
    "../../../../etc/passwd",
    "hf-hub:timm/resnet18",
    "local-dir:/",
    "\0",
    "\ud800",
    "x" * 10_000,
    "torchvision/",
)
HOSTILE = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=5), inside, max_size=4),
        max_leaves=8,
    ),
)
KEYS = (
    "num_classes",
    "source",
    "checkpoint_path",
    "img_size",
    "layers",
    "block",
    "pretrained",
    "url",
    "file",
    "weights",
)


OTHERS = (
    *("PPM", "PCX", "TGA", "ICO", "ICNS", "IM", "JPEG2000", "SGI", "DDS", "QOI", "MSP", "DIB", "BLP", "XBM"),
    *("SPIDER", "TIFF", "MPO", "AVIF"),
)


def changed_bytes(sound: list[bytes]) -> st.SearchStrategy[bytes]:
    """Draw a file with up to eight changes: a byte replaced or a bit flipped, a piece cut, repeated or put in."""
    change = st.tuples(
        st.sampled_from(("flip", "byte", "cut", "end", "repeat", "put", "big")),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
    )
    return st.tuples(st.sampled_from(sound), st.lists(change, max_size=8)).map(lambda drawn: _changed(*drawn))


def _changed(data: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    changed = bytearray(data)
    for kind, place, value in changes:
        # Heads say what the rest is: half of the changes are in the first 64 bytes.
        span = min(len(changed), 64) if value % 2 else len(changed)
        at = int(place * span)
        if kind == "flip" and changed:
            changed[at] ^= 1 << value % 8
        elif kind == "byte" and changed:
            changed[at] = value
        elif kind == "cut":
            del changed[at : at + value]
        elif kind == "end":
            del changed[at:]
        elif kind == "repeat":
            changed[at:at] = changed[at : at + value] * (value % 5)
        elif kind == "put":
            changed[at:at] = TOKENS[value % len(TOKENS)]
        elif kind == "big":
            changed[at : at + 4] = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff", b"\0\0\0\0")[value % 4]
    return bytes(changed)


def changed_json(sound: dict[str, Any], within: str | None = None) -> st.SearchStrategy[bytes]:
    """Draw the text of a JSON object with up to three hostile values, and sometimes with changed bytes.

    Args:
        sound: The object.
        within: Change only what this key holds.
    """
    replaced = st.lists(
        st.tuples(st.integers(0, 2**16), HOSTILE, st.sampled_from((None, *KEYS))), min_size=1, max_size=3
    )
    values = replaced.map(lambda changes: _replaced(sound, within, changes))
    return st.one_of(values, values, changed_bytes([json.dumps(sound).encode()]))


def _replaced(sound: dict[str, Any], within: str | None, changes: list[tuple[int, Any, str | None]]) -> bytes:
    value = json.loads(json.dumps(sound))
    for number, hostile, key in changes:
        places = _places(value[within] if within and isinstance(value.get(within), dict) else value)
        if not places:
            break
        container, place = places[number % len(places)]
        if key is not None and isinstance(container, dict):
            place = key
        container[place] = hostile
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    if not isinstance(value, (dict, list)):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [each for key in keys for each in _places(value[key])]


def image_seeds(others: bool = False) -> list[bytes]:
    """Return small images: of the formats that the server takes, or of the others that pillow writes and reads."""
    Image.init()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels)
    exif = colour.getexif()
    exif[0x0112] = 6
    options: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", colour, {"exif": exif}),
        ("JPEG", colour, {"progressive": True}),
        ("JPEG", colour.convert("CMYK"), {}),
        ("PNG", colour, {"exif": exif}),
        ("PNG", colour.convert("RGBA"), {}),
        ("PNG", Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), {}),
        ("WEBP", colour, {"exif": exif}),
        ("WEBP", colour.convert("RGBA"), {"lossless": True}),
        ("GIF", colour, {"save_all": True, "append_images": [colour.rotate(90)]}),
        ("BMP", colour, {}),
        ("BMP", colour.convert("P"), {}),
        ("TIFF", colour, {}),
        ("TIFF", colour, {"compression": "tiff_lzw"}),
        ("TIFF", colour, {"compression": "jpeg"}),
        ("TIFF", colour.convert("1"), {"compression": "group4"}),
        ("TIFF", colour.convert("F"), {}),
    ]
    if others:
        mode = {"MSP": "1", "XBM": "1", "BLP": "P", "SPIDER": "F"}
        options = [(kind, colour.convert(mode.get(kind, "RGB")), {}) for kind in OTHERS]
    return [_encode(*option) for option in options if option[0] in Image.SAVE]


def _encode(kind: str, image: Image.Image, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def recipe_seeds() -> list[bytes]:
    """Return the recipes that come with leannet, and the settings of a run."""
    folder = resources.files("leannet.training") / "recipes"
    shipped = [entry.read_bytes() for entry in sorted(folder.iterdir(), key=str) if entry.name.endswith(".yaml")]
    nested = b"recipe:\n" + b"".join(b"  " + line for line in shipped[0].splitlines(keepends=True))
    return [*shipped, nested, b"a: &a [1, 2]\nlr: *a\n", b"model: sm_v2\nrecipe: {epochs: 3, lr: 2.0e-3}\nseed: 0\n"]


def list_seeds() -> list[bytes]:
    """Return lists of images with labels."""
    rows = ["file_name,label,split", "a/1.jpg,cat,train", 'b/2.jpg,"dog, big",test', "c/3.png,cat,validation", ""]
    return [
        "\n".join(rows).encode(),
        "\r\n".join(rows).replace(",", ";").encode("utf-8-sig"),
        b"path\tclass\nx.png\t1\n",
    ]


def onnx_seeds(metadata: str | None = None) -> tuple[bytes, str]:
    """Return an exported file of one matrix product, and its metadata.

    Args:
        metadata: What stands in it instead of what belongs there.
    """
    from onnx import TensorProto, helper, numpy_helper

    preprocessing = {"input_size": [3, 8, 8], "crop_pct": 0.5, "interpolation": "bilinear", "crop_mode": "center"}
    preprocessing |= {"mean": [0.5] * 3, "std": [0.25] * 3}
    described = {"format": 1, "architecture": "mean", "num_classes": 3, "label_names": ["a", "b", "c"]}
    described |= {"preprocess": "inside", "preprocessing": preprocessing, "early_exit": None}
    text = json.dumps(described)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["logits"], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("logits", "probabilities")]
    graph = helper.make_graph(nodes, "mean", [image], outputs, [numpy_helper.from_array(np.array([1, 2]), "axes")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"leannet": text if metadata is None else metadata})
    return model.SerializeToString(), text
