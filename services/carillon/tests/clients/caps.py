"""Entity capabilities of the server (XEP-0115): told after the login and not before, true by their hash, and answered at
their node.
"""

import base64
import hashlib

from scenario import check, main
from wire import Wire

C = "{http://jabber.org/protocol/caps}c"
INFO = "http://jabber.org/protocol/disco#info"


def verification(query):
    """§5.1, for an answer without forms."""
    name = lambda e: "/".join(e.get(k, "") for k in ("category", "type", "{http://www.w3.org/XML/1998/namespace}lang", "name"))
    identities = sorted(name(e) for e in query.iter(f"{{{INFO}}}identity"))
    features = sorted(e.get("var") for e in query.iter(f"{{{INFO}}}feature"))
    text = "".join(f"{part}<" for part in identities + features)
    return base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()


async def scenario(options):
    wire = Wire(options, *options.accounts[0])
    opened, offers = wire._open, []

    async def noting():
        offers.append(await opened())
        return offers[-1]

    wire._open = noting
    await wire.connect()
    check(all(features.find(C) is None for features in offers[:-1]), "told before the login")
    caps = offers[-1].find(C)
    check(caps is not None and caps.get("hash") == "sha-1", "told after the login")
    await wire.bind("caps")
    node, ver = caps.get("node"), caps.get("ver")
    check(node == f"xmpp:{options.domain}", "the node", node)
    for asked, wanted in ((f" node='{node}#{ver}'", f"{node}#{ver}"), ("", None)):
        answer = await wire.iq("get", f"<query xmlns='{INFO}'{asked}/>", to=options.domain)
        query = answer.find(f"{{{INFO}}}query")
        check(answer.get("type") == "result" and query.get("node") == wanted, "an answer", answer.attrib)
        check(verification(query) == ver, "the hash is that of the answer", verification(query), ver)
    for gone in (f"{node}#gone", node, f"{node}x#{ver}"):
        answer = await wire.iq("get", f"<query xmlns='{INFO}' node='{gone}'/>", to=options.domain)
        check(answer.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}item-not-found") is not None, gone)
    await wire.close()


main(scenario, 1)
