// A host application's view of one edge node: births, seq, bdSeq, aliases, values. It shares nothing with the gateway.
const payloads = require("sparkplug-payload").get("spBv1.0");
const { Payload } = require("sparkplug-payload/lib/sparkplugPayloadProto").org.eclipse.tahu.protobuf;

const FIELDS = {
  Int8: "intValue", Int16: "intValue", Int32: "intValue", Int64: "longValue", UInt8: "intValue", UInt16: "intValue",
  UInt64: "longValue", Float: "floatValue", Double: "doubleValue", Boolean: "booleanValue", String: "stringValue",
};
const BITS = { Int8: 32, Int16: 32, Int32: 32 };
const has = (message, name) => Object.prototype.hasOwnProperty.call(message, name);

class Follower {
  constructor(violation) {
    this.violation = violation;
    this.alive = false;
    this.bdSeq = null;
    this.seq = null;
    this.devices = new Map(); // device ("" is the node) -> alias -> {name, type, value, time}
    this.dead = new Set(); // devices whose DDEATH came
  }

  // One message; `where` is {qos, retain} as it was delivered.
  take(topic, bytes, where) {
    const [namespace, group, type, node, device = "", ...rest] = topic.split("/");
    const place = `${type} ${device || node}`;
    if (namespace !== "spBv1.0" || !group || rest.length) return this.violation(`${topic}: no Sparkplug topic`);
    const payload = Payload.decode(bytes);
    if (where.retain) this.violation(`${place}: retained`);
    if (where.qos !== 0 && type !== "NDEATH") this.violation(`${place}: QoS ${where.qos}`);
    if (!has(payload, "timestamp")) this.violation(`${place}: no time`);
    if (type === "NDEATH") return this.nodeDied(place, payload);
    this.count(type, place, payload);
    if (type === "NBIRTH") {
      this.devices.clear();
      this.dead.clear();
      this.alive = true;
      this.bdSeq = this.bdSeqOf(place, payload);
      this.born("", place, bytes);
    } else if (!this.alive) {
      this.violation(`${place}: before NBIRTH`);
    } else if (type === "DBIRTH") {
      if (this.devices.has(device)) this.violation(`${place}: born twice`);
      this.dead.delete(device);
      this.born(device, place, bytes);
    } else if (type === "DDEATH") {
      if (!this.devices.delete(device)) this.violation(`${place}: was not alive`);
      this.dead.add(device);
    } else if (type === "NDATA" || type === "DDATA") {
      this.data(device, place, payload);
    } else {
      this.violation(`${place}: no type of an edge node`);
    }
  }

  count(type, place, payload) {
    if (!has(payload, "seq")) return this.violation(`${place}: no seq`);
    const seq = Number(payload.seq);
    const expected = type === "NBIRTH" ? 0 : this.seq === null ? seq : (this.seq + 1) % 256;
    if (seq !== expected) this.violation(`${place}: seq ${seq}, expected ${expected}`);
    this.seq = seq;
  }

  bdSeqOf(place, payload) {
    const found = payload.metrics.filter((metric) => metric.name === "bdSeq");
    if (found.length !== 1) this.violation(`${place}: ${found.length} bdSeq`);
    return found.length ? Number(found[0].longValue) : null;
  }

  nodeDied(place, payload) {
    const bdSeq = this.bdSeqOf(place, payload);
    if (has(payload, "seq")) this.violation(`${place}: seq`);
    if (this.alive && bdSeq !== this.bdSeq) this.violation(`${place}: bdSeq ${bdSeq}, born with ${this.bdSeq}`);
    this.alive = false;
    this.devices.clear();
  }

  born(device, place, bytes) {
    const known = new Map();
    for (const metric of payloads.decodePayload(bytes).metrics) {
      const named = `${place}: ${metric.name}`;
      if (!metric.name) this.violation(`${place}: a metric without a name`);
      if (!(metric.type in FIELDS)) this.violation(`${named}: type ${metric.type}`);
      if (metric.timestamp === undefined || metric.timestamp === null) this.violation(`${named}: no time`);
      if (metric.alias === undefined || metric.alias === null) continue; // bdSeq and Node Control/Rebirth
      const alias = Number(metric.alias);
      for (const others of [known, ...this.devices.values()]) {
        if (others.has(alias)) this.violation(`${named}: alias ${alias} is taken`);
      }
      known.set(alias, { name: metric.name, type: metric.type, value: metric.value, time: Number(metric.timestamp) });
    }
    this.devices.set(device, known);
  }

  data(device, place, payload) {
    const known = this.devices.get(device);
    if (known === undefined) return this.violation(`${place}: ${this.dead.has(device) ? "dead" : "not born"}`);
    if (!payload.metrics.length) this.violation(`${place}: empty`);
    if (new Set(payload.metrics.map((metric) => metric.isHistorical)).size > 1) this.violation(`${place}: history mixed`);
    let last = 0;
    for (const metric of payload.metrics) {
      const birth = known.get(Number(metric.alias));
      if (birth === undefined) {
        this.violation(`${place}: alias ${metric.alias} is unknown`);
        continue;
      }
      const time = Number(metric.timestamp);
      if (!metric.isHistorical && time < last) this.violation(`${place}: ${birth.name} is out of order`);
      last = time;
      if (!metric.isNull && !has(metric, FIELDS[birth.type])) this.violation(`${place}: ${birth.name} is no ${birth.type}`);
      if (!metric.isHistorical) Object.assign(birth, { value: read(metric, birth.type), time });
    }
  }

  // {device: {metric: value}}
  values() {
    const all = {};
    for (const [device, known] of this.devices) {
      all[device] = Object.fromEntries([...known.values()].map((metric) => [metric.name, plain(metric.value)]));
    }
    return all;
  }
}

function read(metric, type) {
  if (metric.isNull) return null;
  const value = metric[FIELDS[type]];
  if (type === "Int64") return value.toSigned ? value.toSigned() : value;
  return type in BITS ? value | 0 : value;
}

const plain = (value) => (value && value.low !== undefined ? Number(value.toString()) : value === undefined ? null : value);

module.exports = { Follower };
