// Elements, keyed tables, small lines, and how numbers are written. Text is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Fill a container with one child per row. Children are kept by key, so a selection or the focus survives an update.
export function keyed(container, rows, key, make, update) {
  const old = new Map([...container.children].map((child) => [child.dataset.key, child]));
  let at = container.firstChild;
  for (const row of rows) {
    const name = String(key(row));
    let child = old.get(name);
    if (child) old.delete(name);
    else {
      child = make(row);
      child.dataset.key = name;
    }
    if (child === at) at = at.nextSibling;
    else container.insertBefore(child, at);
    update(child, row);
  }
  for (const gone of old.values()) gone.remove();
}

// A table body: each column is [label, text or node of a row, class]. The label is shown where a row becomes a card.
export function table(body, rows, key, columns, empty) {
  const shown = rows.length ? rows : [null];
  keyed(body, shown, (row) => (row ? key(row) : " none"), (row) => {
    if (!row) return el("tr", {}, el("td", { colspan: columns.length, class: "empty" }, empty));
    return el("tr", {}, ...columns.map(([label, , kind], index) =>
      el(index === 0 ? "th" : "td", { "data-label": label, class: kind, scope: index === 0 ? "row" : null })));
  }, (line, row) => {
    if (!row) return;
    columns.forEach(([, cell], index) => {
      const value = cell(row), place = line.children[index];
      if (value instanceof Node) {
        if (!place.firstChild || !place.firstChild.isEqualNode(value)) place.replaceChildren(value);
      } else put(place, value);
    });
  });
}

export function badge(kind, text, title) {
  return el("span", { class: `badge ${kind}`, title }, text);
}

export const linkBadge = (link) => link.up ? badge("good", "up") : badge("bad", link.reason ? `down: ${link.reason}` : "down");

// A small line over samples; null leaves a gap.
export function spark(samples, text) {
  const known = samples.filter((sample) => sample !== null);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 120 28");
  svg.setAttribute("class", "spark");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  if (known.length < 2) {
    svg.setAttribute("aria-label", "no trend yet");
    return svg;
  }
  const low = Math.min(...known), high = Math.max(...known), span = high - low || 1;
  svg.setAttribute("aria-label", text || `from ${number(low)} to ${number(high)}`);
  const step = 120 / (samples.length - 1);
  let path = "", pen = "M";
  samples.forEach((sample, index) => {
    if (sample === null) pen = "M";
    else {
      const y = high === low ? 14 : 26 - ((sample - low) / span) * 24;
      path += `${pen}${(index * step).toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
    }
  });
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  line.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(line);
  return svg;
}

const PLAIN = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });
const PRECISE = new Intl.NumberFormat("en", { maximumSignificantDigits: 6, useGrouping: false });

export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(4);
  return PRECISE.format(value);
}

export const whole = (value) => PLAIN.format(Math.round(value));

export function short(value) {
  if (value === null) return "–";
  if (value < 10) return PLAIN.format(Math.round(value * 10) / 10);
  if (value < 10_000) return whole(value);
  for (const [limit, unit] of [[1e6, "k"], [1e9, "M"], [1e12, "G"]]) {
    if (value < limit) return `${(value / (limit / 1000)).toPrecision(3)} ${unit}`;
  }
  return value.toExponential(2);
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  for (const [limit, unit, divisor] of [[1024, "B", 1], [1 << 20, "KiB", 1024], [2 ** 30, "MiB", 1 << 20]]) {
    if (value < limit) return `${Number((value / divisor).toPrecision(3))} ${unit}`;
  }
  return `${Number((value / 2 ** 30).toPrecision(3))} GiB`;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.001) return seconds === 0 ? "0 s" : `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Number((seconds * 1000).toPrecision(3))} ms`;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  const [size, unit] = parts[first], rest = parts[first + 1];
  const head = `${Math.floor(seconds / size)} ${unit}`;
  const tail = rest ? Math.floor((seconds % size) / rest[0]) : 0;
  return tail ? `${head} ${tail} ${rest[1]}` : head;
}

export function when(time) {
  if (time === null || time === undefined) return "–";
  const date = new Date(time), two = (part) => String(part).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
