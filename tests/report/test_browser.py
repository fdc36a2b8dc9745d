"""The page in a real browser: Debian's headless Chromium, driven by Playwright."""

import shutil

import pytest

pytest.importorskip("plotly", reason="the report needs Plotly: pip install plotly")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="drives the browser: pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def address(work_dirs, tmp_path_factory):
    from aal_plugin.report import write_report

    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report(work_dirs, out, images=1)
    return out.as_uri()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def spaced(tmp_path_factory):
    """The page of a run whose name has two spaces."""
    from aal_plugin.report import write_report

    from .test_odd_runs import linked_dir

    folder = tmp_path_factory.mktemp("spaced")
    write_report([f"a  b={linked_dir(folder, 'x=1')}"], folder / "report.html", images=0)
    return (folder / "report.html").as_uri()


class Opened:
    """The page, what the browser's console said, and every address that it asked for."""

    def __init__(self, browser, address, width=1200, scheme="light"):
        self.context = browser.new_context(
            viewport=dict(width=width, height=900), color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector(".plot .main-svg")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def run(self, script):
        return self.page.evaluate(script)


def test_page_opens_without_an_error_and_asks_for_nothing(browser, address):
    with Opened(browser, address) as opened:
        opened.page.wait_for_timeout(300)
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [address]
        drawn = opened.run("document.querySelectorAll('.plot .main-svg').length > 0")
        plots = opened.run("[...document.querySelectorAll('.plot')].map(p => p._fullData.length)")
        assert drawn and len(plots) == 5 and all(plots)


def test_slider_shows_the_links_of_its_epoch(browser, address):
    with Opened(browser, address) as opened:
        shown = "document.querySelector('.plot.heatmap').data[0].z"
        charts = opened.run("JSON.parse(document.getElementById('links-figure').textContent)")
        first, second = charts
        assert opened.run(shown) == first["z"][2]
        opened.page.focus("#link-epoch")
        for epoch in (1, 0):
            opened.page.keyboard.press("ArrowLeft")
            z = first["z"][epoch]
            assert opened.run(shown) == z
            cells = opened.run("document.querySelector('.plot.heatmap').layout.annotations")
            assert len(cells) == 4 * 3
            assert all(cell["text"] == f"{z[cell['y']][cell['x']]:.2f}" for cell in cells)
            assert opened.page.inner_text("#link-epoch-shown") == str(epoch)
        opened.page.select_option("#link-run", label="aal, seed 1")
        assert opened.run(shown) == second["z"][2]
        label = opened.page.get_attribute(".plot.heatmap", "aria-label")
        assert label == "Heatmap of the links of aal, seed 1 at epoch 2"
        assert opened.said == []


def test_links_of_a_run_whose_name_has_two_spaces_are_drawn(browser, spaced):
    with Opened(browser, spaced) as opened:
        z = opened.run("document.querySelector('.plot.heatmap').data[0].z")
        assert z[0][0] == pytest.approx(0.2 * 2 * 6**0.5)
        assert opened.said == []


def test_press_on_a_columns_head_sorts_the_table(browser, address):
    with Opened(browser, address) as opened:
        head = opened.page.locator("#runs table.sorts thead button", has_text="runs")
        names = "[...document.querySelectorAll('#runs table.sorts tbody th')].map(e => e.innerText)"
        assert opened.run(names) == ["aal", "plain"]
        head.click()
        assert opened.run(names) == ["plain", "aal"]  # one run, two runs
        head.click()
        assert opened.run(names) == ["aal", "plain"]
        sorted_by = opened.page.locator("#runs th[aria-sort]")
        assert sorted_by.get_attribute("aria-sort") == "descending" and opened.said == []


def test_click_in_the_legend_hides_a_group_in_all_charts(browser, address):
    with Opened(browser, address) as opened:
        visible = """name => [...document.querySelectorAll('.plot.curve')].map(plot =>
            plot._fullData.filter(t => t.legendgroup === name && t.visible === true).length)"""
        before = opened.page.evaluate(visible, "aal")
        assert all(before)
        button = opened.page.locator(".legend button", has_text="aal")
        button.click()
        assert opened.page.evaluate(visible, "aal") == [0] * len(before)
        assert any(opened.page.evaluate(visible, "plain"))
        assert button.get_attribute("aria-pressed") == "false"
        button.click()
        assert opened.page.evaluate(visible, "aal") == before
        assert button.get_attribute("aria-pressed") == "true"
        assert opened.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 400, 1200])
def test_page_never_scrolls_sideways(browser, address, width, scheme):
    with Opened(browser, address, width, scheme) as opened:
        assert opened.run("document.documentElement.scrollWidth") <= width


def test_colours_follow_the_readers_theme(browser, address):
    with Opened(browser, address) as opened:
        line = "document.querySelector('.plot.curve').data.find(t => t.meta.role === 'mean').line"
        page = "getComputedStyle(document.body).backgroundColor"
        light = opened.run(f"[{line}.color, {page}]")
        opened.page.emulate_media(color_scheme="dark")
        for _ in range(100):  # the page hears of it a moment later
            if opened.run(f"{line}.color") != light[0]:
                break
            opened.page.wait_for_timeout(50)
        dark = opened.run(f"[{line}.color, {page}]")
        assert light == ["#0072b2", "rgb(246, 247, 249)"]
        assert dark == ["#56b4e9", "rgb(18, 21, 26)"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(browser, address, scheme):
    """4.5 to 1 for text, from the colours that the browser computed."""
    with Opened(browser, address, scheme=scheme) as opened:
        pairs = opened.run(
            """[...document.querySelectorAll(`h1, h2, h3, p, th, td, caption, summary, a, li, label,
              figcaption, button`)].filter(e => e.offsetParent && e.className !== 'skip').map(e => {
                let under = e;
                const paper = () => getComputedStyle(under).backgroundColor;
                while (paper() === 'rgba(0, 0, 0, 0)') under = under.parentElement;
                return [getComputedStyle(e).color, paper()];
            })"""
        )
    assert len(pairs) > 50
    for ink, paper in {tuple(pair) for pair in pairs}:
        brighter, darker = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (brighter + 0.05) / (darker + 0.05) >= 4.5, (ink, paper)


def luminance(colour):
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
