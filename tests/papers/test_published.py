"""The YAML rows against the original texts, and the rules by which a measured value is held against a row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sample_rows import example

from leannet.papers import Figure, agrees, computed, difference_percent, load_paper, papers, published
from leannet.papers.published import parse_paper
from leannet_runtime import UserError

ORIGINALS = Path(__file__).parents[2].parent / "shared" / "papers"
ORIGINAL_FILES = {
    "dmp": "1-duplicate-max-pooling.txt",
    "cse": "2-channel-squeeze-excitation.txt",
    "emgnet": "3-emgnet.txt",
    "sm_v2": "4-simplified-mobilenetv2.txt",
}
# The tables of results in the order of the original: name, then quantity and data set of each column.
TABLES = {
    "dmp": [
        ("Table 1", [("params", None)]),
        ("Table 2", [("top1", "imagenette"), ("top1", "cifar10"), ("top1", "cifar100")]),
    ],
    "cse": [
        (f"Table {number}", [("params", dataset), ("top1", dataset)])
        for number, dataset in enumerate(("cifar10", "cifar100", "imagenette", "cifar10", "imagenette"), start=2)
    ],
    "sm_v2": [
        (
            "Table 2",
            [("top1", "imagenet"), *((name, None) for name in ("macs", "params", "gpu1_ms", "gpu2_ms", "cpu_ms"))],
        ),
        *(
            (table, [(name, "imagenet100") for name in ("top1", "cpu_ms", "gpu_ms", "macs", "params")])
            for table in ("Table 3", "Table 4")
        ),
    ],
}
# The labels of the originals, spelled as there.
NETWORKS = {
    "EfficientNetB0": "efficientnet_b0",
    "Max-pooling Only": "efficientnet_b0_maxpool",
    "Only Max-pooling": "efficientnet_b0_maxpool",
    "Duplicate Only": "efficientnet_b0_duplicate",
    "Only Duplicating": "efficientnet_b0_duplicate",
    "Duplicate Max-pooling (Ours)": "efficientnet_b0_dmp",
    "Duplicate Max-pooling": "efficientnet_b0_dmp",
    "MobileNetV2(baseline)": "mobilenetv2_bias",
    "MobileNetV2 optimized": "mobilenetv2_optimised",
    "MobileNetV2 optimized for CIFAR10": "mobilenetv2_optimised",
    "CSE block only, cap 8": "mobilenetv2_cse_only",
    "Mix model(3 BTN & 4 CSE), cap 16": "mobilenetv2_cse",
    "VGG16": "vgg16",
    "Inception v3": "inception_v3",
    "ResNet 101": "resnet101",
    "SENet": "senet154",
    "DenseNet 121": "densenet121",
    "Xception": "legacy_xception",
    "MobileNet v1": "mobilenetv1_100",
    "MobileNet V1": "mobilenetv1_100",
    "MobileNet v2": "mobilenetv2_100",
    "MobileNet V2": "mobilenetv2_100",
    "ShuffleNet v2": "torchvision/shufflenet_v2_x1_0",
    "ShuffleNet V2": "torchvision/shufflenet_v2_x1_0",
    "SM_V2": "sm_v2",
    "SM_V2_0": "sm_v2",
    "SM_V2_2_2": "sm_v2_2_2",
    "SM_V2_3_2": "sm_v2_3_2",
    "SM_V2_2_1.5": "sm_v2_2_1_5",
    "SM_V2_x2nr": "sm_v2_x2nr",
}


def figure(printed: str, unit: str, quantity: str = "params") -> Figure:
    row = f'{{network: net, quantity: {quantity}, printed: "{printed}", unit: "{unit}", table: Table 1}}'
    return parse_paper(example(row), "example.yaml").figures[0]


def original(identifier: str) -> str:
    path = ORIGINALS / ORIGINAL_FILES[identifier]
    if not path.is_file():
        pytest.skip("the original texts of the papers do not lie beside this checkout")
    return path.read_text(encoding="utf-8")


def cells_of_the_original(identifier: str) -> Counter[tuple[str, str, str, str | None, str]]:
    tables = iter(TABLES[identifier])
    cells: Counter[tuple[str, str, str, str | None, str]] = Counter()
    table, columns = "", []
    for line in original(identifier).splitlines():
        label, *texts = line.split("\t")
        if texts and label in ("Network", "CNN", "Model"):
            table, columns = next(tables)
        elif any(texts) and table:
            for (quantity, dataset), text in zip(columns, texts, strict=True):
                cells[table, NETWORKS[label], quantity, dataset, text.rstrip("%M").replace(",", "")] += 1
    assert next(tables, None) is None, "a table of the original was not found"
    return cells


@pytest.mark.parametrize("identifier", TABLES)
def test_rows_are_the_cells_of_the_original_tables_no_more_and_no_fewer(identifier):
    rows = Counter(
        (row.table, row.network, row.quantity, row.dataset, row.printed.replace(",", ""))
        for row in load_paper(identifier).figures
    )
    assert rows == cells_of_the_original(identifier)


@pytest.mark.parametrize("identifier", ORIGINAL_FILES)
def test_title_and_authors_stand_in_the_original(identifier):
    text, paper = original(identifier), load_paper(identifier)
    assert paper.title in text
    assert all(author in text for author in paper.authors)
    assert paper.year is None or f"accepted Aug. 18, {paper.year}" in text


def test_every_row_is_named_once():
    for paper in papers():
        names = Counter((row.network, row.quantity, row.dataset, row.table, row.exit) for row in paper.figures)
        assert [name for name, times in names.items() if times > 1] == []
        names = Counter((row.network, row.quantity, row.num_classes, row.img_size, row.exit) for row in paper.computed)
        assert [name for name, times in names.items() if times > 1] == []
    assert len({paper.identifier for paper in papers()}) == len(papers()) == len(ORIGINAL_FILES)


def test_only_the_plot_was_read_off():
    for row in published():
        assert (row.status == "read off") == (row.paper == "emgnet")
        assert (row.status == "read off") == row.table.startswith("Figure 3, read off")
        if row.status == "read off":
            assert row.precision == pytest.approx(0.3 if row.quantity == "top1" else 0.02 * row.value)


def test_accuracies_and_counts_are_in_base_units():
    assert all(50 < row.value < 100 for row in published(quantity="top1"))
    assert all(2e5 < row.value < 2e8 for row in published(quantity="params"))
    assert all(4e7 < row.value < 3e10 for row in published(quantity="macs"))


def prints_beside(count: Figure) -> list[Figure]:
    # The second reading of the paper has a name of its own here, but one print.
    network = count.network.removesuffix("_literal")
    rows = published(network, count.quantity, count.num_classes)
    return [row for row in rows if count.img_size in (None, row.img_size)]


@pytest.mark.parametrize("count", computed(), ids=lambda row: f"{row.network}-{row.quantity}-{row.num_classes}")
def test_status_of_a_computed_count_is_what_the_print_says(count):
    prints = prints_beside(count)
    if count.status == "decided":
        assert (prints, count.printed) == ([], "")
    else:
        # Table 2 of the last paper rounds the MACs of Table 3, so the print that stands beside the count is meant.
        beside = [row for row in prints if row.printed == count.printed]
        assert {agrees(count.value, row) for row in beside} == {count.status == "checked"}


@pytest.mark.parametrize(
    ("measured", "printed", "unit", "expected"),
    [
        (2_253_738, "2.253", "M", True),  # truncated
        (2_252_500, "2.253", "M", True),  # rounded
        (2_252_499, "2.253", "M", False),
        (2_253_999, "2.253", "M", True),
        (2_254_000, "2.253", "M", False),
        (363_370, "0.363", "M", True),
        (1_538_372, "1.54", "M", True),
        (1_592_708, "1.57", "M", False),
        (4_020_358, "4,020,358", "", True),
        (4_020_357, "4,020,358", "", False),
        (4_020_359, "4,020,358", "", False),
        (float("nan"), "1.54", "M", False),
        (float("inf"), "1.54", "M", False),
    ],
)
def test_agrees_by_rounding_or_truncation_and_not_beyond(measured, printed, unit, expected):
    assert agrees(measured, figure(printed, unit)) is expected


@pytest.mark.parametrize(("measured", "expected"), [(91.735, True), (91.7349, False), (91.7499, True), (91.75, False)])
def test_agrees_counts_in_decimal_places(measured, expected):
    (row,) = [row for row in published("mobilenetv2_bias", "top1") if row.table == "Table 2"]
    assert row.printed == "91.74"
    assert agrees(measured, row) is expected


def test_a_column_of_two_decimals_keeps_them_where_the_print_dropped_a_zero():
    (row,) = published("sm_v2_2_2", "params")
    assert row.printed == "1.6"
    assert agrees(1_604_000, row)
    assert not agrees(1_663_428, row)


@pytest.mark.parametrize(("measured", "expected"), [(91.3, True), (91.9, True), (91.29, False), (91.91, False)])
def test_a_value_read_off_agrees_within_the_error_of_the_reading(measured, expected):
    row = next(row for row in published("emgnet56_cifar", "top1", dataset="cifar10") if row.exit == 1)
    assert row.value == 91.6
    assert agrees(measured, row) is expected


def test_difference_is_in_percent_of_the_figure():
    assert difference_percent(1_650_000, figure("1.50", "M")) == pytest.approx(10)
    assert difference_percent(1_350_000, figure("1.50", "M")) == pytest.approx(-10)


def test_text_keeps_its_places_and_its_unit():
    row = figure("2.250", "M")
    assert (row.value, row.precision, row.printed, row.unit) == (2_250_000, 1_000, "2.250", "M")
    row = figure("0.71", "fraction", "top1")
    assert (row.value, row.precision) == (71, 1)
    (count,) = parse_paper(example(), "example.yaml").computed
    assert (count.value, count.precision, count.status) == (1_500_000, 100_000, "decided")


def test_selection_narrows_by_each_argument():
    assert len(published("efficientnet_b0", "top1")) == 3
    assert [row.printed for row in published("efficientnet_b0", "top1", dataset="cifar100")] == ["74.38"]
    assert {row.printed for row in published("mobilenetv2_cse", "params", 10, 224)} == {"0.444"}
    assert [row.value for row in computed("mobilenetv2_cse", "params", 100)] == [478_660]
    assert published("no_such_network") == ()
    assert len(published()) == sum(len(paper.figures) for paper in papers())


def test_an_unknown_paper_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"cannot find the paper 'smv2': .* Choose one of cse, dmp, emgnet, sm_v2\."):
        load_paper("smv2")
