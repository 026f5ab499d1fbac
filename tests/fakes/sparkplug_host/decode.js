// Hex payloads on standard input, one per line -> one JSON object per line on standard output.
// Long integers are written as text.
const payloads = require("sparkplug-payload").get("spBv1.0");
const plain = (_, value) => (value && value.low !== undefined && value.high !== undefined ? value.toString() : value);
const lines = require("fs").readFileSync(0, "utf8").split("\n").filter((line) => line);
for (const line of lines) {
  console.log(JSON.stringify(payloads.decodePayload(Buffer.from(line, "hex")), plain));
}
