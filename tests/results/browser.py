"""Headless Chromium for tests of the page."""

import json
import shutil

import lacking

NEEDED = ("chromium", "chromedriver")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run")


def start():
    """A driver that logs the console and every request; skips the test where there is none."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        where = "on PATH (Debian: apt-get install chromium chromium-driver)"
        lacking.skip("programs", f"no {' and no '.join(absent)} {where}")
    webdriver = lacking.extra("selenium.webdriver", "selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def requests(driver):
    """Addresses that the page has asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [address for address in asked if not address.startswith("data:")]


def emulate(driver, width, scheme):
    """A window of so many pixels across, in light or dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def until_set_up(driver):
    """Wait for the page's script: a busy machine may call a page loaded before it ran."""
    waiting(driver, 20).until(lambda page: page.find_element("css selector", ".controls").is_displayed())


def waiting(driver, seconds):
    """Selenium's wait; there is a driver, so there is selenium."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, seconds)
