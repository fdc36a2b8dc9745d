"use strict";
// Draws the figures of the page with Plotly, in the colours of the reader's theme, and connects
// the legend, the choice of a run and the slider.

const dark = window.matchMedia("(prefers-color-scheme: dark)");
// Okabe and Ito's palette, and brighter tones of the same hues on a dark page.
const PALETTES = {
  light: ["#0072b2", "#d55e00", "#009e73", "#b3568c", "#a87400", "#3a8fc2", "#000000"],
  dark: ["#56b4e9", "#ff8a50", "#3cc79a", "#e3a3c6", "#e69f00", "#f0e442", "#f2f2f2"],
};
const hidden = new Set();

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const tone = (group) => PALETTES[dark.matches ? "dark" : "light"][group % 7];
const faint = (hex) =>
  `rgba(${[1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(",")},0.22)`;

function themed(layout) {
  const axis = { gridcolor: colour("--grid"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true };
  return Object.assign({}, layout, {
    template: null,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), size: 13, family: getComputedStyle(document.body).fontFamily },
    margin: { l: 48, r: 12, t: 8, b: 44 },
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    xaxis: Object.assign({}, axis, layout.xaxis),
    yaxis: Object.assign({}, axis, layout.yaxis),
  });
}

function coloured(trace) {
  if (!trace.meta || trace.meta.group === undefined) return trace;
  const main = tone(trace.meta.group);
  const copy = Object.assign({}, trace, { visible: !hidden.has(trace.legendgroup) });
  copy.line = Object.assign({}, trace.line, { color: main });
  if (trace.marker) copy.marker = Object.assign({}, trace.marker, { color: main });
  if (trace.fill) copy.fillcolor = faint(main);
  return copy;
}

// The numbers in the cells of a heatmap, where there is room, dark on light cells and light on dark.
function cellTexts(map, width) {
  if (map.x.length > 12 || width / map.x.length < 44) return [];
  const texts = map.z.flatMap((row, level) => row.map((value, block) => ({ value, level, block })));
  return texts.filter((cell) => cell.value !== null).map((cell) => ({
    x: cell.block, // on an axis of categories, a number is a place
    y: cell.level,
    text: cell.value.toFixed(2),
    showarrow: false,
    font: { color: cell.value - map.zmin > 0.45 * (map.zmax - map.zmin) ? "#000000" : "#ffffff" },
  }));
}

const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false };

function drawCurves() {
  for (const box of document.querySelectorAll(".plot.curve")) {
    const figure = read(box.dataset.figure);
    Plotly.react(box, figure.data.map(coloured), themed(figure.layout), CONFIG);
  }
}

function drawLegend() {
  for (const button of document.querySelectorAll(".legend button")) {
    const drawn = button.querySelector("svg");
    drawn.style.color = tone(Number(button.dataset.index));
    button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.group)));
  }
}

function drawLinks() {
  const box = document.querySelector(".plot.heatmap");
  if (!box) return;
  const figure = read(box.dataset.figure);
  const run = document.getElementById("link-run").value;
  const epochs = figure.layout.meta.runs[run];
  const slider = document.getElementById("link-epoch");
  const at = Math.min(Number(slider.value), epochs.length - 1);
  const frame = figure.frames.find((one) => one.name === `${run} · ${epochs[at]}`);
  document.getElementById("link-epoch-shown").textContent = epochs[at];
  slider.setAttribute("aria-valuetext", `epoch ${epochs[at]}`);
  box.setAttribute("aria-label", `Heatmap of the link strengths of ${run} at epoch ${epochs[at]}`);
  const annotations = cellTexts(frame.data[0], box.clientWidth - 130);
  Plotly.react(box, frame.data, themed(Object.assign({ annotations }, figure.layout)), CONFIG);
}

function chooseRun() {
  const figure = read(document.querySelector(".plot.heatmap").dataset.figure);
  const slider = document.getElementById("link-epoch");
  slider.max = figure.layout.meta.runs[document.getElementById("link-run").value].length - 1;
  slider.value = slider.max;
  drawLinks();
}

for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const group = button.dataset.group;
    if (!hidden.delete(group)) hidden.add(group);
    drawLegend();
    drawCurves();
  });
}
if (document.getElementById("link-run")) {
  document.getElementById("link-run").addEventListener("change", chooseRun);
  document.getElementById("link-epoch").addEventListener("input", drawLinks);
}
function drawAll() {
  drawLegend();
  drawCurves();
  drawLinks();
}
dark.addEventListener("change", drawAll);
drawAll();
