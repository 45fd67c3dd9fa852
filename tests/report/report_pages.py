"""Run folders and a browser for the tests of the report."""

import contextlib
import json
import shutil

import yaml

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "<script>alert(1)</script>"
NETWORKS = ("sm_v2", "resnet20_cifar", EVIL)
CLASSES = ("0", "1", "$x^2$", EVIL)


def make_comparison(folder, networks=NETWORKS, classes=CLASSES, images=40, latency=True):
    """Write the records of a comparison by hand, as `leannet compare` does; each network is right more often."""
    labels = [number % len(classes) for number in range(images)]
    names = [f"test/{classes[label].replace('/', '_')}/{number}.png" for number, label in enumerate(labels)]
    rows = []
    for place, network in enumerate(networks):
        run = folder / "networks" / network.replace("/", "_") / "seed-0"
        run.mkdir(parents=True)
        lines, correct = ["image,label,predicted,probability,label_probability,correct"], 0
        for number, label in enumerate(labels):
            answer = label if number % (place + 2) else (label + 1) % len(classes)
            correct += answer == label
            lines.append(f"{names[number]},{classes[label]},{classes[answer]},0.7,0.3,{int(answer == label)}")
        (run / "predictions.csv").write_text("\n".join(lines) + "\n")
        (run / "epochs.csv").write_text("epoch,loss,lr,images_per_second,seconds\n1,2.5,0.1,10,4\n2,1.5,0.1,10,4\n")
        value = 100 * correct / images
        rows.append(
            {
                "network": network,
                "top1": {"value": value, "low": value - 5, "high": value + 4, "method": "Wilson, one seed"},
                "seeds": [0],
                "correct": [correct],
                "total": images,
                "parameters": 2_000_000 - 300_000 * place,
                "macs": 5_000_000 + 1_000_000 * place,
                "latency": {"median_ms": 9.0 + place, "p90_ms": 11.0 + place, "repeats": 30, "threads": 1}
                if latency
                else None,
                "images_per_second": 100.0 * (place + 1),
                "pareto": True,
            }
        )
    data = {
        "name": EVIL,
        "location": f"data/{EVIL}",
        "fingerprint": "f" * 64,
        "classes": list(classes),
        "images": {"train": 100, "test": images},
        "judged_on": "test",
        "img_size": 8,
        "notes": [],
    }
    recipe = {"epochs": 2, "batch_size": 8}
    results = {"pareto_rule": "", "data": data, "recipe": recipe, "latency": "eager", "rows": rows}
    (folder / "results.json").write_text(json.dumps(results))
    environment = {"command": f"leannet compare --name '{EVIL}'", "leannet": "0.1.0", "seeds": [0], "data": data}
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "args.yaml").write_text(yaml.safe_dump({"networks": list(networks), "seeds": [0], "recipe": recipe}))
    return folder


@contextlib.contextmanager
def chromium():
    """Start a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser, file, width):
    """Open a file; returns the page with a list of everything that goes wrong in it, which grows."""
    page = browser.new_page(color_scheme="light", viewport={"width": width, "height": 900})
    page.set_default_timeout(300_000)  # a busy machine takes minutes to read 5 MB of script
    wrong = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector(".plot:last-of-type .main-svg", state="attached")
    return page, wrong
