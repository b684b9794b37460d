// SCRAM-SHA-256-PLUS bound by tls-exporter (RFC 9266), which Python's TLS does not offer; and the same with a wrong
// binding, which is refused. Only what Node has. By hand:
//   NODE_EXTRA_CA_CERTS=server.crt node exporter.mjs --tls-port 5223 romeo:secret

import crypto from "node:crypto";
import tls from "node:tls";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    host: { type: "string", default: "localhost" },
    port: { type: "string" },
    "tls-port": { type: "string", default: "5223" },
    domain: { type: "string", default: "localhost" },
    timeout: { type: "string", default: "60" },
    ca: { type: "string" },
  },
});
const [user, password] = positionals[0].split(/:(.*)/s);
const SASL = "urn:ietf:params:xml:ns:xmpp-sasl";

function check(holds, what, seen) {
  if (!holds) throw new Error(`${what} | ${seen}`);
}

function connect() {
  return new Promise((done, failed) => {
    const socket = tls.connect(
      {
        host: values.host,
        port: Number(values["tls-port"]),
        servername: values.domain,
        ALPNProtocols: ["xmpp-client"],
        minVersion: "TLSv1.3",
      },
      () => done(socket),
    );
    socket.once("error", failed);
  });
}

// Reads until the pattern is there.
function read(socket, pattern) {
  return new Promise((done, failed) => {
    let text = "";
    const take = (data) => {
      text += data;
      const match = pattern.exec(text);
      if (!match) return;
      socket.off("data", take);
      done(match);
    };
    socket.on("data", take);
    socket.once("close", () => failed(new Error(`closed after: ${text}`)));
  });
}

const hmac = (key, data) => crypto.createHmac("sha256", key).update(data).digest();
const attribute = (text, name) => text.split(",").find((f) => f.startsWith(`${name}=`)).slice(2);

async function login(wrong) {
  const socket = await connect();
  check(socket.alpnProtocol === "xmpp-client", "ALPN", socket.alpnProtocol);
  const bound = socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
  if (wrong) bound[0] ^= 1;
  const features = read(socket, /<stream:features.*<\/stream:features>/s);
  socket.write(
    `<stream:stream to='${values.domain}' version='1.0' xmlns='jabber:client' ` +
      "xmlns:stream='http://etherx.jabber.org/streams'>",
  );
  const offered = (await features)[0];
  check(offered.includes("SCRAM-SHA-256-PLUS"), "the mechanism is offered", offered);
  check(offered.includes("tls-exporter"), "the binding is announced (XEP-0440)", offered);
  const header = "p=tls-exporter,,";
  const bare = `n=${user},r=${crypto.randomBytes(18).toString("base64")}`;
  const first = Buffer.from(header + bare).toString("base64");
  const answer = read(socket, /<challenge[^>]*>([^<]*)<\/challenge>|<failure.*<\/failure>/s);
  socket.write(`<auth xmlns='${SASL}' mechanism='SCRAM-SHA-256-PLUS'>${first}</auth>`);
  const [whole, encoded] = await answer;
  check(encoded, "a challenge", whole);
  const challenge = Buffer.from(encoded, "base64").toString();
  const salt = Buffer.from(attribute(challenge, "s"), "base64");
  const salted = crypto.pbkdf2Sync(password, salt, Number(attribute(challenge, "i")), 32, "sha256");
  const binding = Buffer.concat([Buffer.from(header), bound]).toString("base64");
  const without = `c=${binding},r=${attribute(challenge, "r")}`;
  const message = `${bare},${challenge},${without}`;
  const key = hmac(salted, "Client Key");
  const signature = hmac(crypto.createHash("sha256").update(key).digest(), message);
  const proof = key.map((byte, n) => byte ^ signature[n]).toString("base64");
  const verdict = read(socket, /<success[^>]*>([^<]*)<\/success>|<failure.*<\/failure>/s);
  socket.write(`<response xmlns='${SASL}'>${Buffer.from(`${without},p=${proof}`).toString("base64")}</response>`);
  const [outcome, final] = await verdict;
  socket.destroy();
  if (wrong) return check(outcome.startsWith("<failure"), "a wrong binding is refused", outcome);
  check(final, "success", outcome);
  const server = hmac(hmac(salted, "Server Key"), message).toString("base64");
  check(Buffer.from(final, "base64").toString() === `v=${server}`, "the server's signature", final);
}

let result = { ok: true };
const start = Date.now();
setTimeout(() => {
  console.log(JSON.stringify({ ok: false, error: `not done after ${values.timeout} s` }));
  process.exit(1);
}, values.timeout * 1000).unref();
try {
  await login(false);
  await login(true);
} catch (error) {
  console.error(error);
  result = { ok: false, error: String(error.message ?? error) };
}
result.seconds = (Date.now() - start) / 1000;
console.log(JSON.stringify(result));
process.exit(result.ok ? 0 : 1);
