"""Chat between two users: to the full and the bare address, in order, with children kept, and errors returned."""

from xml.etree import ElementTree

from scenario import check, main
from slix import Client, stanza_ids


async def scenario(options):
    romeo = await Client(options, 0, "orchard").login()
    juliet = await Client(options, 1, "balcony").login(direct=True)

    sent = romeo.say(juliet.boundjid.full, "But, soft! what light…")
    got = await juliet.body("But, soft! what light…")
    check(got["from"] == romeo.boundjid and got["id"] == sent, "sender and id", got)
    check(got["to"] == juliet.boundjid, "to the full address", got)
    ids = stanza_ids(got, options.jid(1))
    check(len(ids) == 1, "one stanza-id by her own account", got)

    lines = [f"line {n} <&> \u2764 \U0001f339" for n in range(200)]
    for line in lines:
        juliet.say(options.jid(0), line)
    for line in lines:
        got = await romeo.message(lambda m: m["body"], "the next line")
        check(got["body"] == line, "in order", got)
        check(got["to"].bare == options.jid(0), "to the bare address", got)

    extra = '<x xmlns="urn:example:a" y="1&quot;"><z xmlns="urn:example:b">\u00e9</z></x>'
    message = romeo.make_message(mto=options.jid(1), mbody="with more", mtype="chat")
    message.append(ElementTree.fromstring(extra))
    forged = '<stanza-id xmlns="urn:xmpp:sid:0" id="forged" by="%s"/>' % options.jid(1)
    message.append(ElementTree.fromstring(forged))
    message.send()
    got = await juliet.body("with more")
    inner = got.xml.find("{urn:example:a}x")
    check(inner is not None and inner.get("y") == '1"', "an unknown child is carried", got)
    check(inner.find("{urn:example:b}z").text == "\u00e9", "with its own children", got)
    ids = stanza_ids(got, options.jid(1))
    check(options.lenient or len(ids) == 1 and ids[0] != "forged", "a forged stanza-id is removed", ids)

    sent = romeo.say(f"nobody-here@{options.domain}", "anyone?")
    error = await romeo.message(lambda m: m["type"] == "error", "an error from nobody")
    check(error["id"] == sent and error["error"]["type"] == "cancel", "the error", error)
    check(error["error"]["condition"] == "service-unavailable", "the condition", error)
    await romeo.bye()
    await juliet.bye()


main(scenario, 2)
