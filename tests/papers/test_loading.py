"""What the loader says of a file that is not as it should be."""

from __future__ import annotations

import pytest
from sample_rows import GOOD_ROW, HEAD, example

from leannet.papers.published import parse_paper


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{network: net, quantity: params, printed: '1', table: T, colour: red}", "unknown key 'colour'"),
        ("{network: net, quantity: params, printed: '1', table: T, status: checked}", "unknown key 'status'"),
        ("{network: net, quantity: params, printed: '1'}", "missing field 'table'"),
        ("{quantity: params, printed: '1', table: T}", "missing field 'network'"),
        ("{network: net, quantity: weight, printed: '1', table: T}", "unknown quantity 'weight'"),
        ("{network: net, quantity: macs, printed: '1', table: T}", "'macs' has no unit at the head"),
        ("{network: net, quantity: params, printed: 1.50, table: T}", "'printed' must be str, found float"),
        ("{network: net, quantity: params, printed: '1,x', table: T}", "'1,x M' is not a number"),
        ("{network: net, quantity: params, printed: 'nan', table: T}", "'nan M' is not a number"),
        ("{network: net, quantity: params, printed: '1', unit: ms, table: T}", "'params' is not given in 'ms'"),
        ("{network: net, quantity: params, table: T}", "give either 'printed' or"),
        ("{network: net, quantity: params, printed: '1', value: 1 M, table: T}", "give either"),
        ("{network: net, quantity: params, value: 1 M, table: T}", "missing field 'precision'"),
        ("{network: net, quantity: params, printed: '1', table: T, num_classes: true}", "'num_classes' must be int"),
        ("{network: net, quantity: params, printed: '1', table: T, exit: last}", "unknown exit 'last'"),
        ("params", "expected fields with values, found str"),
    ],
)
def test_a_bad_row_is_named_with_its_file(row, message):
    text = example(f"{GOOD_ROW}\n  - {row}")
    with pytest.raises(ValueError, match=r"^example\.yaml, figures row 2: ") as error:
        parse_paper(text, "example.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        ("{network: net, quantity: params, status: decided}", "missing field 'value'"),
        ("{network: net, quantity: params, value: 1 M}", "missing field 'status'"),
        ("{network: net, quantity: params, value: 1 M, status: guessed}", "unknown status 'guessed'"),
        ("{network: net, quantity: params, value: 1 M, status: decided, table: T}", "unknown key 'table'"),
    ],
)
def test_a_bad_count_is_named_with_its_file(count, message):
    with pytest.raises(ValueError, match=r"^example\.yaml, computed row 1: ") as error:
        parse_paper(example(count=count), "example.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (HEAD + "venue: a journal\n", "example.yaml: unknown key 'venue'"),
        (HEAD.replace("year: null\n", ""), "example.yaml: missing field 'year'"),
        (HEAD.replace("year: null", "year: soon"), "example.yaml: 'year' must be int or NoneType, found str"),
        (HEAD.replace("params: M", "params: ms"), "example.yaml, units: 'params' is not given in 'ms'"),
        (HEAD.replace("params: M", "weight: M"), "example.yaml, units: unknown quantity 'weight'"),
        (HEAD + "]", "example.yaml: not valid YAML"),
    ],
)
def test_a_bad_head_is_named_with_its_file(head, message):
    with pytest.raises(ValueError, match=r"^example\.yaml") as error:
        parse_paper(example(head=head), "example.yaml")
    assert message in str(error.value)
