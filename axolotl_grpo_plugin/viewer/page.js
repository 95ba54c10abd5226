"use strict";
// All texts of runs go into the page by textContent. Nothing is ever parsed as HTML.
const $ = (name) => document.querySelector(name);
const LIMIT = 200, LONG = 20000;
let DATA = [], RUNS = [], state = {}, moves = null, version = 0;

function el(name, props, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(props || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== ""));
  return node;
}
const number = (value, digits = 2) => value === null || value === undefined ? "–" : Number(value.toFixed(digits)).toString();
const signed = (value) => value === null || value === undefined ? "–" : (value > 0 ? "+" : "") + number(value);
const percent = (value) => value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`;
const tone = (value) => value > 0 ? "good" : value < 0 ? "bad" : "soft";
const mean = (values) => { const own = values.filter((each) => each !== null); return own.length ? own.reduce((a, b) => a + b, 0) / own.length : null; };

// ---- data ----
async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}
// The data of a run with newer data: from a step on, or without new steps. The earlier steps are not sent again.
function joined(old, run) {
  if (!old || run.from === 0) return run;
  const kept = (step) => run.from === null || step < run.from;
  const groups = old.groups.filter(([step]) => kept(step)), rows = groups.reduce((sum, [, , size]) => sum + size, 0);
  const numbers = new Map(old.prompts.map((text, n) => [text, n])), prompts = [...old.prompts], columns = [...old.columns];
  for (const [step, prompt, size] of run.groups) {
    const text = run.prompts[prompt];
    if (!numbers.has(text)) { numbers.set(text, prompts.length); prompts.push(text); columns.push(run.columns[prompt]); }
    groups.push([step, numbers.get(text), size]);
  }
  const both = (before, after) => [...(before || []).slice(0, rows), ...(after || [])], error = {};
  for (const [i, text] of Object.entries(old.error)) if (i < rows) error[i] = text;
  for (const [i, text] of Object.entries(run.error)) error[rows + Number(i)] = text;
  const whole = { ...run, groups, prompts, columns, error, answers: run.answers || old.answers, steps: [...old.steps.filter((each) => kept(each.step)), ...run.steps] };
  for (const name of ["text", "signs", "reward", "advantage", "tokens", "truncated", "discarded", "read"]) whole[name] = both(old[name], run[name]);
  for (const name of ["scores", "right", "why"]) whole[name] = run.rewards.map((_, n) => both(old[name][n], run[name][n]));
  return whole;
}
// The data with the indices that the views need.
function prepared(data) {
  const run = { ...data };
  let start = 0;
  run.of = new Int32Array(run.text.length);
  run.byPrompt = new Map();
  run.groups = run.groups.map(([step, prompt, size], number) => {
    const group = { number, step, prompt, rows: [] };
    for (let i = start; i < start + size; i++) { group.rows.push(i); run.of[i] = number; }
    start += size;
    group.reward = mean(group.rows.map((i) => run.reward[i]));
    group.dead = group.rows.every((i) => !run.advantage[i]);
    if (!run.byPrompt.has(prompt)) run.byPrompt.set(prompt, []);
    run.byPrompt.get(prompt).push(group);
    return group;
  });
  run.rights = run.right;  // by reward: true, false, or null if it is not known
  run.right = (i) => run.rights.length ? run.rights[0][i] : null;
  run.odd = run.signs.map((signs, i) => signs.length && signs.reduce((sum, sign) => sum + run.weights[sign], 0) + Math.min(1, Math.abs(run.advantage[i] || 0) / 3));
  run.shared = shared(run.prompts.slice(0, 100).map(question));
  run.counts = {};
  for (const signs of run.signs) for (const sign of signs) run.counts[sign] = (run.counts[sign] || 0) + 1;
  run.filters = {};  // columns of the dataset with few values
  for (const name of new Set(run.columns.flatMap((each) => Object.keys(each)))) {
    const values = [...new Set(run.columns.map((each) => each[name]))].filter((each) => each && each.length < 60);
    if (values.length > 1 && values.length <= 20) run.filters[name] = values.sort();
  }
  return run;
}

// ---- texts ----
// Return the messages of a logged chat, or null. A model may write a text that only looks like one.
function chat(text) {
  if (!text.startsWith('[{"role": ')) return null;
  const objects = (list) => Array.isArray(list) && list.every((each) => each && typeof each === "object");
  try {
    const messages = JSON.parse(text);
    return objects(messages) && messages.every((each) => typeof each.role === "string" && objects(each.tool_calls || []) && objects([each.content].flat().filter((part) => typeof part !== "string" && part !== null && part !== undefined))) ? messages : null;
  } catch { return null; }
}
function words(content) {
  if (typeof content === "string") return content;
  return Array.isArray(content) ? content.map((part) => part.text || `[${part.type}]`).join("") : content ? JSON.stringify(content) : "";
}
// With tools, TRL moves the thinking out of the content of a message.
function said(message) {
  const thinking = message.reasoning_content || message.thinking || message.reasoning;
  return typeof thinking === "string" && thinking ? `<think>\n${thinking}\n</think>\n${words(message.content)}` : words(message.content);
}
// read: the part that the first reward function scored. hit: a regular expression that was searched for.
function marked(text, read, hit) {
  const box = el("div", { className: "text", dir: "auto" }), shown = text.slice(0, LONG), spots = [];
  const at = read ? shown.lastIndexOf(read) : -1;
  if (at >= 0) spots.push([at, at + read.length, ""]);
  if (hit) for (const found of shown.matchAll(hit)) {
    const end = found.index + found[0].length;
    if (found[0] && spots.length < 100 && (at < 0 || end <= at || found.index >= at + read.length)) spots.push([found.index, end, "hit"]);
  }
  let done = 0;
  for (const [start, end, kind] of spots.sort((a, b) => a[0] - b[0])) {
    box.append(shown.slice(done, start), el("mark", { className: kind, title: kind ? "" : "the part that was scored" }, shown.slice(start, end)));
    done = end;
  }
  box.append(shown.slice(done));
  if (text.length > LONG) box.append(el("button", { onclick: (event) => event.target.replaceWith(text.slice(LONG)) }, `show ${(text.length - LONG).toLocaleString()} more characters`));
  return box;
}
function textBlock(text, read, hit) {
  const messages = chat(text);
  if (!messages) return marked(text, read, hit);
  const last = messages.findLastIndex((each) => each.role === "assistant");
  return el("div", {}, messages.map((each, i) => {
    const calls = (each.tool_calls || []).map((call) => `${(call.function || call).name}(${words((call.function || call).arguments)})`);
    const label = each.role === "tool" ? `tool ${each.name || ""}: masked, the model is not trained on it` : each.role;
    return el("div", { className: `say ${each.role === "tool" ? "tool" : each.role === "user" ? "user" : ""}` }, el("small", {}, label),
      marked(said(each), i === last ? read : "", hit), calls.length ? el("div", { className: "say tool call" }, el("small", {}, "calls a tool"), marked(calls.join("\n"), "", hit)) : null);
  }));
}
function question(text) {
  const messages = chat(text);
  return (messages ? words((messages.findLast((each) => each.role === "user") || messages.at(-1)).content) : text).trim();
}
// The start that all prompts share is left out of lists.
const excerpt = (run, text) => withoutStart(run, question(text)).trim().slice(0, 220);
const withoutStart = (run, own) => own.startsWith(run.shared) && own.length > run.shared.length ? own.slice(run.shared.length) : own;
function shared(texts) {
  let size = texts.length > 1 ? texts[0].length : 0;
  for (const text of texts) for (let i = 0; i < size; i++) if (text[i] !== texts[0][i]) size = i;
  return texts.length > 1 ? texts[0].slice(0, size).replace(/\S*$/, "") : "";
}
const cut = (text) => el("div", { className: "cut", dir: "auto" }, text);

// ---- charts ----
// series: [{ label, points: [[step, value]] }]. go: called with the step that was clicked.
function chart(title, series, { go } = {}) {
  const [wide, high, left] = [300, 110, 30], ns = "http://www.w3.org/2000/svg";
  const make = (name, attributes, text) => { const node = document.createElementNS(ns, name); for (const key in attributes) node.setAttribute(key, attributes[key]); if (text !== undefined) node.textContent = text; return node; };
  const all = series.flatMap((each) => each.points).filter((point) => point[1] !== null);
  const svg = make("svg", { viewBox: `0 0 ${wide} ${high + 14}`, class: go ? "go" : "", role: "img", "aria-label": title });
  const xs = all.map((point) => point[0]), ys = all.map((point) => point[1]);
  const fold = (values, pick, start) => values.reduce((a, b) => pick(a, b), start);
  const x0 = fold(xs, Math.min, Infinity), x1 = fold(xs, Math.max, -Infinity);
  let y0 = fold(ys, Math.min, 0), y1 = fold(ys, Math.max, -Infinity);
  if (y0 === y1) y1 = y0 + (Math.abs(y0) || 1);
  const x = (value) => left + (wide - left) * (x1 > x0 ? (value - x0) / (x1 - x0) : 0.5), y = (value) => 3 + (high - 6) * (1 - (value - y0) / (y1 - y0));
  if (all.length) {
    for (const value of [y0, (y0 + y1) / 2, y1]) svg.append(make("line", { x1: left, x2: wide, y1: y(value), y2: y(value) }), make("text", { x: left - 4, y: y(value) + 3, "text-anchor": "end" }, Number(value.toPrecision(2))));
    svg.append(make("text", { x: left, y: high + 12 }, x0), make("text", { x: wide, y: high + 12, "text-anchor": "end" }, `step ${x1}`));
  }
  series.forEach((each, i) => {
    const points = each.points.filter((point) => point[1] !== null);
    const path = points.map((point, n) => `${n ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`).join("") + (points.length === 1 ? "h3" : "");
    svg.append(make("path", { d: path, class: `c${i % 7}` }));
  });
  const values = series.map((each, i) => el("span", { className: `c${i % 7}` }));
  const show = (step) => series.forEach((each, i) => {
    const point = each.points.findLast((one) => one[0] <= step && one[1] !== null);
    values[i].textContent = `${each.label ? each.label + " " : ""}${point ? Number(point[1].toPrecision(3)) : "–"}`;
  });
  const at = make("path", { class: "at" }), caption = el("span");
  svg.append(at);
  const stepAt = (event) => { const box = svg.getBoundingClientRect(), share = ((event.clientX - box.left) / box.width * wide - left) / (wide - left); return Math.round(x0 + Math.min(1, Math.max(0, share)) * (x1 - x0)); };
  svg.addEventListener("mousemove", (event) => { const step = stepAt(event); show(step); caption.textContent = `step ${step}`; at.setAttribute("d", `M${x(step)} 0V${high}`); });
  svg.addEventListener("mouseleave", () => { show(x1); caption.textContent = ""; at.setAttribute("d", ""); });
  if (go) svg.addEventListener("click", (event) => go(stepAt(event)));
  show(x1);
  return el("figure", {}, el("figcaption", { className: series.length > 1 ? "many" : "" }, el("b", {}, title), caption, values), svg);
}

// ---- parts ----
function mark(right) {
  return right === null || right === undefined ? "" : el("span", { className: right ? "good" : "bad", title: right ? "right: the first reward function gives its declared maximum" : "not right" }, right ? "✓" : "✗");
}
function scores(run, i) {
  const read = run.read[i] ? `, read: ${run.read[i].slice(0, 60)}` : "";
  return run.rewards.map((name, n) => ({ name, score: run.scores[n][i], why: run.why[n][i] + (n === 0 ? read : "") }));
}
function scoreTable(rows) {
  return el("table", {}, rows.map((row) => el("tr", {}, el("td", { className: "words" }, row.name), el("td", { className: "n" }, number(row.score, 3)), el("td", { className: "soft words" }, row.why || ""))));
}
function card(run, i, { here, hit, times } = {}) {
  const advantage = run.advantage[i], tokens = run.tokens[i];
  return el("article", { className: `card${here ? " here" : ""}` },
    el("div", { className: "top" }, mark(run.right(i)), el("b", { title: "reward" }, number(run.reward[i])), times > 1 ? el("span", { className: "chip", title: "equal completions" }, `× ${times}`) : "",
      el("span", { className: tone(advantage), title: "advantage" }, `advantage ${signed(advantage)}`),
      el("span", { className: "soft right" }, tokens === null ? `${run.text[i].length} characters` : `${tokens} tokens`),
      run.truncated[i] ? el("span", { className: "chip warn" }, "truncated") : "", run.discarded[i] ? el("span", { className: "chip", title: "no step trains on it" }, "discarded") : "",
      run.signs[i].map((sign) => el("span", { className: "chip warn" }, sign))),
    scoreTable(scores(run, i)), textBlock(run.text[i], run.read[i], hit), run.error[i] ? el("pre", { className: "error" }, run.error[i]) : "");
}
function promptBlock(run, prompt, open) {
  const text = run.prompts[prompt], others = run.byPrompt.get(prompt).length;
  return el("section", { className: "card prompt" }, el("div", { className: "top" }, el("b", {}, "Prompt"),
    others > 1 && !open ? el("button", { className: "right", onclick: () => visit({ view: "prompts", item: prompt }) }, `over time: ${others} steps`) : ""),
    whole(run, text), columnTable(run.columns[prompt], text));
}
// A prompt without the start that all prompts share. A button shows all of it.
function whole(run, text) {
  const own = question(text), part = withoutStart(run, own);
  if (part === own) return textBlock(text);
  return el("div", {}, marked(part), el("button", { onclick: (event) => event.target.parentNode.replaceChildren(textBlock(text)) }, "whole prompt"));
}
// The dataset's columns, without the ones that the prompt repeats.
function columnTable(columns, text) {
  const asked = question(text), facts = Object.entries(columns).filter(([, value]) => value && !(value.length > 20 && asked.includes(value)));
  return el("table", {}, facts.map(([name, value]) => el("tr", {}, el("td", { className: "soft" }, name), el("td", { className: "words", dir: "auto" }, value.slice(0, 2000)))));
}
function groupDetail(run, group, here, hit) {
  const rows = [...group.rows].sort((a, b) => (b === here) - (a === here) || run.reward[b] - run.reward[a]);
  const equal = Map.groupBy(rows, (i) => `${run.reward[i]} ${run.text[i]}`);
  return el("div", {}, promptBlock(run, group.prompt), el("h3", {}, `Step ${group.step}: ${rows.length} completions, mean reward ${number(group.reward)}${group.dead ? ", dead: all advantages are 0" : ""}`),
    el("div", { className: "cards" }, [...equal.values()].map((same) => card(run, same[0], { here: same[0] === here, hit, times: same.length }))));
}
const dots = (run, rows) => el("span", { className: "dots right" }, rows.slice(0, 64).map((i) => el("i", { className: run.right(i) === null ? "" : run.right(i) ? "good" : "bad" })));
function rolloutItem(run, i, text) {
  return [el("div", { className: "top" }, mark(run.right(i)), el("b", {}, number(run.reward[i])), el("span", { className: tone(run.advantage[i]) }, signed(run.advantage[i])),
    el("span", { className: "soft right" }, `step ${run.groups[run.of[i]].step}`)), text];
}
function choice(label, options, key, change) {
  return el("label", {}, label, el("select", { name: key, onchange: (event) => change ? change(event.target.value) : visit({ [key]: event.target.value, item: null }) },
    options.map(([value, text]) => el("option", { value, selected: String(state[key] ?? "") === String(value) }, text))));
}
// A list and the chosen item beside it. Only the first items are drawn, then more on demand.
function browse(items, draw, detail, empty = "Nothing here.") {
  const list = el("div", { className: "list", role: "listbox", tabIndex: 0 }), side = el("div", { className: "side" });
  const wanted = items.findIndex((each) => String(each.id) === String(state.item));
  let at = Math.max(0, wanted), drawn = 0;
  const more = () => {
    const upto = Math.min(items.length, drawn + LIMIT);
    list.querySelector(".more")?.remove();
    for (; drawn < upto; drawn++) { const n = drawn; list.append(el("div", { className: "item", role: "option", onclick: () => pick(n, true) }, draw(items[n]))); }
    if (drawn < items.length) list.append(el("button", { className: "more", onclick: more }, `${items.length - drawn} more`));
  };
  const pick = (n, scroll) => {
    if (!items.length) return side.replaceChildren(el("p", { className: "soft" }, empty));
    at = Math.min(items.length - 1, Math.max(0, n));
    while (at >= drawn) more();
    list.querySelector("[aria-selected=true]")?.removeAttribute("aria-selected");
    list.children[at].setAttribute("aria-selected", "true");
    const box = list.children[at];
    if (box.offsetTop < list.scrollTop || box.offsetTop + box.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = box.offsetTop - list.clientHeight / 3;
    side.replaceChildren(detail(items[at]));
    if (scroll) { state.item = items[at].id; history.replaceState(null, "", address(state)); if (innerWidth <= 760) side.scrollIntoView(); else scrollTo(0, 0); }
  };
  more();
  moves = (by) => pick(at + by, true);
  list.hidden = !items.length;
  setTimeout(() => pick(at, false));
  return el("div", { className: "both" }, list, side);
}

// ---- views ----
const VIEWS = { run: ["Run", viewRun], groups: ["Groups", viewGroups], odd: ["Suspicious", viewOdd], find: ["Find", viewFind], prompts: ["Prompts", viewPrompts], answers: ["Answers", viewAnswers], compare: ["Compare", viewCompare] };

function viewRun() {
  const run = RUNS[state.run], go = (step) => visit({ view: "groups", step: nearest(run, step), item: null });
  const lines = (pick) => RUNS.map((each, i) => ({ label: RUNS.length > 1 ? each.name : "", points: each.steps.map((step) => [step.step, pick(step, each, i)]) }));
  const own = (pick) => [{ label: "", points: run.steps.map((step) => [step.step, pick(step)]) }];
  const charts = [chart("Reward", lines((step) => step.reward), { go }), chart(`Right (${run.rewards[0] || ""})`, lines((step) => step.right), { go }),
    chart("Dead prompt groups", lines((step) => step.dead), { go }), chart("Truncated", lines((step) => step.truncated), { go }), chart("Mean length", lines((step) => step.tokens), { go })];
  run.rewards.forEach((name) => charts.push(chart(name, lines((step, each) => { const n = each.rewards.indexOf(name); return n < 0 ? null : step.scores[n]; }), { go })));
  const reasons = run.rewards.map((name, n) => {
    const sums = {};
    for (const step of run.steps) for (const why in step.reasons[n]) sums[why] = (sums[why] || 0) + step.reasons[n][why];
    const often = Object.keys(sums).sort((a, b) => sums[b] - sums[a]).slice(0, 6);
    return often.length ? chart(name, often.map((why) => ({ label: why, points: run.steps.map((step) => [step.step, step.reasons[n][why] || 0]) })), { go }) : null;
  }).filter(Boolean);
  const part = (title, nodes) => nodes.length ? [el("h2", {}, title), el("div", { className: "charts" }, nodes)] : [];
  return el("div", {}, facts(run), run.steps.length ? part("Rollouts over steps (click a step to read it)", charts) : "", part("Reasons", reasons));
}
const facts = (run) => el("dl", { className: "facts" }, Object.entries(run.facts).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
function nearest(run, step) {
  return run.steps.reduce((best, each) => Math.abs(each.step - step) < Math.abs(best - step) ? each.step : best, run.steps[0].step);
}
function viewGroups() {
  const run = RUNS[state.run], numbers = run.steps.map((each) => each.step), step = nearest(run, Number(state.step ?? numbers[0])), at = numbers.indexOf(step), facts = run.steps[at];
  const to = (n) => visit({ step: numbers[Math.min(numbers.length - 1, Math.max(0, n))], item: null });
  moves = null;
  const body = browse(run.groups.filter((each) => each.step === step).map((group) => ({ id: group.number, group })),
    ({ group }) => [el("div", { className: "top" }, el("b", {}, number(group.reward)), group.dead ? el("span", { className: "chip" }, "dead") : "", dots(run, group.rows)), cut(excerpt(run, run.prompts[group.prompt]))],
    ({ group }) => groupDetail(run, group));
  turn = (by) => to(at + by);
  return el("div", {}, el("div", { className: "controls" }, el("button", { onclick: () => to(at - 1) }, "‹"), el("b", {}, `Step ${step}`), el("button", { onclick: () => to(at + 1) }, "›"),
    el("input", { type: "range", min: 0, max: numbers.length - 1, value: at, "aria-label": "step", onchange: (event) => to(Number(event.target.value)) }),
    el("span", { className: "soft" }, `reward ${number(facts.reward)}, right ${percent(facts.right)}, dead groups ${percent(facts.dead)}, truncated ${percent(facts.truncated)}; ${facts.groups} groups in the log`)), body);
}
function rolloutBrowser(run, rows, hit, text) {
  return browse(rows.map((i) => ({ id: i })), ({ id }) => rolloutItem(run, id, text(id)), ({ id }) => groupDetail(run, run.groups[run.of[id]], id, hit), "No rollout matches.");
}
function viewOdd() {
  const run = RUNS[state.run], sign = state.sign || "", kinds = Object.entries(run.counts).sort((a, b) => run.weights[b[0]] * Math.log1p(b[1]) - run.weights[a[0]] * Math.log1p(a[1]));
  const rows = [...run.text.keys()].filter((i) => sign ? run.signs[i].includes(sign) : run.odd[i]).sort((a, b) => run.odd[b] - run.odd[a] || b - a);
  const seen = new Set(), once = rows.filter((i) => { const key = `${run.of[i]} ${run.text[i]}`; return !seen.has(key) && seen.add(key); });
  const table = (head, lines) => el("div", { className: "scroll" }, el("table", {}, el("tr", {}, head.map((each) => el("th", {}, each))), lines));
  const signs = kinds.map(([name, count]) => el("tr", { className: "go", onclick: () => visit({ sign: name === sign ? null : name, item: null }) },
    el("td", {}, name === sign ? el("b", {}, name) : name), el("td", { className: "n" }, count)));
  return el("div", {}, signs.length ? el("section", {}, el("h3", {}, "Signs (click one)"), table(["sign", "rollouts"], signs)) : "", el("h3", {}, `${rows.length.toLocaleString()} rollouts, most suspicious first, equal ones once`),
    rolloutBrowser(run, once, null, (i) => [cut(question(run.text[i]).slice(0, 160)), el("div", { className: "top" }, run.signs[i].map((each) => el("span", { className: "chip warn" }, each)))]));
}
// A text between slashes is a regular expression, any other text is searched for as it is.
function pattern(text) {
  if (!text) return null;
  try { return new RegExp(text.length > 2 && text.startsWith("/") && text.endsWith("/") ? text.slice(1, -1) : text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi"); } catch { return null; }
}
function viewFind() {
  const run = RUNS[state.run], n = Number(state.reward ?? 0), hit = pattern(state.text);
  const low = parseFloat(state.low), high = parseFloat(state.high);
  const rows = [...run.text.keys()].filter((i) => {
    const score = run.scores.length ? run.scores[n][i] : null, columns = run.columns[run.groups[run.of[i]].prompt];
    if (state.why && run.why[n][i] !== state.why || low > score || high < score) return false;
    if (state.right && String(run.right(i)) !== state.right || state.cut && String(Boolean(run.truncated[i])) !== state.cut) return false;
    if (state.advantage && Math.sign(run.advantage[i] || 0) !== { "+": 1, "-": -1, 0: 0 }[state.advantage]) return false;
    if (state.group && String(run.groups[run.of[i]].dead) !== state.group) return false;
    for (const name in run.filters) if (state[`column ${name}`] && columns[name] !== state[`column ${name}`]) return false;
    return !hit || run.text[i].search(hit) >= 0 || run.prompts[run.groups[run.of[i]].prompt].search(hit) >= 0;
  });
  const used = run.why.length ? [...new Set(run.why[n])].filter(Boolean).sort() : [];
  const field = (label, key) => el("label", {}, label, el("input", { type: "number", step: "any", name: key, value: state[key] ?? "", onchange: (event) => visit({ [key]: event.target.value, item: null }) }));
  const controls = el("div", { className: "controls" }, el("input", { type: "search", name: "text", placeholder: "text, or /regular expression/", value: state.text || "", onchange: (event) => visit({ text: event.target.value, item: null }) }),
    run.rewards.length ? choice("reward", run.rewards.map((name, i) => [i, name]), "reward", (value) => visit({ reward: value, why: null, item: null })) : "", field("from", "low"), field("to", "high"),
    used.length ? choice("reason", [["", "any"], ...used.map((each) => [each, each])], "why") : "", choice("right", [["", "any"], ["true", "right"], ["false", "wrong"]], "right"),
    choice("advantage", [["", "any"], ["+", "above 0"], ["-", "below 0"], ["0", "0"]], "advantage"), choice("truncated", [["", "any"], ["true", "yes"], ["false", "no"]], "cut"), choice("group", [["", "any"], ["true", "dead"], ["false", "mixed"]], "group"),
    Object.entries(run.filters).map(([name, values]) => choice(name, [["", "any"], ...values.map((each) => [each, each])], `column ${name}`)), el("span", { className: "soft count" }, `${rows.length.toLocaleString()} of ${run.text.length.toLocaleString()}`));
  return el("div", {}, controls, rolloutBrowser(run, rows, hit, (i) => { const text = question(run.text[i]), at = hit ? Math.max(0, text.search(hit) - 40) : 0; return cut(text.slice(at, at + 160)); }));
}
function viewPrompts() {
  const run = RUNS[state.run], items = [...run.byPrompt].filter(([prompt, groups]) => groups.length > 1 || String(prompt) === state.item).map(([prompt, groups]) => ({ id: prompt, groups, change: groups.at(-1).reward - groups[0].reward }));
  items.sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
  const share = (group) => mean(group.rows.map((i) => run.right(i) === null ? null : Number(run.right(i))));
  return browse(items, ({ id, groups, change }) => [el("div", { className: "top" }, el("b", { className: tone(change) }, signed(change)), el("span", { className: "soft" }, `${groups.length} steps`)), cut(excerpt(run, run.prompts[id]))],
    ({ id, groups }) => el("div", {}, promptBlock(run, id, true), el("h3", {}, "This prompt over time"),
      el("div", { className: "charts" }, chart("Mean reward", [{ label: "", points: groups.map((each) => [each.step, each.reward]) }]), chart("Right", [{ label: "", points: groups.map((each) => [each.step, share(each)]) }])),
      groups.map((group, n) => el("details", { open: !n || n === groups.length - 1 }, el("summary", {}, `Step ${group.step}: mean reward ${number(group.reward)}`), el("div", { className: "cards" }, group.rows.map((i) => card(run, i)))))), "No prompt was used in two steps.");
}
// sides: [{ label, score, cards: [nodes] }] of the same row. flip: "gained", "lost" or "".
function pairs(rows, empty) {
  const rank = { gained: 0, lost: 0, "": 1 };
  rows.sort((a, b) => rank[a.flip] - rank[b.flip] || Math.abs(b.change || 0) - Math.abs(a.change || 0));
  const count = (kind) => rows.filter((each) => each.flip === kind).length;
  return [el("p", { className: "soft flips" }, `✗ → ✓ ${count("gained").toLocaleString()}, ✓ → ✗ ${count("lost").toLocaleString()}, of ${rows.length.toLocaleString()}. Flips are first.`),
    browse(rows, (row) => [el("div", { className: "top" }, el("b", { className: tone(row.change) }, row.flip === "gained" ? "✗ → ✓" : row.flip === "lost" ? "✓ → ✗" : signed(row.change)), el("span", { className: "soft right" }, row.label)), cut(row.cut)], (row) => row.detail(), empty)];
}
function flip(before, after) { return before === after || before === null || after === null ? "" : after ? "gained" : "lost"; }
function answerCard(table, answer, label) {
  const rows = table.rewards.map((name, n) => ({ name, score: answer.scores[n], why: answer.why[n] }));
  return el("article", { className: "card" }, el("div", { className: "top" }, mark(answer.right === null ? null : Boolean(answer.right)), el("b", {}, label)), scoreTable(rows), textBlock(answer.text));
}
function answerPairs(before, after, rows) {  // [table, name, answer of a row, answer of a row]
  return pairs(rows.map(([row, old, now]) => {
    const sum = (answer, table) => answer.scores[0];
    return { id: `${row.row} ${row.sample}`, flip: flip(old.right, now.right), change: sum(now, after.table) - sum(old, before.table), label: `row ${row.row}${row.sample ? `, sample ${row.sample}` : ""}`, cut: excerpt(RUNS[state.run], row.prompt),
      detail: () => el("div", {}, el("section", { className: "card prompt" }, el("b", {}, "Prompt"), whole(RUNS[state.run], row.prompt), columnTable(row.columns, row.prompt)),
        el("h3", {}, "Answers"), el("div", { className: "cards" }, answerCard(before.table, old, before.label), answerCard(after.table, now, after.label))) };
  }), "No row was answered twice.");
}
function viewAnswers() {
  const run = RUNS[state.run];
  if (!run.answers.length) return el("p", { className: "soft" }, "This run has no held-out answers (grpo_held_out_rows) and no evaluation (axolotl-grpo eval).");
  const table = run.answers[Number(state.table || 0)] || run.answers[0], last = table.moments.length - 1, from = Number(state.from ?? 0), to = Number(state.to ?? last);
  const moments = table.moments.map((each, n) => [n, each]);
  state.from ??= 0; state.to ??= last;
  return el("div", {}, table.note ? el("p", { className: "soft" }, table.note) : "", el("div", { className: "controls" }, choice("answers", run.answers.map((each, n) => [n, each.title]), "table", (value) => visit({ table: value, from: null, to: null, item: null })), choice("from", moments, "from"), choice("to", moments, "to")),
    answerPairs({ table, label: table.moments[from] }, { table, label: table.moments[to] }, table.rows.filter((row) => row.at[from] && row.at[to]).map((row) => [row, row.at[from], row.at[to]])));
}
function viewCompare() {
  const [a, b] = RUNS, options = [];
  if (b) {
    for (const table of a.answers) { const other = b.answers.find((each) => each.title === table.title); if (other) options.push([`${table.title}: ${a.name} → ${b.name}`, () => compareAnswers(table, other)]); }
    options.push([`training prompts: ${a.name} → ${b.name}`, comparePrompts]);
  }
  const run = RUNS[state.run];
  if (run.rewards.length > 1) options.push(["two rewards", () => compareRewards(run)]);
  if (!options.length) return el("p", { className: "soft" }, "Name a second run to compare.");
  const [, draw] = options[Number(state.what || 0)] || options[0];
  return el("div", {}, el("div", { className: "controls" }, choice("compare", options.map(([name], n) => [n, name]), "what")), draw());
}
function compareAnswers(table, other) {
  const [a, b] = RUNS, key = (row) => `${row.sample} ${row.prompt}`, rows = new Map(other.rows.map((row) => [key(row), row]));
  const both = table.rows.map((row) => [row, row.at.at(-1), rows.get(key(row))?.at.at(-1)]).filter((each) => each[1] && each[2]);
  return answerPairs({ table, label: `${a.name}, ${table.moments.at(-1)}` }, { table: other, label: `${b.name}, ${other.moments.at(-1)}` }, both);
}
function comparePrompts() {
  const [a, b] = RUNS, numbers = new Map(b.prompts.map((text, n) => [text, n])), rows = [];
  // The share of right answers. If a run has no declared maximum, the mean rewards are compared.
  const known = RUNS.every((run) => run.text.some((_, i) => run.right(i) !== null));
  const share = (run, group) => mean(group.rows.map((i) => known ? run.right(i) === null ? null : Number(run.right(i)) : run.reward[i]));
  const shown = (value) => known ? `right ${percent(value)}` : `mean reward ${number(value)}`;
  a.prompts.forEach((text, n) => {
    if (!numbers.has(text) || !a.byPrompt.has(n) || !b.byPrompt.has(numbers.get(text))) return;
    const sides = [[a, a.byPrompt.get(n).at(-1)], [b, b.byPrompt.get(numbers.get(text)).at(-1)]], [old, now] = sides.map((each) => share(...each));
    rows.push({ id: n, flip: known && old !== null && now !== null ? flip(old >= 0.5, now >= 0.5) : "", change: now - old, label: `${shown(old)} → ${shown(now)}`, cut: excerpt(a, text),
      detail: () => el("div", {}, promptBlock(a, n), el("div", { className: "sides" }, sides.map(([run, group]) => el("section", {}, el("h3", {}, `${run.name}, step ${group.step}: ${shown(share(run, group))}`), group.rows.map((i) => card(run, i)))))) });
  });
  return el("div", {}, pairs(rows, "The runs have no prompt in common."));
}
function compareRewards(run) {
  const names = run.rewards, one = Number(state.one ?? 0), two = Number(state.two ?? (one ? 0 : 1));
  const unknown = [one, two].filter((n) => run.rights[n].every((right) => right === null)).map((n) => names[n]);
  state.one = one; state.two = two;
  const options = names.map((name, n) => [n, name]), rows = [];
  run.text.forEach((text, i) => { const change = run.scores[two][i] - run.scores[one][i], turned = flip(run.rights[one][i], run.rights[two][i]); if (turned || change) rows.push({ id: i, flip: turned, change, label: `step ${run.groups[run.of[i]].step}`, cut: question(text).slice(0, 160), detail: () => groupDetail(run, run.groups[run.of[i]], i) }); });
  return el("div", {}, el("div", { className: "controls" }, choice("from", options, "one"), choice("to", options, "two")), unknown.length ? el("p", { className: "soft" }, `No flips, because the declared maximum of ${unknown.join(" and ")} is not known.`) : "", pairs(rows, "No score differs."));
}

// ---- frame ----
let turn = null;
const address = (wanted) => "#" + new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== null && value !== undefined && value !== "")).toString();
function visit(change) {
  const fresh = change.view && change.view !== state.view ? { run: state.run, view: change.view } : { ...state };
  location.hash = address({ ...fresh, ...change });
}
function draw() {
  const before = state.view;
  state = { view: "run", run: 0, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) };
  if (!RUNS[state.run]) state.run = 0;
  const run = RUNS[state.run], possible = Object.keys(VIEWS).filter((name) => run.text.length || name === "answers" || name === "run" || name === "compare");
  if (!possible.includes(state.view)) state.view = "run";
  turn = moves = null;
  $("h1").textContent = document.title = RUNS.map((each) => each.name).join(" · ");
  $("nav").replaceChildren(...possible.map((name, n) => { const button = el("button", { onclick: () => visit({ view: name }), title: `key ${n + 1}` }, VIEWS[name][0]); if (name === state.view) button.setAttribute("aria-current", "page"); return button; }));
  $(".run").hidden = RUNS.length < 2;
  $(".run select").replaceChildren(...RUNS.map((each, n) => el("option", { value: n, selected: n === Number(state.run) }, each.name)));
  const parts = RUNS.filter((each) => each.text.length < each.total).map((each) => `${each.name}: this page has ${each.text.length.toLocaleString()} of ${each.total.toLocaleString()} rollouts. Of each step it keeps the most suspicious prompt groups. The curves count all rollouts.`);
  for (const each of RUNS) for (const note of each.notes) parts.push(RUNS.length > 1 ? `${each.name}: ${note}` : note);
  $(".note").hidden = !parts.length;
  $(".note").textContent = parts.join(" ");
  $("main").replaceChildren(VIEWS[state.view][1]());
  if (before !== state.view) scrollTo(0, 0);
}
function keys(event) {
  if (event.target.matches("input, select, textarea") && event.key !== "Escape" || event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  const by = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key], over = { l: 1, ArrowRight: 1, h: -1, ArrowLeft: -1 }[event.key], tab = $("nav").children[Number(event.key) - 1];
  if (by && moves) moves(by);
  else if (over && turn) turn(over);
  else if (event.key === "/") { if (state.view !== "find") visit({ view: "find" }); setTimeout(() => $("input[type=search]")?.focus(), 50); }
  else if (event.key === "?") $("dialog").showModal();
  else if (event.key === "Escape") document.activeElement.blur();
  else if (tab) tab.click();
  else return;
  event.preventDefault();
}
function take(runs) {
  DATA = runs.map((run, n) => joined(DATA[n], run));
  RUNS = DATA.map(prepared);
  const top = scrollY;
  draw();
  scrollTo(0, top);
}
async function follow() {
  try {
    const answer = await fetch(`data?seen=${version}`);
    if (answer.status === 200) { version = Number(answer.headers.get("X-Version")); take((await unpack(await answer.arrayBuffer())).runs); }
  } catch (error) { $(".note").hidden = false; $(".note").textContent = `The server does not answer: ${error.message}`; }
  setTimeout(follow, 5000);
}
async function start() {
  for (const [key, text] of [["j k ↓ ↑", "next or previous item"], ["h l ← →", "next or previous step"], ["/", "search"], ["1 to 7", "views"], ["Esc", "leave a field"], ["?", "this help"]]) $("dialog dl").append(el("dt", {}, key), el("dd", {}, text));
  $(".help").addEventListener("click", () => $("dialog").showModal());
  $(".run select").addEventListener("change", (event) => visit({ run: event.target.value, item: null }));
  addEventListener("hashchange", draw);
  addEventListener("keydown", keys);
  const packed = $("#data").textContent;
  if (!packed) return follow();
  take((await unpack(fromBase64(packed))).runs);
  $("#data").remove();
  document.body.dataset.ready = Math.round(performance.now());
}
start().catch((error) => { $("main").textContent = `This page cannot be shown: ${error.message}. Use a newer browser.`; });
