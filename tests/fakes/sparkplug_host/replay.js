// Messages on standard input, one JSON object per line {topic, payload (hex), qos, retain} -> violations, one per line.
const { Follower } = require("./follow");
const follower = new Follower((text) => console.log(text));
for (const line of require("fs").readFileSync(0, "utf8").split("\n").filter((text) => text)) {
  const message = JSON.parse(line);
  follower.take(message.topic, Buffer.from(message.payload, "hex"), message);
}
