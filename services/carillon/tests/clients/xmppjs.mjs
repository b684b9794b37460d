// @xmpp/client: login, chat and resumption over STARTTLS and over direct TLS. By hand, in the folder that has its
// node_modules (target/clients/node):
//   NODE_EXTRA_CA_CERTS=server.crt node --input-type=module --eval "$(cat …/xmppjs.mjs)" -- \
//       --port 5222 --tls-port 5223 romeo:secret juliet:secret

import dns from "node:dns";
import net from "node:net";
import { parseArgs } from "node:util";
import { client, xml } from "@xmpp/client";

// A busy machine may take longer for a connection than the quarter of a second that node allows each address.
dns.setDefaultResultOrder("ipv4first");
net.setDefaultAutoSelectFamilyAttemptTimeout(10_000);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    host: { type: "string", default: "localhost" },
    port: { type: "string", default: "5222" },
    "tls-port": { type: "string", default: "5223" },
    domain: { type: "string", default: "localhost" },
    timeout: { type: "string", default: "60" },
    ca: { type: "string" },
  },
});
const accounts = positionals.map((p) => p.split(/:(.*)/s));

function check(holds, what, ...seen) {
  if (!holds) throw new Error([what, ...seen.map(String)].join(" | "));
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(holds, what) {
  for (let n = 0; n < 200; n++) {
    if (holds()) return;
    await sleep(50);
  }
  throw new Error(`waited in vain for ${what}`);
}

function service(direct) {
  return direct
    ? `xmpps://${values.host}:${values["tls-port"]}`
    : `xmpp://${values.host}:${values.port}`;
}

async function login(index, direct, resource) {
  const [username, password] = accounts[index];
  const server = { service: service(direct), domain: values.domain };
  // The library gives up a stream that is not open within two seconds; other tests run beside this one.
  const xmpp = client({ ...server, resource, username, password, timeout: 20_000 });
  xmpp.bodies = [];
  xmpp.errors = [];
  xmpp.on("error", (error) => xmpp.errors.push(error));
  xmpp.on("stanza", (stanza) => {
    if (stanza.is("message") && stanza.getChild("body")) xmpp.bodies.push(stanza.getChildText("body"));
  });
  const address = await xmpp.start();
  check(address.resource === resource, "the resource", address);
  await xmpp.send(xml("presence"));
  return xmpp;
}

const say = (xmpp, to, body) => xmpp.send(xml("message", { type: "chat", to }, xml("body", {}, body)));
const jid = (index) => `${accounts[index][0]}@${values.domain}`;

async function chatAndResume(direct) {
  const romeo = await login(0, direct, `js${direct}`);
  const juliet = await login(1, !direct, `js${!direct}`);
  await say(romeo, jid(1), "from romeo <&>");
  await until(() => juliet.bodies.includes("from romeo <&>"), "his message");
  await say(juliet, romeo.jid.toString(), "from juliet");
  await until(() => romeo.bodies.includes("from juliet"), "her message");
  await romeo.iqCaller.request(xml("iq", { type: "get" }, xml("query", { xmlns: "jabber:iq:roster" })), 10_000);

  check(romeo.streamManagement.id, "stream management with resumption");
  let resumed = false;
  romeo.streamManagement.on("resumed", () => (resumed = true));
  romeo.reconnect.delay = 500;
  romeo.socket.socket.destroy();
  await until(() => romeo.status === "disconnect" || romeo.status === "offline", "the cut");
  for (let n = 0; n < 5; n++) await say(juliet, romeo.jid.toString(), `meanwhile ${n}`);
  await until(() => resumed, "resumption");
  await until(() => romeo.bodies.length >= 6, "what came meanwhile");
  const want = ["from juliet", ...[0, 1, 2, 3, 4].map((n) => `meanwhile ${n}`)];
  await sleep(300);
  check(romeo.bodies.join() === want.join(), "each once, in order", romeo.bodies.join());
  await say(romeo, jid(1), "after resumption");
  await until(() => juliet.bodies.includes("after resumption"), "what he sent after it");
  for (const xmpp of [romeo, juliet]) {
    xmpp.reconnect.stop();
    await xmpp.stop();
  }
}

async function scenario() {
  check(accounts.length === 2, "two accounts are needed: USER:PASSWORD USER:PASSWORD");
  for (const direct of [false, true]) {
    await chatAndResume(direct);
  }
}

const start = Date.now();
const limit = sleep(values.timeout * 1000).then(() => {
  throw new Error(`not done after ${values.timeout} s`);
});
let result = { ok: true };
try {
  await Promise.race([scenario(), limit]);
} catch (error) {
  console.error(error);
  result = { ok: false, error: String(error.message ?? error) };
}
result.seconds = (Date.now() - start) / 1000;
console.log(JSON.stringify(result));
process.exit(result.ok ? 0 : 1);
