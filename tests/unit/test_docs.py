"""The docs are true: what is generated is current, and links lead somewhere."""

import re
import runpy

PAGES = ["README.md", "CONTRIBUTING.md", "docs", "data/README.md", "models/README.md"]


def test_options_are_those_of_the_configuration(root):
    render = runpy.run_path(str(root / "docs/generate_options.py"))["render"]
    assert (root / "docs/options.md").read_text(encoding="utf-8") == render(), "run `make docs`"


def pages(root):
    for name in PAGES:
        path = root / name
        yield from path.rglob("*.md") if path.is_dir() else [path]


def test_links_lead_to_files_and_headings(root):
    broken = []
    for page in pages(root):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            if not path.exists() or (anchor and anchor not in headings(path.read_text(encoding="utf-8"))):
                broken.append(f"{page.name}: {target}")
    assert not broken


def headings(text):
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
