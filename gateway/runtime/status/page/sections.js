// One function per section: from the daemon's JSON to what stands on the page.

import { badge, byId, bytes, el, keyed, linkBadge, number, put, short, spark, span, table, when, whole } from "./dom.js";

const STATES = { ok: "all well", degraded: "needs attention", starting: "starting" };

export function head(health) {
  put(byId("name"), health.gateway);
  document.title = `${health.status === "ok" ? "" : "● "}${health.gateway}`;
  put(byId("about"), `v${health.version} · up ${span(health.uptime_seconds)}`);
  state(health.status, STATES[health.status]);
  put(byId("count-devices"), ratio(health.devices));
  put(byId("count-upstreams"), ratio(health.upstreams));
  put(byId("count-tags"), whole(health.tags));
  put(byId("count-losses"), health.readings.lost ? short(health.readings.lost) : "");
  put(byId("clock"), `${when(health.time)}${health.clock.synchronised ? "" : " (clock not synchronised)"}`);
}

// Since when nothing was heard; 0: the figures are fresh.
export function stale(since) {
  const note = byId("stale");
  document.body.classList.toggle("old", since > 0);
  note.hidden = !since;
  put(note, since ? `No connection to the gateway: these figures are those of ${when(since)}. Trying again …` : "");
}

export function state(kind, text) {
  const pill = byId("state");
  pill.dataset.state = kind;
  put(pill, text);
}

const ratio = (links) => `${Object.values(links).filter((link) => link.up).length}/${Object.keys(links).length}`;
const allUp = (links) => Object.values(links).every((link) => link.up);

export function overview(health, rates, history) {
  const reasons = byId("reasons");
  reasons.hidden = health.reasons.length === 0;
  if (!reasons.hidden) {
    const fresh = el("div", { class: "notice" }, el("h3", {}, "Needs attention"),
      el("ul", {}, ...health.reasons.slice(0, 12).map((reason) => el("li", {}, reason))),
      health.reasons.length > 12 ? el("p", {}, `and ${health.reasons.length - 12} more`) : null);
    if (!reasons.firstChild || !reasons.firstChild.isEqualNode(fresh)) reasons.replaceChildren(fresh);
  }
  flow(health, rates);
  figures(health, rates, history);
  chips("chips-devices", health.devices, "#devices");
  chips("chips-upstreams", health.upstreams, "#upstreams");
}

function flow(health, rates) {
  const waiting = health.backlog.readings;
  const stages = [
    ["Field", `${ratio(health.devices)} devices up`, `${short(rates.polled)} readings/s`, allUp(health.devices)],
    ["Pipeline", health.compression_ratio ? `keeps 1 of ${number(Number(health.compression_ratio.toPrecision(3)))}` : "nothing yet",
      `${short(rates.kept)} kept/s`, true],
    ["Spool", waiting ? `oldest ${span(health.backlog.age_seconds)}` : "empty", `${short(waiting)} waiting`, !health.spool.error],
    ["Upstream", `${ratio(health.upstreams)} brokers up`, `${short(rates.acknowledged)} delivered/s`, allUp(health.upstreams)],
  ];
  keyed(byId("flow"), stages, (stage) => stage[0], (stage) => el("li", {}, el("span", { class: "stage" }, stage[0]),
    el("strong"), el("span", { class: "detail" })), (node, [, detail, figure, well]) => {
    node.className = well ? "" : "bad";
    put(node.children[1], figure);
    put(node.children[2], detail);
  });
}

function disk(spool) {
  const free = spool.disk_free_bytes;
  return `${bytes(spool.disk_bytes)} on disk${free === null || free === undefined ? "" : `, ${bytes(free)} free`}`;
}

function figures(health, rates, history) {
  const cards = [
    ["Polled", `${short(rates.polled)}/s`, `${short(health.readings.polled)} since the start`, history.polled],
    ["Delivered", `${short(rates.acknowledged)}/s`, `${short(health.readings.acknowledged)} acknowledged`, history.acknowledged],
    ["Backlog", short(health.backlog.readings), health.backlog.readings ? `oldest ${span(health.backlog.age_seconds)}` : "nothing waits", history.backlog],
    ["Lost", short(health.readings.lost), health.readings.lost ? "since the start, see Losses" : "nothing since the start", null, health.readings.lost > 0],
    ["Spool", bytes(health.spool.memory_bytes + health.spool.disk_bytes),
      health.spool.error || disk(health.spool), null, Boolean(health.spool.error)],
    ["Memory", bytes(health.process.rss_bytes), "resident", history.memory],
    ["Processor", `${rates.cpu === null ? "–" : number(Number(rates.cpu.toPrecision(2)))} %`, "of one core", history.cpu],
    ["Event loop", span(health.process.event_loop_lag_seconds), "worst delay in a minute", null, health.process.event_loop_lag_seconds > 0.5],
  ];
  keyed(byId("figures"), cards, (card) => card[0], (card) => el("div", { class: "card" }, el("h3", {}, card[0]),
    el("p", { class: "figure" }), el("p", { class: "detail" }), el("div", { class: "trend" })),
  (node, [, figure, detail, samples, alarming]) => {
    node.classList.toggle("bad", Boolean(alarming));
    put(node.children[1], figure);
    put(node.children[2], detail);
    if (samples) node.children[3].replaceChildren(spark(samples, "the last two minutes"));
  });
}

const CHIPS = 24;

// What is down comes first; of many that are up only the first are named.
function chips(id, links, target) {
  const all = downFirst(Object.entries(links), ([, link]) => link.up);
  const down = all.filter(([, link]) => !link.up).length;
  const shown = all.length > CHIPS ? all.slice(0, Math.max(CHIPS, Math.min(down, 4 * CHIPS))) : all;
  const rest = all.length - shown.length;
  const rows = rest ? [...shown, ["", { more: `and ${whole(rest)} more` }]] : shown;
  keyed(byId(id), rows, ([name]) => name || " more", () => el("li", {}, el("a", { href: target })),
    (node, [name, link]) => {
      node.className = link.more ? "more" : link.up ? "good" : "bad";
      node.title = link.more ? "" : link.up ? "up" : `down: ${link.reason}`;
      put(node.firstChild, link.more || name);
      if (!link.more) node.firstChild.setAttribute("aria-label", `${name}: ${node.title}`);
    });
}

const downFirst = (rows, up) => [...rows.filter((row) => !up(row)), ...rows.filter(up)];

const age = (now, time) => (time === null || time === undefined ? "never" : span(Math.max(0, Math.floor((now - time) / 1000))));
const listed = (counts) => Object.entries(counts).map(([reason, count]) => `${reason} ${whole(count)}`).join(", ");
const total = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);

function linkState(row) {
  return el("span", {}, linkBadge(row), !row.up && row.detail ? el("span", { class: "detail" }, row.detail) : null);
}

export function devices(rows, now, search) {
  const wanted = rows.filter((row) => `${row.name} ${row.connection}`.toLowerCase().includes(search.toLowerCase()));
  table(byId("rows-devices"), downFirst(wanted, (row) => row.up), (row) => row.name, [
    ["Device", (row) => row.name],
    ["State", linkState, "state"],
    ["Connection", (row) => el("span", {}, `${row.connection} `, el("span", { class: "detail driver" }, row.driver))],
    ["Poll every", (row) => span(row.every_seconds), "num"],
    ["Answer", (row) => (row.latency_seconds ? span(row.latency_seconds) : "–"), "num"],
    ["Polls", (row) => short(row.polls), "num"],
    ["Errors", (row) => (total(row.errors) ? listed(row.errors) : "0"), "num errors"],
    ["Missed", (row) => short(row.missed), "num"],
    ["Last good", (row) => (row.last_good ? `${age(now, row.last_good)} ago` : "never"), "num"],
  ], rows.length ? "No device fits." : "No devices.");
}

function value(row) {
  const shown = row.value === null ? "–" : typeof row.value === "number" ? number(row.value) : String(row.value);
  const node = el("span", { class: "value" }, shown);
  if (row.unit && row.value !== null) node.append(el("span", { class: "unit" }, ` ${row.unit}`));
  return node;
}

export function tags(page, now) {
  table(byId("rows-tags"), page.tags, (row) => row.tag, [
    ["Tag", (row) => el("span", { title: `${row.type}${row.writable ? ", writable" : ""}` },
      el("span", { class: "owner" }, `${row.device}.`), row.name)],
    ["Value", value, "num"],
    ["Quality", (row) => badge(row.quality, row.reason ? `${row.quality}: ${row.reason}` : row.quality)],
    ["Age", (row) => age(now, row.time), "num"],
    ["Ten minutes", (row) => (row.trend ? spark(row.trend) : ""), "trend"],
    ["Address", (row) => row.address, "address"],
  ], "No tag fits.");
  const last = page.offset + page.tags.length;
  put(byId("tag-range"), page.total ? `${whole(page.offset + 1)}–${whole(last)} of ${whole(page.total)}` : "none");
  byId("tag-back").disabled = page.offset === 0;
  byId("tag-next").disabled = last >= page.total;
}

const UNHEARD = "No matching subscribers"; // MQTT's name for it: accepted, but by nobody

function backlog(row, growth) {
  if (!row.backlog_readings) return "nothing waits";
  const waits = `${short(row.backlog_readings)} readings, oldest ${span(row.backlog_age_seconds)}`;
  if (growth > 1) return `${waits}, growing`;
  return growth < -1 ? `${waits}, empty in about ${span(Math.ceil(row.backlog_readings / -growth))}` : waits;
}

export function upstreams(rows, now, paces) {
  keyed(byId("cards-upstreams"), rows, (row) => row.name, (row) => el("article", { class: "card", "aria-label": row.name }),
    (node, row) => {
      const { [UNHEARD]: unheard, ...refused } = row.refused;
      const facts = [
        ["Broker", row.broker], ["Format", row.format],
        ["Delivers", `${short(paces[row.name].delivered)} readings/s`],
        ["Acknowledged", `${short(row.readings)} readings in ${short(row.messages)} messages`],
        ["Last acknowledged", row.last_acknowledged ? `${age(now, row.last_acknowledged)} ago` : "never"],
        ["Until acknowledged", row.messages ? span(row.latency_seconds) : "–"],
        ["Backlog", backlog(row, paces[row.name].growth)],
        ["Refused", total(refused) ? listed(refused) : "none"],
        ...(unheard ? [["Unheard", `${whole(unheard)} messages: nobody subscribes, the broker keeps nothing`]] : []),
      ];
      const fresh = el("div", {},
        el("h3", {}, row.name, " ", linkBadge(row)),
        el("dl", {}, ...facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
        el("label", { class: "meter" }, `In flight ${whole(row.in_flight)} of ${whole(row.window)}`,
          el("meter", { min: 0, max: Math.max(1, row.window), value: row.in_flight })));
      if (!node.firstChild || !node.firstChild.isEqualNode(fresh)) node.replaceChildren(fresh);
    });
}

export function losses(answer) {
  const sums = Object.entries(answer.total);
  keyed(byId("loss-sums"), sums.length ? sums : [["nothing lost", 0]], ([reason]) => reason,
    () => el("li"), (node, [reason, count]) => {
      node.className = count ? "bad" : "good";
      put(node, count ? `${reason.replaceAll("_", " ")}: ${whole(count)}` : "nothing lost since the start");
    });
  table(byId("rows-losses"), answer.losses, (row) => `${row.time} ${row.seq}`, [
    ["Reported", (row) => when(row.time)],
    ["Reason", (row) => badge("bad", String(row.reason).replaceAll("_", " "))],
    ["From", (row) => when(row.from)],
    ["To", (row) => when(row.to)],
    ["Readings", (row) => (row.count === null ? "unknown" : whole(row.count)), "num"],
    ["Tags", (row) => some(row.tags || [])],
  ], "No loss since the start.");
}

const some = (names) => names.slice(0, 4).join(", ") + (names.length > 4 ? ` and ${names.length - 4} more` : "");
const HEAD = new Set(["gateway", "boot", "seq", "time", "event"]);

const plain = (part) => typeof part === "string" ? part : typeof part === "number" ? number(part) : JSON.stringify(part);

function details(event) {
  return Object.entries(event).filter(([name]) => !HEAD.has(name))
    .map(([name, part]) => `${name}: ${plain(part)}`).join(", ").slice(0, 400);
}

// The colour of an event: an alarm by what happened to it, a write or reload by how it ended.
function mood(event) {
  if (event.event === "alarm") return { raised: "bad", cleared: "good" }[event.change] || "plain";
  return event.result === "refused" || (event.status && event.status !== "ok") ? "bad" : "plain";
}

export function events(rows) {
  table(byId("rows-events"), rows, (row) => `${row.time} ${row.seq} ${row.event}`, [
    ["Time", (row) => when(row.time)],
    ["Event", (row) => badge(mood(row), `${row.event}${row.change ? ` ${row.change}` : ""}`.replaceAll("_", " "))],
    ["Details", details],
  ], "No events yet.");
}

const LEVELS = ["debug", "info", "warning", "error", "critical"];
const LOOKS = { debug: "plain", info: "plain", warning: "uncertain", error: "bad", critical: "bad" };

export function log(lines, level) {
  const wanted = lines.filter((line) => LEVELS.indexOf(line.level) >= LEVELS.indexOf(level)).reverse();
  table(byId("rows-log"), wanted, (line) => line.number, [
    ["Time", (line) => when(line.time)],
    ["Level", (line) => badge(LOOKS[line.level] || "plain", line.level)],
    ["Message", (line) => line.message],
  ], "No lines.");
}
