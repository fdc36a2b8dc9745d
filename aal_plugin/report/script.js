"use strict";
// Connects the legend, the pointer over a curve, the choice of a run and an epoch, and sorts tables.

const at = (id) => document.getElementById(id);
const all = (query) => [...document.querySelectorAll(query)];
const hidden = new Set();

for (const button of all(".legend button")) {
  const { group } = button.dataset;
  button.addEventListener("click", () => {
    if (!hidden.delete(group)) hidden.add(group);
    button.setAttribute("aria-pressed", String(!hidden.has(group)));
    for (const part of all(`.curve .${group}`)) part.style.display = hidden.has(group) ? "none" : "";
  });
}

// Below a chart: the numbers of the point next to the pointer, as its table has them.
for (const figure of all(".curve")) {
  const svg = figure.querySelector("svg");
  const [head, ...rows] = figure.querySelector("table").rows;
  const points = figure.dataset.groups.split(" ").flatMap((number, i) => {
    const cell = (row, column = i + 1) => row.cells[column].textContent;
    const own = rows.filter((row) => Number.isFinite(parseFloat(cell(row)))); // others have no point
    const group = `group-${number}`;
    const line = svg.querySelector(`.${group} > path[style*="fill: none"]`); // not a band
    const places = line?.getAttribute("d")?.match(/[\d.]+ [\d.]+/g) ?? [];
    return places.map((place, n) => {
      const [x, y] = place.split(" ").map(Number);
      return { group, x, y, text: `${cell(head)}, ${cell(head, 0)} ${cell(own[n], 0)}: ${cell(own[n])}` };
    });
  });
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  mark.setAttribute("r", 5);
  mark.classList.add("mark");
  svg.append(mark);
  svg.addEventListener("pointermove", (event) => {
    const here = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const far = ({ x, y }) => Math.hypot(x - here.x, y - here.y);
    const [near] = points.filter(({ group }) => !hidden.has(group)).sort((a, b) => far(a) - far(b));
    if (!near) return;
    figure.querySelector("output").textContent = near.text;
    mark.setAttribute("cx", near.x);
    mark.setAttribute("cy", near.y);
  });
}

const links = at("links-data") ? JSON.parse(at("links-data").textContent) : { runs: [] };

function drawLinks() {
  const run = links.runs[at("link-run").value];
  const step = at("link-epoch").value;
  const table = document.querySelector("table.heatmap");
  const line = (heads, cells) => {
    const row = document.createElement("tr");
    const parts = [["th", heads], ...cells.map((value) => ["td", value])].map(([tag, value]) => {
      const cell = document.createElement(tag);
      cell.textContent = typeof value === "number" ? value.toFixed(2) : value;
      if (typeof value === "number") {
        const share = value / run.highest;
        cell.style.background = links.colours[Math.round(share * (links.colours.length - 1))];
        cell.style.color = share < 0.5 ? "#fff" : "#000";
      }
      return cell;
    });
    row.append(...parts);
    return row;
  };
  const levels = run.values[step];
  at("link-epoch-shown").textContent = run.epochs[step];
  at("link-epoch").setAttribute("aria-valuetext", `epoch ${run.epochs[step]}`);
  at("links-caption").textContent = `${run.name}, epoch ${run.epochs[step]}: ${run.label}`;
  table.tBodies[0].replaceChildren(...levels.map((cells, level) => line(`level ${level + 1}`, cells)).reverse());
  table.tFoot.replaceChildren(line("block", levels[0].map((_, block) => String(block + 1))));
  document.querySelector(".scale output").textContent = run.highest.toFixed(2);
}

function chooseRun() {
  const last = links.runs[at("link-run").value].epochs.length - 1;
  Object.assign(at("link-epoch"), { max: last, value: last });
  drawLinks();
}

if (links.runs.length) {
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
