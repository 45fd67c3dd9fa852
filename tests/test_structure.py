"""The shape of the house: no long file, no crowded folder, every package says what it is for."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FILE = 300  # lines
MOST_FILES = 12  # in one folder

FOLDERS = [path for path in (ROOT / "src", ROOT / "tests", ROOT / "benchmarks") if path.is_dir()]
FILES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))


def test_files_are_found():
    assert {path.name for path in FILES} > {"main.py", "macs.py", "files.py", "test_structure.py"}


def long_files(folder):
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES if folder in path.parents}
    return {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > LONGEST_FILE}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_no_file_is_long(folder):
    assert long_files(folder) == {}


def test_no_folder_is_crowded():
    sources = [path for path in FILES if path.is_relative_to(ROOT / "src")]
    counts = {str(path.parent.relative_to(ROOT)): 0 for path in sources}
    for path in sources:
        counts[str(path.parent.relative_to(ROOT))] += path.name != "__init__.py"
    assert {name: count for name, count in counts.items() if count > MOST_FILES} == {}


@pytest.mark.parametrize("package", sorted((ROOT / "src").rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_package_says_what_it_is_for(package):
    assert ast.get_docstring(ast.parse(package.read_text(encoding="utf-8")))


def test_every_folder_with_code_is_a_package():
    folders = {path.parent for path in FILES if path.is_relative_to(ROOT / "src")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_test_files_have_names_of_their_own():
    """The folders of the tests are no packages, so pytest imports test files by their bare name."""
    names = [path.name for path in FILES if path.is_relative_to(ROOT / "tests") and path.name != "conftest.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []
