"""The report: well-formed, complete, without an address outside of it, and usable in a browser."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import yaml
from report_entries import entry

from unroll.report.page import render

VOID = {"meta", "img"}
# One experiment of params.yaml for each form of network; value and skill differ, so that they can be sorted.
SHOWN = {
    "mnist-dense": ("one_to_one", {"value": 0.9, "skill": 0.05}),
    "mnist-bilstm": ("many_to_one", {"value": 0.11, "skill": None, "gradient_reach": {"trained": [1e-9, 0.1, 1.0]}}),
    "reviews-bilstm": ("many_to_one", {"value": 1e-5, "skill": -0.5}),
    "melody-lstm": ("one_to_many", {"value": 20.0, "skill": -30.0}),
    "strips-caption-lstm": ("one_to_many", {"value": 3.0, "skill": 0.5, "parity": "int8 loses <0.1% & more"}),
    "strips-lstm": ("many_to_many", {"value": 100.0, "skill": 0.9}),
    "translate-lstm": ("sequence_to_sequence", {"value": 5.0, "skill": 0.2}),
    "translate-lstm-attention": ("sequence_to_sequence", {"value": 4.0, "skill": 0.3}),
}


@pytest.fixture(scope="module")
def page(root):
    experiments = yaml.safe_load((root / "params.yaml").read_text())["experiments"]
    picture = (root / "docs/pictures/prefect-run.png").read_bytes()
    return render(
        [
            entry(name, experiments[name]["model"], topology, task=experiments[name]["task"],
                  pictures={"confusion": picture}, **result)
            for name, (topology, result) in SHOWN.items()
        ]
    )  # fmt: skip


class Checker(HTMLParser):
    """Collects the elements, and what is not well-formed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.elements = [], [], []
        self.feed(text)
        self.close()
        self.faults += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if len(dict(attrs)) < len(attrs):
            self.faults.append(f"{tag} has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"{tag} is closed at {self.getpos()}, where it is not the last one open")

    def values(self, *names):
        return [value for _, attributes in self.elements for name, value in attributes.items() if name in names]


def test_the_page_is_well_formed_and_needs_no_other_file(page):
    checked = Checker(page)
    assert not checked.faults
    ids = checked.values("id")
    assert len(set(ids)) == len(ids)
    targets = [one.removeprefix("#") for one in checked.values("href", "aria-labelledby")]
    assert set(targets) <= set(ids)
    sources = checked.values("src")
    assert len(sources) == len(SHOWN)
    assert all(one.startswith("data:image/png;base64,") for one in sources)
    bare = re.sub(r'src="data:[^"]*"', "", page)
    assert not re.search(r"https?:|//\w|@import|url\((?!#tip\))", bare)
    assert {tag for tag, _ in checked.elements}.isdisjoint({"link", "iframe", "object", "base"})


def test_every_experiment_has_a_row_and_a_section_that_say_the_same(page):
    checked = Checker(page)
    for name in SHOWN:
        assert checked.values("href").count(f"#experiment-{name}") == 1
        assert checked.values("id").count(f"experiment-{name}") == 1
    assert "4 better than the strongest baseline on the same test rows, 2 worse,\n2 not clearly different" in page
    assert "int8 loses &lt;0.1% &amp; more" in page
    pictures = [attributes for tag, attributes in checked.elements if tag in ("img", "svg")]
    for attributes in pictures:
        assert attributes.get("alt") or attributes.get("aria-label") or attributes.get("aria-hidden") == "true"


# Opens the page on a telephone's width, sorts by value up and down and by name, and writes down what it finds.
PROBE = """<!DOCTYPE html><html><body><iframe width="360" height="700" srcdoc="PAGE"></iframe><script>
addEventListener('load', () => {
  const inner = document.querySelector('iframe').contentDocument, found = {};
  const order = () => [...inner.querySelectorAll('tbody tr th')].map(cell => cell.textContent);
  const press = place => { inner.querySelectorAll('thead button')[place].click(); return order(); };
  found.width = inner.documentElement.scrollWidth;
  found.start = order();
  found.up = press(3);
  found.down = press(3);
  found.sort = inner.querySelectorAll('thead th')[3].getAttribute('aria-sort');
  found.name = press(0);
  document.body.textContent = JSON.stringify(found);
});
</script></body></html>"""


def test_the_page_in_a_browser(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium here; Debian has it as the package chromium")
    file = tmp_path / "probe.html"
    file.write_text(PROBE.replace("PAGE", html.escape(page)))
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path}/b",
    )
    done = subprocess.run([browser, *options, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=300)
    body = re.search(r"<body>(\{.*\})</body>", done.stdout)
    assert body, done.stderr[-2000:]
    found = json.loads(html.unescape(body[1]))
    assert found["width"] <= 360
    assert found["start"] == list(SHOWN)
    assert found["up"] == sorted(SHOWN, key=lambda name: SHOWN[name][1]["value"])
    assert found["down"] == found["up"][::-1]
    assert found["sort"] == "descending"
    assert found["name"] == sorted(SHOWN)
