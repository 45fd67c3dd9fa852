"""The pages load nothing from elsewhere, run nothing that is not written in them, and can be used without a mouse."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from served import serving

PAGES = ("/", "/docs")
CARRIES_TEXT = {"h1", "label", "button", "title"}
WITHOUT_END = {"meta", "input", "br", "img", "link"}


class Page(HTMLParser):
    """Collects elements, with the text in them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        assert self.open == []  # whatever begins ends

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in WITHOUT_END:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]


@pytest.fixture(params=PAGES)
def answer(request, served):
    found = served.client.get(request.param)
    assert found.status_code == 200
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    return found


def test_nothing_comes_from_elsewhere(answer):
    assert re.findall(r"(?:https?:)?//\w[\w.-]*\.\w+", answer.text) == []
    page = Page(answer.text)
    for element in page.elements:
        assert not {"src", "srcset", "data", "action", "poster", "style"} & set(element)
        assert not any(name.startswith("on") for name in element)  # what runs stands in the one script
        assert element.get("href", "/").startswith("/")
    assert not page.all("link")
    assert "url(" not in answer.text
    assert "@import" not in answer.text


def test_policy_allows_what_is_written_in_the_page_and_no_more(answer):
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    for tag in ("script", "style"):
        inside = re.findall(f"<{tag}[^>]*>(.*?)</{tag}>", answer.text, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inside]
        assert policy[f"{tag}-src"] == (" ".join(f"'sha256-{each}'" for each in hashes) or "'none'")
    assert "unsafe" not in str(policy)
    assert set(" ".join(policy.values()).split()) - {"'none'", "'self'", "blob:"} <= set(
        re.findall(r"'sha256-[\w+/=]+'", str(policy.values()))
    )


def test_script_makes_no_markup_of_text(served):
    [script] = Page(served.client.get("/").text).all("script")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in script["text"]


def test_whoever_sees_or_touches_nothing_can_use_it(served):
    page = Page(served.client.get("/").text)
    [document] = page.all("html")
    assert document["lang"] == "en"
    [viewport] = [element for element in page.all("meta") if element.get("name") == "viewport"]
    assert "width=device-width" in viewport["content"]
    for element in page.elements:
        if element["tag"] in CARRIES_TEXT:
            assert element["text"].strip(), element
        assert int(element.get("tabindex", 0)) == 0
    labelled = {element.get("for") for element in page.all("label")}
    for element in page.all("input"):
        parents = [label for label in page.all("label") if label["text"] in ("Choose images", "Take a photo")]
        assert element["id"] in labelled or (element["type"] == "file" and len(parents) == 2)
    assert any(element.get("role") == "status" for element in page.elements)
    for element in page.all("button"):
        assert element["type"] == "button"
    for element in page.elements:
        if "aria-labelledby" in element:
            assert element["aria-labelledby"] in {each.get("id") for each in page.elements}


def test_every_id_that_the_script_asks_for_is_there(served):
    page = Page(served.client.get("/").text)
    [script] = page.all("script")
    asked = set(re.findall(r'find\("(\w+)"\)', script["text"]))
    assert len(asked) > 8
    assert asked <= {element.get("id") for element in page.elements}


def test_docs_describe_what_openapi_does(served):
    described = served.client.get("/openapi.json").json()
    page = Page(served.client.get("/docs").text)
    headings = [element["text"] for element in page.all("h2")]
    assert headings == [f"{m.upper()} {path}" for path, methods in described["paths"].items() for m in methods]
    assert "Retry-After" in served.client.get("/docs").text


def test_pages_are_right_behind_a_token():
    with serving(token="right-token") as served:
        assert served.client.get("/").status_code == 200
        assert served.client.get("/docs", headers={"authorization": "Bearer right-token"}).status_code == 200
        assert served.client.get("/favicon.ico").status_code == 204


def test_answers_for_programs_can_show_nothing(served):
    for address in ("/health", "/metrics", "/nowhere"):
        headers = served.client.get(address).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
