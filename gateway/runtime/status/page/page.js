// The live connection, the choice of section and tags, and the rates that follow from two moments.

import { byId, el, keyed } from "./dom.js";
import * as sections from "./sections.js";

const ROWS = 100;
const KEPT = 120; // moments, one a second
const choice = { section: "overview", device: "", search: "", poor: 0, offset: 0, level: "info", devices: "" };
const now = { health: null, heard: 0, devices: [], log: [] };
const history = { polled: [], acknowledged: [], backlog: [], memory: [], cpu: [] };
const moments = [], upstreams = new Map();
let source = null, retry = 0, silence = 0;

function ratesOf(health) {
  moments.push(health);
  if (moments.length > 6) moments.shift();
  const first = moments[0], seconds = health.uptime_seconds - first.uptime_seconds;
  if (seconds <= 0) return { polled: null, kept: null, acknowledged: null, cpu: null }; // one moment has no rate
  const per = (name) => Math.max(0, health.readings[name] - first.readings[name]) / seconds;
  const cpu = (100 * (health.process.cpu_seconds - first.process.cpu_seconds)) / seconds;
  return { polled: per("polled"), kept: per("kept"), acknowledged: per("acknowledged"), cpu: Math.max(0, cpu) };
}

function remember(health, rates) {
  const fresh = { polled: rates.polled, acknowledged: rates.acknowledged, backlog: health.backlog.readings,
    memory: health.process.rss_bytes, cpu: rates.cpu };
  for (const [name, sample] of Object.entries(fresh)) {
    history[name].push(sample);
    if (history[name].length > KEPT) history[name].shift();
  }
}

// What each upstream delivers, and how its backlog grows, in readings a second over the last moments.
function paces(rows) {
  const at = Date.now();
  return Object.fromEntries(rows.map(({ name, readings, backlog_readings: backlog }) => {
    let past = upstreams.get(name) || [];
    if (past.length && readings < past[0].readings) past = []; // another start
    past = [...past.slice(-9), { at, readings, backlog }];
    upstreams.set(name, past);
    const seconds = (at - past[0].at) / 1000;
    const per = (grown) => (seconds > 1 ? grown / seconds : 0);
    return [name, { delivered: per(readings - past[0].readings), growth: per(backlog - past[0].backlog) }];
  }));
}

const handlers = {
  health(health) {
    if (now.health && health.boot !== now.health.boot) moments.length = 0;
    const first = !now.health;
    now.health = health;
    const rates = ratesOf(health);
    if (rates.polled !== null) remember(health, rates);
    sections.head(health);
    if (first) showCurrent();
    sections.overview(health, rates, history);
  },
  devices(rows) {
    now.devices = rows;
    sections.devices(rows, time(), choice.devices);
    const names = rows.map((row) => row.name);
    keyed(byId("tag-device"), ["", ...names], (name) => name || " all", (name) => el("option", { value: name }, name || "all"), () => {});
  },
  upstreams: (rows) => sections.upstreams(rows, time(), paces(rows)),
  tags(page) {
    sections.tags(page, time());
  },
  losses: sections.losses,
  events: sections.events,
  log(lines) {
    now.log = lines;
    sections.log(lines, choice.level);
  },
};

const time = () => (now.health ? now.health.time : Date.now());

function address() {
  const wanted = choice.section === "tags"
    ? { device: choice.device, search: choice.search, poor: choice.poor, offset: choice.offset, limit: ROWS, trend: 1 }
    : { limit: 1 };
  return `/api/v1/stream?${new URLSearchParams(wanted)}`;
}

function connect() {
  disconnect();
  if (document.hidden) return;
  source = new EventSource(address());
  for (const [kind, handle] of Object.entries(handlers)) {
    source.addEventListener(kind, (event) => {
      clearTimeout(silence);
      silence = setTimeout(lost, 10_000);
      now.heard = Date.now();
      sections.stale(0);
      handle(JSON.parse(event.data));
    });
  }
  source.addEventListener("error", lost);
}

function disconnect() {
  clearTimeout(retry);
  clearTimeout(silence);
  if (source) source.close();
  source = null;
}

async function lost() {
  sections.state("lost", "no connection");
  if (now.heard) sections.stale(now.heard);
  disconnect();
  retry = setTimeout(connect, 3000);
  try {
    const answer = await fetch("/api/v1/health");
    if (answer.status === 401) location.reload();
  } catch {
    // still unreachable: connect() tries again
  }
}

function show() {
  const wanted = location.hash.slice(1);
  choice.section = document.querySelector(`main > section[id="${CSS.escape(wanted)}"]`) ? wanted : "overview";
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== choice.section;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${choice.section}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  showCurrent();
  connect();
}

// On a phone the sections are wider than the screen, and the counts beside their names come with the first figures.
function showCurrent() {
  document.querySelector("nav a[aria-current]").scrollIntoView({ block: "nearest", inline: "center" });
}

function choose(part) {
  Object.assign(choice, part);
  connect();
}

let typing = 0;
byId("tag-device").addEventListener("change", (event) => choose({ device: event.target.value, offset: 0 }));
byId("tag-search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => choose({ search: event.target.value.trim(), offset: 0 }), 250);
});
byId("tag-poor").addEventListener("change", (event) => choose({ poor: event.target.checked ? 1 : 0, offset: 0 }));
byId("device-search").addEventListener("input", (event) => {
  choice.devices = event.target.value.trim();
  sections.devices(now.devices, time(), choice.devices);
});
byId("tag-back").addEventListener("click", () => choose({ offset: Math.max(0, choice.offset - ROWS) }));
byId("tag-next").addEventListener("click", () => choose({ offset: choice.offset + ROWS }));
for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
byId("log-level").addEventListener("change", (event) => {
  choice.level = event.target.value;
  sections.log(now.log, choice.level);
});
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
addEventListener("hashchange", show);
show();
