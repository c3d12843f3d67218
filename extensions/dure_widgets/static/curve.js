// A chart of metrics over steps on uPlot, which is joined in front of this file.

const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3], [14, 4]];
const MOST_DRAWN = 24;
const MOST_POINTS = 2000;
const IS_SHARE = /acc|auc|f1|precision|recall|score|iou|r2/i;

/** A colour of the sheet as the canvas needs it. */
const colour = (el, name) => getComputedStyle(el).getPropertyValue(name).trim();

/** Rows thinned to about so many once there are twice as many: the lowest and the highest of each stretch, in order. */
function thin(rows) {
  if (rows.length <= 2 * MOST_POINTS) return rows;
  const size = Math.ceil((rows.length * 2) / MOST_POINTS);
  const kept = [];
  for (let start = 0; start < rows.length; start += size) {
    const stretch = rows.slice(start, start + size);
    const known = stretch.filter(([, value]) => value !== null);
    const ends = known.length ? [(a, b) => a[1] - b[1], (a, b) => b[1] - a[1]].map((by) => [...known].sort(by)[0]) : [stretch[0]];
    kept.push(...stretch.filter((row) => ends.includes(row)));
  }
  if (kept.at(-1) !== rows.at(-1)) kept.push(rows.at(-1));
  return kept;
}

/** A plot goes from left to right; a job that went on from a checkpoint has steps twice. */
const byStep = (rows) => (rows.every((row, at) => !at || rows[at - 1][0] <= row[0]) ? rows : [...rows].sort((a, b) => a[0] - b[0]));

/**
 * A curve that is appended to. `points` is a Map of name to [[step, value], …] that the caller keeps; `update()` draws
 * what is in it. `list({all, count, on})` tells every metric with its last value, and which are drawn until people
 * choose; `chosen()` are those drawn now, null before any is known, and `changed` is called when people choose. Losses
 * are on the left axis, shares such as accuracy on the right. Gives {node, list, chosen, update, clear, close}.
 */
function curve(model, points, changed) {
  const plot = h("div", { class: "dure-plot", role: "img" });
  const legend = h("div", { class: "dure-legend", role: "group", "aria-label": word(model, "curve") });
  const empty = h("p", { class: "dure-muted" }, word(model, "no_metrics"));
  const others = h("div", { class: "dure-legend" });
  const howMany = h("summary");
  const more = h("details", {}, howMany, others);
  const node = h("div", { class: "dure-curve" }, empty, plot, legend, more);
  const chosen = new Map();
  let listed = { all: [], count: 0, on: [] };
  let chart = null;
  let drawn = "";

  const choose = () => {
    const names = listed.all.map(([name]) => name);
    names.forEach((name) => chosen.has(name) || chosen.set(name, { on: listed.on.includes(name), at: chosen.size }));
    return names;
  };
  const drawnNow = () => [...chosen].filter(([, one]) => one.on).map(([name]) => name);
  const look = (name) => ({ stroke: colour(node, `--d-series-${(chosen.get(name).at % 5) + 1}`), dash: DASHES[chosen.get(name).at % 5] });
  const axis = (scale, side) => ({
    scale, side, stroke: colour(node, "--d-muted"), size: 52, font: "12px system-ui, sans-serif",
    grid: { show: side !== 1, stroke: colour(node, "--d-line"), width: 1 }, ticks: { stroke: colour(node, "--d-line"), width: 1 },
  });
  const build = (names) => {
    chart?.destroy();
    const shares = names.some((name) => IS_SHARE.test(name));
    const others = names.some((name) => !IS_SHARE.test(name));
    const axes = [{ ...axis("x", 2), size: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 1e5, 1e6] }];
    if (others) axes.push(axis("y", 3));
    if (shares) axes.push(axis("share", others ? 1 : 3));
    chart = new uPlot({
      width: Math.max(plot.clientWidth, 200), height: 220, legend: { show: false }, cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { auto: true }, share: { auto: true } },
      axes,
      series: [{}, ...names.map((name) => ({
        label: name, scale: IS_SHARE.test(name) ? "share" : "y", width: 2, spanGaps: true, ...look(name), points: { show: (u, i) => (points.get(name) ?? []).length < 40 },
      }))],
    }, [[], ...names.map(() => [])], plot);
  };
  const makeEntry = (name) => {
    const box = h("input", { type: "checkbox", id: newId(), onchange: () => {
      chosen.get(name).on = box.checked;
      update();
      changed();
    } });
    box.checked = chosen.get(name).on;
    const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    line.setAttribute("class", "dure-line");
    line.setAttribute("viewBox", "0 0 28 4");
    line.setAttribute("aria-hidden", "true");
    const stroke = document.createElementNS("http://www.w3.org/2000/svg", "path");
    stroke.setAttribute("d", "M0 2H28");
    stroke.setAttribute("stroke-dasharray", look(name).dash.join(" "));
    stroke.setAttribute("style", `stroke: var(--d-series-${(chosen.get(name).at % 5) + 1})`);
    line.append(stroke);
    return h("label", { for: box.id }, box, line, h("span", {}, name), h("strong"));
  };
  const update = () => {
    const names = choose();
    const on = names.filter((name) => chosen.get(name).on);
    const values = new Map(listed.all);
    const patchEntry = (entry, name) => {
      text(entry.lastChild, number(model, values.get(name)));
      able(entry.firstChild, chosen.get(name).on || on.length < MOST_DRAWN);
    };
    show(empty, !names.length);
    show(plot, names.length > 0);
    keyed(legend, names.slice(0, MOST_DRAWN), (name) => name, makeEntry, patchEntry);
    keyed(others, names.slice(MOST_DRAWN), (name) => name, makeEntry, patchEntry);
    show(more, names.length > MOST_DRAWN);
    text(howMany, word(model, "more_metrics", { shown: Math.min(MOST_DRAWN, names.length), count: listed.count }));
    if (chart === null || drawn !== on.join("\n")) {
      if (!names.length) return;
      drawn = on.join("\n");
      build(on);
    }
    const tables = on.map((name) => byStep(points.get(name) ?? [])).map((rows) => [rows.map((row) => row[0]), rows.map((row) => row[1])]);
    chart.setData(on.length ? uPlot.join(tables) : [[]]);
    const count = [...points.values()].reduce((sum, rows) => sum + rows.length, 0);
    put(node, "data-points", count);
    put(plot, "aria-label", on.map((name) => {
      const [step, value] = points.get(name)?.at(-1) ?? [null, null];
      return word(model, "last", { name, value: number(model, value), step });
    }).join("; "));
  };
  const sized = new ResizeObserver(() => chart && plot.clientWidth && chart.setSize({ width: plot.clientWidth, height: 220 }));
  sized.observe(plot);
  // The canvas keeps the colours it was drawn with, so another theme needs another chart.
  const themed = new MutationObserver(() => requestAnimationFrame(() => {
    drawn = null;
    update();
  }));
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  const close = () => {
    sized.disconnect();
    themed.disconnect();
    chart?.destroy();
  };
  const list = (given) => {
    listed = given;
  };
  return { node, list, update, close, chosen: () => (chosen.size ? drawnNow() : null), clear: () => {
    chosen.clear();
    listed = { all: [], count: 0, on: [] };
    chart?.destroy();
    chart = null;
    put(node, "data-points", 0);
    update();
  } };
}
