// Picks from what the study's tables were summed up to, and draws it. Nothing is computed here.
const study = JSON.parse(document.getElementById("study").textContent);
const { coordinates, curves, points, runs } = study;
const MOST = 20; // curves that can be told apart
const ALONE = ["dataset", "model"]; // one value at a time
const SEVERAL = coordinates.filter((name) => !ALONE.includes(name));
const WORDS = { dataset: "data set" };
const at = Object.fromEntries(coordinates.map((name, index) => [name, index]));
const byCurve = curves.map(() => []);
points.curve.forEach((curve, point) => byCurve[curve].push(point));

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function select(name, label, options, changed) {
  const choices = options.map(([value, text]) => element("option", { value }, text));
  const list = element("select", { name, onchange: changed }, ...choices);
  return element("label", {}, label, list);
}

function values(name, among = curves) {
  return [...new Set(among.map((curve) => curve[at[name]]))].sort();
}

// The value of a coordinate that the most points have, of some curves.
function commonest(name, among) {
  const counts = new Map();
  for (const index of among) {
    const value = curves[index][at[name]];
    counts.set(value, (counts.get(value) || 0) + byCurve[index].length);
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0][0];
}

const form = document.getElementById("choice");
const chosen = {}; // coordinate -> values

function ofModel() {
  return curves.map((_, index) => index).filter((index) =>
    ALONE.every((name) => curves[index][at[name]] === chosen[name]));
}

function start() {
  const all = curves.map((_, index) => index);
  for (const name of ALONE) {
    const left = all.filter((index) => name === "dataset" || curves[index][at.dataset] === chosen.dataset);
    chosen[name] = commonest(name, left);
  }
  form.append(...ALONE.map((name) => select(name, WORDS[name] || name, [], pick)));
  const pairs = Object.values(study.columns);
  const metrics = [...new Set(pairs.map(([, metric]) => metric))].map((m) => [m, m.replaceAll("_", " ")]);
  const present = [...new Set(pairs.map(([statistic]) => statistic))];
  form.append(select("metric", "metric", metrics, draw));
  form.append(select("statistic", "measured at", present.map((s) => [s, study.statistics[s]]), draw));
  form.append(element("div", { id: "several" }));
  lists();
  boxes();
}

// The lists of data sets and models; a model that the data set lacks gives way to one that it has.
function lists() {
  const fill = (name, among) => {
    const present = values(name, among);
    if (!present.includes(chosen[name])) chosen[name] = present[0];
    form[name].replaceChildren(...present.map((value) => element("option", { value }, value)));
    form[name].value = chosen[name];
  };
  fill("dataset", curves);
  fill("model", curves.filter((curve) => curve[at.dataset] === chosen.dataset));
}

function pick() {
  for (const name of ALONE) chosen[name] = form[name].value;
  lists();
  boxes();
  draw();
}

// What is chosen at first of all other coordinates, as in figures 1 and 10: trunks of all inferences
// and scorers, and of all searches, if their curves can be told apart.
function first(own) {
  for (const name of SEVERAL) {
    const present = values(name, own.map((index) => curves[index]));
    chosen[name] = new Set(["inference", "scorer", "search"].includes(name) ? present
      : name === "branch" && present.includes("ticket") ? ["ticket"] : [commonest(name, own)]);
  }
  if (selected().length > MOST) chosen.search = new Set([commonest("search", own)]);
}

function boxes() {
  const own = ofModel();
  first(own);
  const sets = SEVERAL.map((name) => {
    const present = values(name, own.map((index) => curves[index]));
    const changed = (event) => {
      const { value, checked } = event.target;
      chosen[name][checked ? "add" : "delete"](value);
      draw();
    };
    const inputs = present.map((value) => element("label", {}, element("input",
      { type: "checkbox", name, value, checked: chosen[name].has(value), onchange: changed }), ` ${value}`));
    return element("fieldset", { hidden: present.length < 2 }, element("legend", {}, name), ...inputs);
  });
  document.getElementById("several").replaceChildren(...sets);
}

function selected() {
  return ofModel().filter((index) => SEVERAL.every((name) => chosen[name].has(curves[index][at[name]])));
}

function title(index, among) {
  const differing = SEVERAL.filter((name) => values(name, among.map((i) => curves[i])).length > 1);
  return differing.map((name) => curves[index][at[name]]).join(", ") || "ticket";
}

function note(text) {
  document.getElementById("note").textContent = text;
}

let drawn = Promise.resolve(null);

// One drawing after another, so that the last choice is what stays.
function draw() {
  drawn = drawn.then((last) => {
    if (last) last.finalize();
    return embed();
  });
}

async function embed() {
  const column = `${form.statistic.value}_${form.metric.value}`;
  const all = selected(), shown = all.slice(0, MOST);
  const known = column in points.mean;
  const rows = !known ? [] : shown.flatMap((index) => byCurve[index]
    .filter((point) => points.mean[column][point] !== null)
    .map((point) => {
      const mean = points.mean[column][point], sd = points.sd[column][point];
      // No metric is below 0, nor is a band.
      return { point, curve: title(index, shown), percent: 100 * points.density[point],
        level: points.level[point], mean, sd, low: Math.max(0, mean - (sd || 0)), high: mean + (sd || 0),
        runs: points.runs[point].length };
    }));
  note(!rows.length ? "No run of this choice has this metric at this epoch."
    : all.length > MOST ? `${MOST} of ${all.length} curves are drawn; choose fewer.` : "");
  const actions = { export: true, source: false, compiled: false, editor: false };
  const made = await vegaEmbed("#chart", spec(rows, column), { renderer: "svg", actions });
  made.view.addEventListener("click", (event, item) => {
    if (item && item.mark.marktype === "symbol" && "point" in item.datum) show(item.datum.point);
  });
  return made;
}

function spec(rows, column) {
  const least = Math.min(...rows.map((row) => row.percent), 100);
  const ticks = [100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 3, 2, 1, 0.5, 0.3, 0.2, 0.1, 0.03, 0.01];
  const x = { field: "percent", type: "quantitative", title: "Weights remaining (%)",
    scale: { type: "log", reverse: true, domain: [Math.min(least / 1.05, 95), 105], nice: false },
    axis: { values: ticks.filter((tick) => tick >= least / 1.05), format: "~g", grid: false } };
  const words = `${form.metric.selectedOptions[0].text}, ${form.statistic.selectedOptions[0].text}`;
  const y = { type: "quantitative", scale: { zero: false }, title: words };
  const domain = [...new Set(rows.map((row) => row.curve))]; // spelled out, or colours and shapes have two legends
  const curve = { field: "curve", type: "nominal", title: null, scale: { domain } };
  const color = { ...curve, scale: { domain, scheme: "tableau10" }, legend: null };
  const longest = Math.max(0, ...domain.map((name) => name.length));
  const columns = Math.floor(document.getElementById("chart").clientWidth / (6.5 * longest + 40)) || 1; // pixels a letter
  const legend = { orient: "bottom", columns, labelLimit: 600, symbolOpacity: 1 };
  const number = (field, text) => ({ field, type: "quantitative", title: text, format: ".4~g" });
  const tooltip = [{ field: "curve", title: "curve" }, number("level", "level"), number("percent", "weights remaining (%)"),
    number("mean", "mean"), number("sd", "deviation"), number("runs", "runs")];
  return {
    width: "container", height: 380, data: { values: rows }, encoding: { x },
    layer: [
      { mark: { type: "area", opacity: 0.15 }, encoding: { color, y: { field: "low", ...y }, y2: { field: "high" } } },
      { mark: { type: "line", strokeWidth: 1.6 }, encoding: { color, y: { field: "mean", ...y } } },
      { mark: { type: "point", filled: true, size: 60, opacity: 1, cursor: "pointer" },
        encoding: { color: { ...color, legend }, shape: { ...curve, legend }, y: { field: "mean", ...y }, tooltip } },
    ],
    resolve: { legend: { color: "independent", shape: "independent" } },
    config: { font: "system-ui, sans-serif", axis: { labelFontSize: 12, titleFontSize: 13 }, legend: { labelFontSize: 12 }, view: { stroke: null } },
  };
}

function text(value) {
  return value === null || value === undefined ? "" : typeof value === "number" ? `${+value.toPrecision(5)}` : value;
}

function cell(value) {
  return element("td", { className: typeof value === "number" ? "number" : "" }, text(value));
}

function head(names) {
  return element("tr", {}, ...names.map((name) => element("th", {}, name.replaceAll("_", " "))));
}

// The runs of a point: their numbers, folders and commands.
function show(point) {
  const curve = curves[points.curve[point]];
  const statistic = form.statistic.value;
  const columns = Object.keys(study.columns).filter((name) => study.columns[name][0] === statistic);
  const some = (name) => points.runs[point].some((run) => runs[name][run] !== null);
  const names = ["seed", ...["replicate"].filter(some), ...columns.filter(some), "survivors", "seconds", "device"];
  const labels = names.map((name) => (study.columns[name] || [0, name])[1]);
  const rows = points.runs[point].map((run) => element("tr", {}, ...names.map((name) => cell(runs[name][run]))));
  const places = points.runs[point].map((run) => {
    const command = `snakemake --cores 1 --force ${runs.folder[run]}/metrics.json${study.options}`;
    return element("tr", {}, cell(runs.seed[run]),
      ...[runs.folder[run], command].map((words) => element("td", {}, element("code", {}, words))));
  });
  const where = coordinates.map((name, index) => `${name} ${curve[index]}`).join(", ");
  document.getElementById("point").replaceChildren(
    element("p", {}, `${where}, level ${points.level[point]}, ${text(100 * points.density[point])} % of the weights; ${study.statistics[statistic]}`),
    element("table", {}, head(labels), ...rows),
    element("table", {}, head(["seed", "folder", "command that runs it again"]), ...places));
}

const CLAIMS = ["no.", "claim", "data", "model", "statistic", "estimate", "seeds", "verdict", "corrected", "more seeds", "reason"];
const filters = document.getElementById("filter");

function claims() {
  const wanted = filters.words.value.toLowerCase();
  const kept = study.claims.filter((claim) =>
    ["dataset", "model", "verdict"].every((name) => [String(claim[name]), "any"].includes(filters[name].value))
    && JSON.stringify(Object.values(claim)).toLowerCase().includes(wanted));
  const rows = kept.map((claim) => {
    const interval = claim.low === null ? "" : ` [${text(claim.low)}, ${text(claim.high)}]`;
    const verdict = element("td", { className: claim.verdict.split(" ")[0] }, claim.verdict);
    const corrected = claim.q === null ? "" : `${claim.verdict_corrected}, q = ${+claim.q.toPrecision(2)}`;
    const more = claim.more_seeds === null ? "" : `${claim.more_seeds} (${text(claim.more_hours)} h)`;
    return element("tr", {}, ...[claim.number, claim.text, claim.dataset, claim.model || claim.family, claim.statistic,
      `${text(claim.estimate)}${interval}`, claim.seeds].map(cell), verdict, ...[corrected, more, claim.reason].map(cell));
  });
  document.getElementById("claims").replaceChildren(head(CLAIMS), ...rows);
  document.getElementById("kept").textContent = `${kept.length} of ${study.claims.length}`;
}

function startClaims() {
  for (const name of ["dataset", "model", "verdict"]) {
    const present = [...new Set(study.claims.map((claim) => claim[name]))].filter((value) => value !== null).sort();
    filters.append(select(name, WORDS[name] || name, [["any", "any"], ...present.map((value) => [value, value])], claims));
  }
  filters.append(element("label", {}, "words", element("input", { type: "search", name: "words", oninput: claims })));
  filters.append(element("output", { id: "kept" }));
  claims();
}

start();
draw();
startClaims();
