"""Security cases that need the whole server: what is said before its time, one byte at a time, or in XML that nobody may
send, and what is given out to be guessed.
"""

import asyncio
import re
import urllib.request
from xml.etree import ElementTree as ET

from scenario import check, main
from wire import Wire

LAUGHS = "<!DOCTYPE l [" + "".join(f"<!ENTITY l{n + 1} '{'&l%d;' % n * 10}'>" for n in range(10)) + "]>"
STATES = ("in the clear", "inside TLS", "logged in")
IQ_NAMESPACES = (
    "jabber:iq:auth", "jabber:iq:register", "jabber:iq:roster", "jabber:iq:version", "jabber:iq:private", "jabber:iq:last",
    "vcard-temp", "urn:xmpp:ping", "urn:xmpp:mam:2", "urn:xmpp:carbons:2", "urn:ietf:params:xml:ns:xmpp-session",
    "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items", "http://jabber.org/protocol/pubsub",
    "http://jabber.org/protocol/commands", "jabber:iq:admin", "nobody:knows",
)
STANZAS = (
    [f"<message type='{t}'><body>x</body></message>" for t in ("chat", "normal", "groupchat", "headline", "error")]
    + [f"<presence type='{t}'/>" for t in ("unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe")]
    + ["<presence/>", "<iq type='result' id='1'/>", "<iq type='error' id='1'/>"]
    + [f"<iq type='{t}' id='1'><query xmlns='{n}'/></iq>" for n in IQ_NAMESPACES for t in ("get", "set")]
)


async def at(options, state, header=True):
    """A client's stream in one of the states before a session."""
    wire = Wire(options, *options.accounts[0])
    if state == "logged in":
        return await wire.connect()
    if state == "inside TLS":
        wire.reader, wire.writer = await asyncio.open_connection(
            options.host, options.tls_port, ssl=options.tls(True), server_hostname=options.domain)
    else:
        wire.reader, wire.writer = await asyncio.open_connection(options.host, options.port)
    if header:
        await wire._open()
    return wire


async def rest(wire, limit=4096):
    """All that the server still says; it must end the connection by itself, and soon."""
    said = b""
    async with asyncio.timeout(5):
        try:
            while more := await wire.reader.read(4096):
                said += more
                check(len(said) <= limit, "the server goes on and on", said[:500])
        except OSError:
            pass
    wire.cut()
    return said.decode()


async def drip(wire, text):
    """One byte in each segment, until the server has heard enough."""
    for byte in text.encode():
        if wire.reader.at_eof() or wire.writer.is_closing():
            return
        wire.writer.write(bytes([byte]))
        await wire.writer.drain()
        await asyncio.sleep(0)


def memory(options):
    with urllib.request.urlopen(f"http://{options.host}:{options.http_port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    return {kind: float(value) for kind, value in re.findall(r'carillon_memory_bytes{kind="(\w+)"} (\S+)', page)}


async def declarations(options):
    """Security cases 1, 2 and 3: a document type, whole and one byte at a time, before the header and after it, in every
    state; what it costs stays small."""
    before = memory(options)
    for _ in range(8):
        for state in STATES:
            for early in (False, True) if state != "logged in" else (False,):
                for slow in (False, True):
                    wire = await at(options, state, header=not early)
                    text = "<?xml version='1.0'?>" * early + LAUGHS + "<l>&l10;</l>"
                    wire.writer.transport.get_extra_info("socket").setsockopt(6, 1, 1)  # TCP_NODELAY
                    await (drip(wire, text) if slow else asyncio.sleep(0, wire.write(text)))
                    said = await rest(wire)
                    check("restricted-xml" in said, f"a document type {state}", said)
    after = memory(options)
    grown = {kind: after[kind] - before[kind] for kind in before}
    check(before and all(by < 16 << 20 for by in grown.values()), "memory grew", grown)


async def too_early(options):
    """Security case 57: every kind of stanza and every namespace, in every state before a session."""
    for state in STATES:
        for stanza in STANZAS:
            wire = await at(options, state)
            wire.write(stanza)
            said = await rest(wire)
            check("<stream:error>" in said and "not-authorized" in said or state == "in the clear",
                  f"{stanza} {state}", said)
            check("<stream:error>" in said and "<iq" not in said and "<message" not in said, f"{stanza} {state}", said)


async def compression(options):
    """Security case 10: never offered, and refused when it is asked for."""
    ask = "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>"
    for state in STATES:
        wire = await at(options, state)
        wire.write(ask)
        said = await rest(wire)
        check("<compressed" not in said and "<stream:error>" in said, f"compression {state}", said)
    wire = await at(options, "logged in")
    check(wire.features.find("{http://jabber.org/features/compress}compression") is None, "compression is offered")
    await wire.bind("late")
    wire.write(ask)
    async with asyncio.timeout(5):
        await wire.ended()  # a stream that is not ended now has let it pass
    wire.cut()


async def guessable(options):
    """Security case 46: ids of streams and sessions and nonces have 128 bits or more, and none is like another."""
    ids = {"stream": [], "session": [], "nonce": []}
    for _ in range(40):
        wire = await at(options, "inside TLS")
        ids["stream"].append(wire.stream_id)
        wire.password = options.password(0)
        auth = wire._auth

        def noting(name, data, mechanism=None, auth=auth):
            if name == "response":
                ids["nonce"].append(data.decode().split("r=")[1].split(",")[0])
            auth(name, data, mechanism)

        wire._auth = noting
        await wire._sasl("SCRAM-SHA-256", None)
        wire.features = await wire._open()
        await wire.bind("x")
        ids["session"].append(wire.sm_id)
        await wire.close()
    for kind, all_of in ids.items():
        check(len(set(all_of)) == len(all_of), f"a {kind} id came twice")
        # The client's half of a nonce is in front; 24 characters are 18 bytes.
        tails = [text[24:] if kind == "nonce" else text for text in all_of]
        check(len({len(t) for t in tails}) == 1, f"{kind}: not of one length", tails[:3])
        columns = [set(column) for column in zip(*tails)]
        free = sum(len(c) > 4 for c in columns)
        alphabet = 16 if set("".join(tails)) <= set("0123456789abcdef") else 64
        bits = free * (4 if alphabet == 16 else 6)
        check(bits >= 128, f"{kind}: {bits} bits that change", tails[:3])


async def strangers(options):
    """Security case 49: what is offered does not depend on who the stream says it is from."""
    offers = set()
    for name in (options.user(0), options.user(1), "nobody-at-all"):
        wire = await at(options, "inside TLS", header=False)
        write = wire.write
        wire.write = lambda text: write(text.replace("to=", f"from='{name}@{options.domain}' to=", 1))
        features = await wire._open()
        offers.add(ET.tostring(features, "unicode"))
        wire.cut()
    check(len(offers) == 1, "offers differ", offers)


async def resources(options):
    """Security case 58: an account has a number of resources, and no more."""
    wires = []
    for n in range(200):
        wire = await Wire(options, *options.accounts[1]).connect()
        wire.write(f"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r{n}</resource></bind></iq>")
        answer = await wire.expect("{jabber:client}iq")
        wires.append(wire)
        if answer.get("type") == "error":
            condition = answer.find("{jabber:client}error")[0].tag.rsplit("}")[-1]
            check(condition == "resource-constraint", "another condition", condition)
            break
    check(10 <= len(wires) < 200, "resources are not counted", len(wires))
    for wire in wires:
        wire.cut()
    return len(wires) - 1


async def scenario(options):
    await declarations(options)
    await too_early(options)
    await compression(options)
    await guessable(options)
    await strangers(options)
    return {"resources": await resources(options)}


main(scenario, 2)
