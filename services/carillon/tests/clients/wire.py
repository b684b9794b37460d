"""A small XMPP client with nothing hidden: every stanza that is sent or handled is counted and kept.

Used where a library does not say what went over the wire: exact stream management, channel binding, refusals.
Only the Python standard library.
"""

import asyncio
import base64
import collections
import hashlib
import hmac
import os
import ssl
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from scenario import Failed, check

STREAM = "{http://etherx.jabber.org/streams}"
CLIENT = "{jabber:client}"
TLS = "{urn:ietf:params:xml:ns:xmpp-tls}"
SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"
SM = "{urn:xmpp:sm:3}"
SM_NS = "urn:xmpp:sm:3"
STANZAS = {CLIENT + kind for kind in ("message", "presence", "iq")}


class Closed(Exception):
    """The stream or the socket ended."""


class SaslRefused(Failed):
    def __init__(self, condition):
        super().__init__(f"SASL failure {condition}")
        self.condition = condition


class Wire:
    """One account's client. It outlives its sockets: `connect` again, then `resume` or `bind`."""

    def __init__(self, options, user, password):
        self.options, self.user, self.password = options, user, password
        self.bare = f"{user}@{options.domain}"
        self.jid = None
        self.reader = self.writer = self.features = None
        # Stream management: our stanzas that are not acknowledged, as (number, kind, text).
        self.sm_id, self.sent, self.acked, self.handled = None, 0, 0, 0
        self.unacked = collections.deque()
        # What the reader found wrong, wherever it was noticed.
        self.fault = None
        self.on_stanza = lambda stanza: None
        self.on_acked = lambda kind, text: None
        self._iqs = {}
        self._serial = 0
        self._pump = None

    # The stream

    async def connect(self, direct=False, mechanism="SCRAM-SHA-256", version=None, binding=None):
        """TCP, TLS and SASL; afterwards `features` are those that lead to a session."""
        host = self.options.host
        if direct:
            self.reader, self.writer = await asyncio.open_connection(
                host, self.options.tls_port, ssl=self.options.tls(True, version),
                server_hostname=self.options.domain)
            await self._open()
        else:
            self.reader, self.writer = await asyncio.open_connection(host, self.options.port)
            features = await self._open()
            check(features.find(f"{TLS}starttls/{TLS}required") is not None, "STARTTLS is required")
            check(features.find(f"{SASL}mechanisms") is None, "no SASL before TLS")
            self.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            await self.expect(f"{TLS}proceed")
            await self.writer.start_tls(
                self.options.tls(False, version), server_hostname=self.options.domain)
            await self._open()
        await self._sasl(mechanism, binding)
        self.features = await self._open()
        return self

    async def _open(self):
        self._events, self._depth, self._root = collections.deque(), 0, None
        self._parser = ET.XMLPullParser(("start", "end"))
        self.write(
            f"<?xml version='1.0'?><stream:stream to={quoteattr(self.options.domain)} version='1.0' "
            "xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
        return await self.expect(f"{STREAM}features")

    def write(self, text):
        if self.writer is None or self.writer.is_closing():
            raise Closed("not connected")
        self.writer.write(text.encode())

    async def read(self):
        """The next child of the stream."""
        while True:
            for event, element in self._parser.read_events():
                if event == "start":
                    self._depth += 1
                    if self._depth == 1:
                        self._root, self.stream_id = element, element.get("id")
                    continue
                self._depth -= 1
                if self._depth == 0:
                    raise Closed("the server closed the stream")
                if self._depth == 1:
                    self._root.clear()
                    if element.tag == f"{STREAM}error":
                        raise Closed("stream error: " + ", ".join(c.tag for c in element))
                    return element
            try:
                data = await self.reader.read(65536)
            except (OSError, ssl.SSLError) as error:
                raise Closed(str(error)) from None
            if not data:
                raise Closed("the socket closed")
            self._parser.feed(data)

    async def expect(self, *tags):
        element = await self.read()
        check(element.tag in tags, f"expected {' or '.join(tags)}", ET.tostring(element, "unicode"))
        return element

    async def close(self):
        """Ends the stream in order."""
        try:
            self.write("</stream:stream>")
            if self._pump:
                await asyncio.wait([self._pump], timeout=2)
            else:
                async with asyncio.timeout(2):
                    while True:
                        await self.read()
        except (Closed, TimeoutError, OSError):
            pass
        self.cut()

    def cut(self):
        """Closes the socket without a word."""
        if self._pump:
            self._pump.cancel()
            self._pump = None
        if self.writer:
            self.writer.transport.abort()
            self.writer = None
        self._forget_iqs("cut")

    def cut_now(self):
        """Like `cut`, from outside of the task that reads: that one finds the end by itself."""
        if self.writer:
            self.writer.transport.abort()

    # SASL

    async def _sasl(self, mechanism, binding):
        if mechanism == "PLAIN":
            step = f"\0{self.user}\0{self.password}".encode()
            self._auth("auth", step, mechanism)
            return await self._success()
        plus = mechanism.endswith("-PLUS")
        digest = mechanism.removeprefix("SCRAM-").removesuffix("-PLUS").replace("-", "").lower()
        header, bound = (f"p={binding},,", self._binding(binding)) if plus else ("n,,", b"")
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n={self.user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self._auth("auth", (header + bare).encode(), mechanism)
        answer = await self.expect(f"{SASL}challenge", f"{SASL}failure")
        self._refused(answer)
        challenge = base64.b64decode(answer.text).decode()
        fields = dict(f.split("=", 1) for f in challenge.split(","))
        check(fields["r"].startswith(nonce) and fields["r"] != nonce, "the nonce", challenge)
        self.scram_salt, self.scram_iterations = base64.b64decode(fields["s"]), int(fields["i"])
        check(self.scram_iterations >= 4096, "iterations", self.scram_iterations)
        without = f"c={base64.b64encode(header.encode() + bound).decode()},r={fields['r']}"
        message = f"{bare},{challenge},{without}".encode()
        salted = hashlib.pbkdf2_hmac(
            digest, self.password.encode(), self.scram_salt, self.scram_iterations)
        mac = lambda key, text: hmac.digest(key, text, digest)
        key = mac(salted, b"Client Key")
        signature = mac(hashlib.new(digest, key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(key, signature))
        self._auth("response", f"{without},p={base64.b64encode(proof).decode()}".encode())
        final = base64.b64decode(await self._success() or "").decode()
        want = base64.b64encode(mac(mac(salted, b"Server Key"), message)).decode()
        check(final == f"v={want}", "the server's signature", final)

    def _binding(self, kind):
        tls = self.writer.get_extra_info("ssl_object")
        if kind == "tls-server-end-point":
            return hashlib.sha256(tls.getpeercert(True)).digest()
        return tls.get_channel_binding(kind)

    def _auth(self, name, data, mechanism=None):
        attribute = f" mechanism='{mechanism}'" if mechanism else ""
        text = base64.b64encode(data).decode()
        self.write(f"<{name} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'{attribute}>{text}</{name}>")

    def _refused(self, element):
        if element.tag == f"{SASL}failure":
            raise SaslRefused(element[0].tag.removeprefix(SASL))

    async def _success(self):
        answer = await self.expect(f"{SASL}success", f"{SASL}failure")
        self._refused(answer)
        return answer.text

    # The session

    async def bind(self, resource):
        """Binds, enables stream management with resumption, and starts to read."""
        self.write(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            f"<resource>{escape(resource)}</resource></bind></iq>")
        answer = await self.expect(f"{CLIENT}iq")
        check(answer.get("type") == "result", "bind", ET.tostring(answer, "unicode"))
        self.jid = answer.findtext(".//{urn:ietf:params:xml:ns:xmpp-bind}jid")
        self.sm_id, self.sent, self.acked, self.handled = None, 0, 0, 0
        self.unacked.clear()
        self.write(f"<enable xmlns='{SM_NS}' resume='true'/>")
        enabled = await self.expect(f"{SM}enabled")
        check(enabled.get("resume") in ("true", "1") and enabled.get("id"), "it can be resumed")
        self.sm_id = enabled.get("id")
        self._pump = asyncio.ensure_future(self._run())

    async def resume(self):
        """`True`: resumed, and what is not acknowledged was sent again. `False`: refused; what the
        refusal acknowledged has been taken off `unacked`, and whoever called binds anew. Then
        `failed_h` is the count that the refusal named, or `None`."""
        self.write(f"<resume xmlns='{SM_NS}' h='{self.handled}' previd={quoteattr(self.sm_id)}/>")
        answer = await self.expect(f"{SM}resumed", f"{SM}failed")
        h = answer.get("h")
        if answer.tag == f"{SM}failed":
            self.failed_h = None if h is None else int(h)
            # After a crash the count is that of what is stored; presence and the like, which was
            # acknowledged and is stored nowhere, may lie beyond it.
            self._take_ack(self.acked if h is None else max(self.acked, int(h)))
            self.sm_id = None
            return False
        check(answer.get("previd") == self.sm_id, "previd")
        self._take_ack(int(h))
        for _, _, text in self.unacked:
            self.write(text)
        self._pump = asyncio.ensure_future(self._run())
        return True

    def _take_ack(self, h):
        check(self.acked <= h <= self.sent, f"h={h} is not between {self.acked} and {self.sent}")
        while self.unacked and self.unacked[0][0] <= h:
            _, kind, text = self.unacked.popleft()
            self.on_acked(kind, text)
        self.acked = h

    def send(self, kind, text):
        """Sends one stanza and keeps it until it is acknowledged."""
        self.sent += 1
        self.unacked.append((self.sent, kind, text))
        self.write(text)

    def message(self, to, ident, body):
        self.send("message", f"<message to={quoteattr(to)} id={quoteattr(ident)} type='chat'>"
                  f"<body>{escape(body)}</body></message>")

    def presence(self, kind=""):
        self.send("presence", f"<presence{kind and f' type={kind!r}'}/>")

    def request_ack(self):
        self.write(f"<r xmlns='{SM_NS}'/>")

    async def iq(self, kind, payload, to=None, timeout=20):
        """One request; the answer, whether result or error."""
        self._serial += 1
        ident = f"q{self._serial}"
        future = self._iqs[ident] = asyncio.get_running_loop().create_future()
        to = f" to={quoteattr(to)}" if to else ""
        self.send("iq", f"<iq type='{kind}' id='{ident}'{to}>{payload}</iq>")
        async with asyncio.timeout(timeout):
            return await future

    async def _run(self):
        """Reads until the stream ends, and answers `<r/>`."""
        try:
            while True:
                element = await self.read()
                if element.tag == f"{SM}r":
                    self.write(f"<a xmlns='{SM_NS}' h='{self.handled}'/>")
                elif element.tag == f"{SM}a":
                    self._take_ack(int(element.get("h")))
                elif element.tag in STANZAS:
                    self.handled += 1
                    future = self._iqs.pop(element.get("id"), None)
                    if future and element.tag == f"{CLIENT}iq" and not future.done():
                        future.set_result(element)
                    self.on_stanza(element)
        except Closed:
            pass
        except Failed as failed:
            self.fault = failed
            raise
        finally:
            self._forget_iqs("the stream ended")

    def _forget_iqs(self, why):
        for future in self._iqs.values():
            if not future.done():
                future.set_exception(Closed(why))
                future.exception()  # whoever waits sees it; nobody has to
        self._iqs.clear()

    async def ended(self):
        """Waits until the stream has ended; raises what the reader found wrong."""
        await asyncio.shield(self._pump)

    # The archive

    async def archive(self, after=None, page=200):
        """All rows after an id, in order: (archive id, forwarded message)."""
        rows, complete = [], False
        while not complete:
            found, keep, query = [], self.on_stanza, f"page{self._serial}"

            def collect(stanza):
                result = stanza.find("{urn:xmpp:mam:2}result")
                if result is None or result.get("queryid") != query:
                    return keep(stanza)
                found.append((result.get("id"), result.find(f".//{CLIENT}message")))

            self.on_stanza = collect
            try:
                rsm = f"<max>{page}</max>" + (f"<after>{escape(after)}</after>" if after else "")
                answer = await self.iq("set", f"<query xmlns='urn:xmpp:mam:2' queryid='{query}'>"
                                       f"<set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set></query>")
            finally:
                self.on_stanza = keep
            fin = answer.find("{urn:xmpp:mam:2}fin")
            check(fin is not None, "a query of the archive", ET.tostring(answer, "unicode"))
            complete = fin.get("complete") == "true"
            check(found or complete, "an empty page that is not the last one")
            rows += found
            after = found[-1][0] if found else after
        return rows
