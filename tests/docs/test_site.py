"""The site of the guide: it builds in strict mode, is complete, and loads nothing from elsewhere."""

import contextlib
import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from results.browser import emulate, requests, start, waiting

from .pages import ROOT

LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "link": "href",
    "source": "src",
    "video": "src",
    "object": "data",
}
"""Tag -> attribute with a URL that a browser fetches automatically."""
NOT_FETCHED = {"canonical", "next", "prev", "author", "license"}
SOURCES = ("docs", "zensical.toml")
SEARCH = "return [...document.querySelectorAll('*')].find(element => element.shadowRoot)"
"""Script that finds the open search dialog."""


def build(folder):
    """Run the two commands of the docs environment, and return the result of the second."""
    subprocess.run([sys.executable, folder / "docs" / "generate.py"], check=True)
    return zensical(folder)


def zensical(folder):
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the sources of the site."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("generated", "__pycache__"))
    shutil.copy(ROOT / "zensical.toml", folder)
    (folder / "results").symlink_to(ROOT / "results")
    return folder


@pytest.fixture(scope="module")
def site(sources):
    done = build(sources)
    assert done.returncode == 0, done.stdout + done.stderr
    return sources / "out" / "site"


class Page(HTMLParser):
    """Parser of a page that collects its links, resources and anchors."""

    def __init__(self, file):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get(LOADED.get(tag)) and values.get("rel") not in NOT_FETCHED:
            self.loaded.append(values[LOADED[tag]])


@pytest.fixture(scope="module")
def pages(site):
    found = {file: Page(file) for file in site.rglob("*.html") if file.name != "404.html"}
    assert len(found) >= 12
    return found


def test_every_link_leads_somewhere(site, pages):
    dead = []
    for file, page in pages.items():
        for link in page.links + page.loaded:
            address, anchor = urldefrag(link)
            if urlsplit(link).scheme:
                continue
            target = (file.parent / unquote(address)).resolve() if address else file
            known = target in pages and (not anchor or unquote(anchor) in pages[target].anchors)
            if not (known or (target.is_file() and target not in pages)):
                dead.append(f"{file.relative_to(site)}: {link}")
    assert dead == []


def test_nothing_is_loaded_from_elsewhere(site, pages):
    outside = [
        link for page in pages.values() for link in page.loaded if urlsplit(link).scheme not in ("", "data")
    ]
    assert outside == []
    imported = [
        address
        for file in site.rglob("*.css")
        for address in re.findall(r"(?:url\(|@import)\s*[\"']?(https?:|//)", file.read_text(encoding="utf-8"))
    ]
    assert imported == []


def test_a_broken_link_fails_the_build(sources, site, tmp_path):
    copy = tmp_path / "checkout"
    shutil.copytree(sources, copy, symlinks=True, ignore=shutil.ignore_patterns("out", ".cache", "reference"))
    done = zensical(copy)
    assert done.returncode != 0
    assert "page does not exist" in done.stdout + done.stderr


def test_the_reference_has_what_the_docstrings_have(pages, site):
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert "weighted scalar terms to add to the student" in api
    assert ":meth:" not in api
    assert ":class:" not in api
    assert "=====" not in api
    assert "kdbench.api.Method.build" in pages[site / "reference" / "api.html"].anchors
    assert "kdbench.hookspecs.kdbench_pairs" in pages[site / "reference" / "hooks.html"].anchors
    assert {"hinton", "mimic"} <= pages[site / "generated" / "methods.html"].anchors


@contextlib.contextmanager
def served(folder):
    """Serve a folder on this machine, and return its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture(scope="module")
def driver():
    started = start()
    yield started
    started.quit()


@pytest.mark.parametrize("page", ["index.html", "reference/api.html"])
def test_it_is_searched_from_disk(driver, site, page):
    emulate(driver, 1280, "light")
    driver.get("about:blank")
    driver.get_log("browser")
    requests(driver)
    driver.get((site / page).as_uri())
    until = waiting(driver, 60).until
    until(lambda _: driver.find_element("css selector", ".md-search__button")).click()
    host = until(lambda _: driver.execute_script(SEARCH))
    until(lambda _: host.shadow_root.find_element("css selector", "input")).send_keys("MethodCard")
    until(
        lambda _: host.shadow_root.find_elements("css selector", "a[href$='api.html#kdbench.api.MethodCard']")
    )
    assert [entry["message"] for entry in driver.get_log("browser")] == []
    assert [asked for asked in requests(driver) if not asked.startswith(("file:", "about:"))] == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_in_a_browser(driver, site, width, scheme):
    emulate(driver, width, scheme)
    driver.get("about:blank")
    driver.get_log("browser")
    requests(driver)
    with served(site) as address:
        for page in (
            "index.html",
            "concepts.html",
            "method.html",
            "reference/api.html",
            "generated/methods.html",
        ):
            driver.get(address + page)
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
            dark = driver.execute_script("return getComputedStyle(document.body).colorScheme") == "dark"
            assert dark == (scheme == "dark")
        driver.get("about:blank")
        assert [entry["message"] for entry in driver.get_log("browser")] == []
        assert [asked for asked in requests(driver) if not asked.startswith((address, "about:"))] == []
