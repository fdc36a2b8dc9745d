"use strict";
// Draws the figures of the page with Plotly, in the colours of the reader's theme, connects the
// legend, the choice of a run and the slider, and sorts tables.

const dark = window.matchMedia("(prefers-color-scheme: dark)");
// Okabe and Ito's palette, and brighter tones of the same hues on a dark page.
const PALETTES = {
  light: ["#0072b2", "#d55e00", "#009e73", "#b3568c", "#a87400", "#3a8fc2", "#000000"],
  dark: ["#56b4e9", "#ff8a50", "#3cc79a", "#e3a3c6", "#e69f00", "#f0e442", "#f2f2f2"],
};
const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false };
const hidden = new Set();

const at = (id) => document.getElementById(id);
const all = (query) => [...document.querySelectorAll(query)];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const tone = (group) => PALETTES[dark.matches ? "dark" : "light"][group % 7];

function themed(layout) {
  const axis = { gridcolor: colour("--grid"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true };
  return {
    ...layout,
    template: null,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), size: 13, family: getComputedStyle(document.body).fontFamily },
    margin: { l: 48, r: 12, t: 8, b: 44 },
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  };
}

function coloured(trace) {
  const main = tone(trace.meta.group);
  const copy = { ...trace, visible: !hidden.has(trace.legendgroup), line: { ...trace.line, color: main } };
  if (trace.marker) copy.marker = { ...trace.marker, color: main };
  if (trace.fill) copy.fillcolor = `${main}38`; // 38: faint
  return copy;
}

const curves = all(".plot.curve").map((box) => [box, JSON.parse(at(box.dataset.figure).textContent)]);

function drawCurves() {
  for (const button of all(".legend button")) {
    button.querySelector("svg").style.color = tone(Number(button.dataset.index));
    button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.group)));
  }
  for (const [box, figure] of curves) {
    Plotly.react(box, figure.data.map(coloured), themed(figure.layout), CONFIG);
  }
}

for (const button of all(".legend button")) {
  button.addEventListener("click", () => {
    if (!hidden.delete(button.dataset.group)) hidden.add(button.dataset.group);
    drawCurves();
  });
}

const links = at("links-figure") ? JSON.parse(at("links-figure").textContent) : [];

function drawLinks() {
  const box = document.querySelector(".plot.heatmap");
  const run = links[Number(at("link-run").value)];
  const step = Math.min(Number(at("link-epoch").value), run.epochs.length - 1);
  const [epoch, z] = [run.epochs[step], run.z[step]];
  const blocks = z[0].length;
  at("link-epoch-shown").textContent = epoch;
  at("link-epoch").setAttribute("aria-valuetext", `epoch ${epoch}`);
  box.setAttribute("aria-label", `Heatmap of the links of ${run.name} at epoch ${epoch}`);
  const map = {
    type: "heatmap",
    z,
    x: z[0].map((_, block) => String(block + 1)),
    y: z.map((_, level) => String(level + 1)),
    zmin: run.range[0],
    zmax: run.range[1],
    colorscale: "Cividis", // safe for colour-blind eyes, and dark to light in print
    xgap: 2,
    ygap: 2,
    colorbar: { title: { text: run.label, side: "right" }, thickness: 12 },
    hovertemplate: "level %{y}, block %{x}: %{z:.4f}<extra></extra>",
  };
  // The numbers in the cells, where there is room, dark on light cells and light on dark.
  const room = blocks <= 12 && (box.clientWidth - 130) / blocks >= 44;
  const light = run.range[0] + 0.45 * (run.range[1] - run.range[0]);
  const annotations = (room ? z : []).flatMap((row, y) => row.map((value, x) => ({
    x, // on an axis of categories, a number is a place
    y,
    text: value === null ? "" : value.toFixed(2),
    showarrow: false,
    font: { color: value > light ? "#000000" : "#ffffff" },
  }))).filter((cell) => cell.text);
  const axis = { type: "category", showgrid: false };
  const layout = { annotations, xaxis: { ...axis, title: { text: "student block" } }, yaxis: { ...axis, title: { text: "teacher level" } } };
  Plotly.react(box, [map], themed(layout), CONFIG);
}

function chooseRun() {
  const last = links[Number(at("link-run").value)].epochs.length - 1;
  at("link-epoch").max = last;
  at("link-epoch").value = last;
  drawLinks();
}

if (links.length) {
  at("link-run").addEventListener("change", chooseRun);
  at("link-epoch").addEventListener("input", drawLinks);
  chooseRun();
}

// A press on a column's head sorts the table by it, and the next press the other way round.
function sortBy(column, head) {
  const down = head.getAttribute("aria-sort") === "ascending";
  const body = head.closest("table").tBodies[0];
  const key = (row) => row.cells[column].textContent.replaceAll(",", "");
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const order = (one, other) => {
    const [a, b] = [key(one), key(other)];
    const [x, y] = [parseFloat(a), parseFloat(b)];
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // not recorded: last
    return (down ? -1 : 1) * (x - y || a.localeCompare(b, undefined, { numeric: true }));
  };
  body.append(...[...body.rows].sort(order));
}

for (const head of all("table.sorts thead th")) {
  const button = document.createElement("button");
  button.textContent = head.textContent || "name";
  button.addEventListener("click", () => sortBy(head.cellIndex, head));
  head.replaceChildren(button);
}

dark.addEventListener("change", () => {
  drawCurves();
  if (links.length) drawLinks();
});
drawCurves();
