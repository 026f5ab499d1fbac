// node server.js PORT NODES RATE: NODES numbers ns=1;s=v0 ..., RATE changes a second in all, each with a source time.
// Prints `ready` once it serves, then `sent` and the number of changes made so far; the library logs between.
const { OPCUAServer } = require("node-opcua-server");
const { DataType, Variant } = require("node-opcua-variant");
const { StatusCodes } = require("node-opcua-status-code");

const STEP_MS = 50;

async function main(port, nodes, rate) {
  const server = new OPCUAServer({
    port, hostname: "127.0.0.1", alternateHostname: ["127.0.0.1"], buildInfo: { productName: "test" },
    securityPolicies: ["http://opcfoundation.org/UA/SecurityPolicy#None"], securityModes: [1],
    allowAnonymous: true, serverCapabilities: { maxMonitoredItemsPerSubscription: 100000 },
  });
  await server.initialize();
  const space = server.engine.addressSpace.getOwnNamespace();
  const parent = server.engine.addressSpace.rootFolder.objects;
  const variables = [];
  for (let i = 0; i < nodes; i++) {
    variables.push(space.addVariable({
      organizedBy: parent, browseName: "v" + i, nodeId: "s=v" + i, dataType: "Double", minimumSamplingInterval: 0,
      value: new Variant({ dataType: DataType.Double, value: 0 }),
    }));
  }
  await server.start();
  console.log("ready");
  let sent = 0, step = 0;
  const start = Date.now();
  setInterval(() => {
    const due = Math.floor((Date.now() - start) / 1000 * rate);
    for (let limit = rate; sent < due && limit > 0; limit--) {
      variables[sent % nodes].setValueFromSource({ dataType: DataType.Double, value: sent + 1 }, StatusCodes.Good, new Date());
      sent++;
    }
    if (++step % 4 === 0) console.log("sent " + sent);
  }, STEP_MS);
}

main(...process.argv.slice(2).map(Number)).catch((error) => { console.error(error); process.exit(1); });
