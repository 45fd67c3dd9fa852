"""A page around a small network, written once, and Chromium to look at it."""

import shutil

import pytest
import torch
from web_pages import LABELS, NETWORK_SIZE, Visit, serve

from leannet.deploy.export import export_network
from leannet.deploy.web.archive import runtime_files
from leannet.deploy.web.page import MODEL_FILE, write_page
from leannet.models import create_network
from leannet.training import save_model_folder
from leannet_runtime import Preprocessing, UserError

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--use-fake-device-for-media-stream")


@pytest.fixture(scope="session")
def runtime():
    """What runs networks in the browser: from the user's own cache, else fetched into it."""
    try:
        return runtime_files()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A network whose answers depend on the picture, though it has learned nothing."""
    torch.manual_seed(3)
    network = create_network("resnet20_cifar", num_classes=len(LABELS), img_size=NETWORK_SIZE)
    network.train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(16, 3, NETWORK_SIZE, NETWORK_SIZE))
        network.get_classifier().weight.mul_(4)
    folder = tmp_path_factory.mktemp("network")
    save_model_folder(network.eval(), folder, LABELS, Preprocessing(NETWORK_SIZE, 0.9, "bicubic"))
    return folder


@pytest.fixture(scope="session")
def page_folder(model_folder, runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_page(export_network(model_folder, folder / MODEL_FILE, check_images=10), folder, runtime)
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium; ends with the module, since its event loop would be in the way of other tests'."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is there: none of {', '.join(CHROMIUM)}")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=found, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def visit(page_folder, browser):
    """The page, loaded once; at the end nothing may have been complained about or asked of other machines."""
    with serve(page_folder) as address:
        opened = Visit(browser, address)
        yield opened
        opened.close()
        assert opened.complaints == []
        assert [each for each in opened.requests if not each.startswith((address, "blob:"))] == []
