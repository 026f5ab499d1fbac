// A primary host: node host.js PORT GROUP NODE HOST. Orders come as JSON lines, what it sees goes out as JSON lines.
//   {"online": ms} {"offline": ms} {"rebirth": true} {"write": {device, name, type, value}} {"values": true} {"end": true}
const payloads = require("sparkplug-payload").get("spBv1.0");
const { Follower } = require("./follow");
const [port, group, node, name] = process.argv.slice(2);
const tell = (message) => console.log(JSON.stringify(message));
const follower = new Follower((violation) => tell({ violation }));
const client = require("mqtt").connect(`mqtt://127.0.0.1:${port}`, {
  protocolVersion: 5,
  clean: true,
  will: { topic: `spBv1.0/STATE/${name}`, payload: '{"online":false,"timestamp":0}', qos: 1, retain: true },
});
const state = (online, timestamp) =>
  client.publish(`spBv1.0/STATE/${name}`, JSON.stringify({ online, timestamp }), { qos: 1, retain: true });
const command = (topic, metric) => {
  const timestamp = Date.now();
  const payload = payloads.encodePayload({ timestamp, metrics: [{ timestamp, ...metric }] });
  client.publish(`spBv1.0/${group}/${topic}`, Buffer.from(payload), { qos: 0 });
};
const orders = {
  online: (time) => state(true, time),
  offline: (time) => state(false, time),
  rebirth: () => command(`NCMD/${node}`, { name: "Node Control/Rebirth", type: "Boolean", value: true }),
  write: ({ device, ...metric }) => command(`DCMD/${node}/${device}`, metric),
  values: () => tell({ values: follower.values() }),
  end: () => client.end(false, {}, () => process.exit(0)),
};

client.on("message", (topic, bytes, packet) => {
  const [, , type, , device] = topic.split("/");
  if (type.endsWith("CMD")) return;
  follower.take(topic, bytes, packet);
  tell({ type, device: device || null, bdSeq: follower.bdSeq });
});
client.subscribe(`spBv1.0/${group}/#`, { qos: 1 }, () => tell({ ready: true }));
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  for (const [order, value] of Object.entries(JSON.parse(line))) orders[order](value);
});
