"""The page in a real browser: headless Chromium runs a script in it and prints what it found."""

import html
import json
import re
import shutil
import subprocess
from math import nan

import pytest

from aal_plugin.report import write_report

from .made_up_runs import write_linked_dir, write_work_dir

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine: apt-get install chromium", allow_module_level=True)
LONG = "a_long_name_without_a_place_to_break_" * 3
# Errors of the page and what it asks for, from its first line on.
FIRST = """<script>
  const faults = [];
  for (const kind of ["error", "securitypolicyviolation", "unhandledrejection"])
    addEventListener(kind, (event) => faults.push(String(event.message || event.blockedURI)), true);
</script>"""
LAST = """<script>
  const asked = performance.getEntriesByType("resource").length;
  document.body.innerHTML = "";
  document.body.append(Object.assign(document.createElement("pre"),
    { textContent: JSON.stringify({ found, faults, asked }) }));
</script>"""


LEGEND = """
  const parts = (group) => all(`.curve .group-${group}`);
  const shown = (group) => parts(group).map((part) => part.style.display !== "none");
  const [button] = all(".legend button");
  const state = () => [button.getAttribute("aria-pressed"), shown(0), shown(1)];
  const states = [state()];
  for (let i = 0; i < 2; i++) { button.click(); states.push(state()); }
  return states;"""
POINTER = """
  return ["link_weight", "loss"].map((key, group) => {
    const figure = document.querySelector(`[data-key=${key}]`);
    const svg = figure.querySelector("svg");
    svg.scrollIntoView();
    return [...svg.querySelectorAll(`.group-${group} use`)].map((use) => {
      const box = use.getBoundingClientRect();
      const [clientX, clientY] = [box.x + box.width / 2 + 3, box.y + box.height / 2 + 3];
      svg.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY }));
      const at = svg.querySelector(".mark").getBoundingClientRect();
      const off = Math.hypot(at.x + at.width / 2 - clientX, at.y + at.height / 2 - clientY);
      return [figure.querySelector("output").textContent, off < 8];
    });
  });"""
SLIDER = """
  const cells = () => all(".heatmap tbody td").map((cell) => cell.textContent);
  const [slider, run] = [at("link-epoch"), at("link-run")];
  const states = [[...cells(), at("links-caption").textContent]];
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  states.push(cells());
  run.value = 1;
  run.dispatchEvent(new Event("change"));
  return [...states, cells(), at("link-epoch-shown").textContent];"""
SORTING = """
  const head = all("#runs table.sorts thead button").find((b) => b.textContent === "runs");
  const names = () => all("#runs table.sorts tbody th").map((cell) => cell.textContent);
  const orders = [names()];
  for (let i = 0; i < 2; i++) { head.click(); orders.push(names()); }
  return [...orders, head.parentNode.getAttribute("aria-sort")];"""
COLOURS = """
  const parts = "h1, h2, h3, p, th, td, summary, a, li, label, button, svg text";
  const visible = (e) => e.getClientRects().length && e.className !== "skip";
  const pairs = all(parts).filter(visible).map((e) => {
    let under = e;
    const paper = () => getComputedStyle(under).backgroundColor;
    while (paper() === "rgba(0, 0, 0, 0)") under = under.parentElement;
    const style = getComputedStyle(e);
    return [e.ownerSVGElement ? style.fill : style.color, paper()];
  });
  return [document.documentElement.scrollWidth, pairs];"""
LIGHT = [(LEGEND, 1200), (POINTER, 1200), (SLIDER, 1200), (SORTING, 1200)]
WIDTHS = [(COLOURS, 320), (COLOURS, 1280)]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    runs = [f"a  b={write_linked_dir(folder / name)}" for name in ("x=1", "x=2")]
    lines = [
        dict(epoch=e, step=e, iter=e, lr=0.1, loss=loss, link_distance=nan)
        for e, loss in ((1, 3), (2, nan), (3, 2))
    ]
    plain = write_work_dir(folder / "plain", lines=lines)
    write_report([*runs, f"{LONG}={plain}"], folder / "report.html", images=0)
    return folder / "report.html"


def tried(page, cases, dark):
    """What each script gives in a page of each width; the pages must neither complain nor fetch."""
    frames = ""
    for number, (script, width) in enumerate(cases):
        text = page.read_text(encoding="utf-8").replace("<title>", f"{FIRST}<title>", 1)
        run = f"<script>const found = (() => {{ {script} }})();</script>"
        name = f"tried{number}.html"
        page.with_name(name).write_text(text.replace("</body>", f"{run}{LAST}</body>"))
        # A window of Chromium has a least width; a frame has none.
        frames += f'<iframe src="{name}" style="width: {width}px; height: 900px"></iframe>'
    copy = """addEventListener("load", () => {
      for (const f of document.querySelectorAll("iframe"))
        document.body.append(f.contentDocument.querySelector("pre"));
    });"""
    page.with_name("frame.html").write_text(f"{frames}<script>{copy}</script>")
    theme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    address = page.with_name("frame.html").as_uri()
    command = [CHROMIUM, *options, theme, "--virtual-time-budget=5000", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    answers = re.findall(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert len(answers) == len(cases)
    answers = [json.loads(html.unescape(answer)) for answer in answers]
    assert all(answer["faults"] == [] and answer["asked"] == 0 for answer in answers)
    return [answer["found"] for answer in answers]


@pytest.fixture(scope="module")
def light(page):
    return tried(page, LIGHT + WIDTHS, dark=False)


@pytest.fixture(scope="module")
def dark(page):
    return tried(page, WIDTHS, dark=True)


def test_legend_hides_a_group_in_all_charts_and_shows_it_again(light):
    for (pressed, first, second), expected in zip(light[0], (True, False, True)):
        assert pressed == str(expected).lower()
        assert len(first) >= 3 and set(first) == {expected} and set(second) == {True}


def test_pointer_reads_the_nearest_point_and_numbers_that_are_none_have_no_point(light):
    weight, loss = light[1]
    assert weight == [["a  b, epoch 1: 8", True], ["a  b, epoch 2: 7", True]]
    assert loss == [[f"{LONG}, epoch 1: 3", True], [f"{LONG}, epoch 3: 2", True]]


def test_slider_and_choice_show_the_links_of_an_epoch_of_a_run(light):
    shown = light[2]
    first, second = (f"{0.1 * epoch * 2 * 6**0.5:.2f}" for epoch in (1, 2))
    assert shown[0][:6] == [second] * 6 and shown[0][6].startswith("a  b, run 1, epoch 2: mean")
    assert shown[1:] == [[first] * 6, [second] * 6, "2"]


def test_press_on_a_columns_head_sorts_the_table(light):
    assert light[3] == [["a  b", LONG], [LONG, "a  b"], ["a  b", LONG], "descending"]


def test_page_fits_its_window_and_its_text_has_contrast(light, dark):
    """4.5 to 1 for text, as WCAG asks for, from the colours that the browser computed."""
    looks = zip([*light[4:], *dark], [320, 1280] * 2, [False, False, True, True])
    for (wide, pairs), width, is_dark in looks:
        assert wide <= width and len(pairs) > 50
        assert (luminance(pairs[0][0]) > luminance(pairs[0][1])) == is_dark
        for ink, paper in {tuple(pair) for pair in pairs}:
            brighter, darker = sorted((luminance(ink), luminance(paper)), reverse=True)
            assert (brighter + 0.05) / (darker + 0.05) >= 4.5, (ink, paper)


def luminance(colour):
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
