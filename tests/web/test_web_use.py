"""The page is safe, and can be used by keyboard, on a phone, with and without a camera."""

import re

import pytest
from web_pages import PATIENCE, Visit, encode, noise, serve

pytestmark = pytest.mark.slow


def test_the_policy_holds_what_is_not_of_the_page(page_folder, browser):
    with serve(page_folder) as address:
        visit = Visit(browser, address, wait_for="")
        with pytest.raises(Exception, match=r"[Cc]ontent [Ss]ecurity [Pp]olicy"):
            visit.page.add_script_tag(content="window.smuggled = true")
        assert visit.page.evaluate("window.smuggled") is None
        assert visit.page.evaluate("fetch('http://127.0.0.1:1/').catch((error) => 'refused')") == "refused"
        assert any("http://127.0.0.1:1/" in each and "default-src" in each for each in visit.complaints)
        visit.close()


def test_the_page_works_under_the_policy_of_a_strict_server(page_folder, browser):
    policy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"

    def answer(route):
        found = route.fetch()
        route.fulfill(response=found, headers={**found.headers, "content-security-policy": policy})

    with serve(page_folder) as address:
        context = browser.new_context()
        context.route("**/*", answer)
        browser_like = type("Routed", (), {"new_context": lambda _self, **_options: context})()
        visit = Visit(browser_like, address)
        assert len(visit.answer(encode(noise(30, 20)))["labels"]) == 5
        visit.close()
        assert visit.complaints == []


COUNT_CLICKS = """() => {
  window.clicks = 0;
  document.getElementById("files").addEventListener("click", (event) => {
    event.preventDefault();
    window.clicks += 1;
  });
}"""


def test_keyboard_alone_gets_to_everything(visit):
    page = visit.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    outline = "getComputedStyle(document.querySelector('.pick:focus-within')).outlineStyle"
    assert page.evaluate(outline) == "solid"
    # A click on it is what opens the dialog of the system, which no browser without a screen has.
    page.evaluate(COUNT_CLICKS)
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert page.evaluate("window.clicks") == 2
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "camera"


def test_everything_has_a_name(visit):
    visit.answer(encode(noise(30, 20)), "tree.png")
    page = visit.page
    assert page.get_by_label("Choose images").count() == 1
    assert page.get_by_role("button", name="Start the camera").is_visible()
    assert page.get_by_role("img", name="The image tree.png").is_visible()
    assert page.get_by_role("status").text_content().startswith("tree.png: ")
    assert page.get_by_role("heading", level=1).text_content() == "resnet20_cifar"
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.get_by_text("Your images do not leave this device").is_visible()


def test_a_phone_shows_it_without_scrolling_sideways(visit):
    visit.answer(encode(noise(1500, 300)), "a name that is long" * 6)
    before = visit.page.viewport_size
    for width in (320, 390):
        visit.page.set_viewport_size({"width": width, "height": 800})
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [each.bounding_box() for each in visit.page.locator(".pick:visible, button:visible").all()]
        assert min(box["height"] for box in boxes) >= 44  # pixels: what a finger hits
    visit.page.set_viewport_size(before)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(visit, scheme):
    """At least 4.5 to 1, as the guidelines for accessible pages ask; the formula is theirs."""
    visit.page.emulate_media(color_scheme=scheme)
    ground = luminance(visit.page, "body", "backgroundColor")
    for selector in ("h1", "#facts", "#privacy"):
        text = luminance(visit.page, selector, "color")
        lighter, darker = max(text, ground), min(text, ground)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5
    assert (ground < 0.1) == (scheme == "dark")


def luminance(page, selector, which):
    css = page.eval_on_selector(selector, f"element => getComputedStyle(element).{which}")
    shares = [int(each) / 255 for each in re.findall(r"\d+", css)[:3]]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_class_has_a_style(page_folder):
    """The style is that of another page, which may change."""
    page = (page_folder / "index.html").read_text()
    script = (page_folder / "page.js").read_text()
    styles = (page_folder / "look.css").read_text() + (page_folder / "page.css").read_text()
    used = set(re.findall(r'class="(\w+)"', page)) | set(re.findall(r'make\([^()]*, "(\w+)"\)', script))
    assert {"drop", "pick", "quiet", "row", "track"} <= used
    assert {name for name in used | {"over", "alarm"} if f".{name}" not in styles} == set()
    variables = set(re.findall(r"var\((--\w+)\)", styles))
    assert {name for name in variables if f"{name}:" not in styles} == set()


def test_a_refused_camera_is_told(visit):
    visit.page.get_by_role("button", name="Start the camera").click()
    visit.wait_for("The camera may not be used")
    assert visit.page.locator("#live").is_hidden()
    visit.answer(encode(noise(30, 20)))  # everything else goes on


def test_the_camera_is_answered_until_it_is_stopped(visit):
    visit.context.grant_permissions(["camera"])
    page = visit.page
    page.get_by_role("button", name="Start the camera").click()
    first = page.locator("#seen p data").first
    first.wait_for(timeout=PATIENCE)
    shown = first.element_handle()
    shown.wait_for_element_state("hidden", timeout=PATIENCE)  # the next frame has taken its place
    assert page.locator("#seen li").count() == 5
    visit.answer(encode(noise(30, 20)), "meanwhile")
    page.get_by_role("button", name="Stop the camera").click()
    assert page.locator("#live").is_hidden()
    assert page.evaluate("document.getElementById('video').srcObject") is None
    assert page.get_by_role("button", name="Start the camera").is_visible()


def test_opened_as_a_file_it_says_what_to_do(page_folder, browser):
    page = browser.new_page()
    page.goto((page_folder / "index.html").as_uri())
    assert "python -m http.server --directory FOLDER" in page.get_by_role("status").text_content()
    page.close()
