"""The page in headless Chromium, opened from disk."""

import pytest

from kdbench.results.html import write_page
from kdbench.results.store import Store

from .browser import emulate, requests, start, until_set_up
from .samples import cells, teacher

EVIL = "<script>document.title='broken'</script>"
GAINS = {"mimic": 0.10, "hinton": 0.08, "chen": -0.06, "fitnets[weight=2]": 0.02, EVIL: 0.01}
WIDTHS = (1280, 390)
RANKING = "#ranking-1"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    seeds = range(4)
    records = [*cells("none", {seed: 0.5 + 0.01 * seed for seed in seeds}), teacher()]
    for place, (name, gain) in enumerate(GAINS.items()):
        noise = 0.001 if name != "hinton" else 0.1
        scores = {seed: 0.5 + 0.01 * seed + gain + noise * (-1) ** seed for seed in seeds}
        records += cells(name, scores, seconds=0.1 * (place + 1))
    for record in records:
        Store(root).write(record)
    return write_page(root, root / "page").as_uri()


@pytest.fixture(scope="module")
def driver():
    started = start()
    yield started
    started.quit()


@pytest.fixture
def page(driver, address):
    """The page, freshly opened at desktop width; afterwards its console must be empty and it alone asked for."""
    emulate(driver, WIDTHS[0], "light")
    driver.get("about:blank")
    driver.get_log("browser")
    requests(driver)
    driver.get(address)
    until_set_up(driver)
    yield driver
    assert driver.get_log("browser") == []
    assert {asked.partition("#")[0] for asked in requests(driver)} <= {address}


def names(page):
    """The methods that are seen, in their order."""
    rows = page.find_elements("css selector", f"{RANKING} tbody.methods tr")
    return [row.find_element("css selector", "th").text for row in rows if row.is_displayed()]


def heading(page, title):
    return page.find_element(
        "xpath", f"//table[contains(@class,'board')]//thead//th[.//button[text()='{title}']]"
    )


def press(page, title):
    heading(page, title).find_element("css selector", "button").click()


def column(page, title):
    place = heading(page, title).get_property("cellIndex")
    keys = [row.find_elements("css selector", "td, th")[place] for row in rows_of(page)]
    return [float(cell.get_attribute("data-key")) for cell in keys]


def rows_of(page):
    return page.find_elements("css selector", f"{RANKING} tbody.methods tr")


def choose(page, verdict):
    script = "const box = document.querySelector('.controls select'); box.value = arguments[0];"
    page.execute_script(script + "box.dispatchEvent(new Event('change'))", verdict)


def test_it_opens_in_rank_order_and_runs_no_text(page):
    assert names(page) == ["mimic", "hinton", "fitnets[weight=2]", EVIL, "chen"]
    assert page.title == "kdbench leaderboards"
    assert page.execute_script("return document.scripts.length") == 1


def test_a_number_column_sorts_both_ways(page):
    press(page, "time")
    assert column(page, "time") == [5, 4, 3, 2, 1]
    assert heading(page, "time").get_attribute("aria-sort") == "descending"
    press(page, "time")
    assert column(page, "time") == [1, 2, 3, 4, 5]
    assert heading(page, "time").get_attribute("aria-sort") == "ascending"
    assert heading(page, "#").get_attribute("aria-sort") is None
    references = page.find_elements("css selector", "tbody.references th")
    assert [cell.text for cell in references] == ["teacher", "none (plain student)"]


def test_names_sort_as_words(page):
    press(page, "method")
    assert names(page) == sorted(GAINS)


def test_sorting_works_from_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    button = heading(page, "vs plain").find_element("css selector", "button")
    button.send_keys(Keys.ENTER)
    button.send_keys(Keys.SPACE)
    assert names(page)[0] == "chen"
    assert page.switch_to.active_element == button


def test_filter_by_name_and_verdict(page):
    box = page.find_element("css selector", ".controls input[type=search]")
    box.send_keys("MIM")
    assert names(page) == ["mimic"]
    assert page.find_element("css selector", ".shown").text == "1 of 5 rows"
    box.clear()
    box.send_keys("<script>")
    assert names(page) == [EVIL]
    box.clear()
    box.send_keys("x")
    box.clear()
    choose(page, "no evidence")
    assert names(page) == ["hinton"]
    choose(page, "worse")
    assert names(page) == ["chen"]
    press(page, "method")
    assert names(page) == ["chen"]
    choose(page, "")
    assert len(names(page)) == 5


def test_the_command_of_a_row_opens_in_its_cell(page):
    first = rows_of(page)[0]
    command = first.find_element("css selector", ".command")
    assert not command.is_displayed()
    first.find_element("css selector", "summary").click()
    assert "kdbench run --method mimic --dataset digits" in command.text
    board = page.find_element("css selector", ".ranking > .scroll")
    assert page.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", board)


def test_all_columns_can_be_shown(page):
    extra = page.find_elements("css selector", f"{RANKING} thead th.more")
    assert extra
    assert not any(cell.is_displayed() for cell in extra)
    page.find_element("css selector", ".controls input[type=checkbox]").click()
    assert all(cell.is_displayed() for cell in extra)


def test_a_deep_link_opens_the_card(page, address):
    page.get("about:blank")
    page.get(f"{address}#method-mimic")
    card = page.find_element("id", "method-mimic")
    assert page.switch_to.active_element == card
    parts = card.find_elements("css selector", "details")
    assert parts
    assert all(part.get_attribute("open") for part in parts)
    top = page.execute_script("return arguments[0].getBoundingClientRect().top", card)
    assert 0 <= top < 450


def test_a_method_in_the_table_leads_to_its_card(page):
    page.find_element("css selector", "tbody.methods a[href='#method-chen']").click()
    assert page.switch_to.active_element == page.find_element("id", "method-chen")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(page, width, scheme):
    emulate(page, width, scheme)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(page, scheme):
    emulate(page, WIDTHS[0], scheme)
    assert page.execute_script(CONTRAST) == []


CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const rgb = parse(getComputedStyle(node).backgroundColor);
    if (rgb.length < 4 || rgb[3] > 0) return rgb;
  }
};
const faint = [];
for (const node of document.querySelectorAll("p, a, th, td, span, code, button, figcaption, summary, svg text")) {
  if (!node.textContent.trim() || !node.getClientRects().length) continue;
  const style = getComputedStyle(node);
  // Numbers on marks have the colour of what is behind the marks.
  if ((node.getAttribute("style") || "").includes("--surface")) continue;
  const [a, b] = [light(parse(node.closest("svg") ? style.fill : style.color)), light(ground(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) faint.push([node.tagName, node.textContent.slice(0, 30), ratio.toFixed(2)]);
}
return faint;
"""


def test_many_rows_come_step_by_step_and_sort_as_a_whole(driver, tmp_path):
    records = cells("none", {0: 0.5})
    for row in range(120):
        records += cells(f"mimic[weight={row}]", {0: 0.3 + 0.001 * row})
    for record in records:
        Store(tmp_path).write(record)
    driver.get(write_page(tmp_path, tmp_path / "page").as_uri())
    until_set_up(driver)
    assert len(rows_of(driver)) == 50
    assert driver.find_element("css selector", ".shown").text == "50 of 120 rows"
    press(driver, "vs plain")
    press(driver, "vs plain")
    assert names(driver)[0] == "mimic[weight=0]"
    driver.find_element("css selector", "button.next").click()
    button = driver.find_element("css selector", "button.next")
    assert button.text == "Show 20 more"
    button.click()
    assert not button.is_displayed()
    assert names(driver) == [f"mimic[weight={row}]" for row in range(120)]


def test_what_the_papers_report_is_filtered_and_sorted(page):
    section = page.find_element("id", "reported")
    section.find_element("css selector", "input[type=search]").send_keys("GFL-R50 gfl-r101")
    box = section.find_element("css selector", "select")
    page.execute_script("arguments[0].value = 'COCO'; arguments[0].dispatchEvent(new Event('change'))", box)
    gain = section.find_element("xpath", ".//thead//th[.//button[text()='vs plain']]")
    gain.find_element("css selector", "button").click()
    rows = section.find_elements("css selector", "tbody.methods tr")
    assert {"crosskd", "bckd", "ld", "fgd"} <= {row.find_element("css selector", "th").text for row in rows}
    assert all("COCO" in row.text for row in rows)
    place = gain.get_property("cellIndex")
    keys = [row.find_elements("css selector", "td, th")[place].get_attribute("data-key") for row in rows]
    gains = [float(key) for key in keys if key]
    assert gains == sorted(gains, reverse=True)
    assert len(gains) > 5


def test_every_control_has_a_name(page):
    for control in page.find_elements(
        "css selector", "button, input, select, a, summary, [role=img], [role=region]"
    ):
        assert control.accessible_name or not control.is_displayed()
