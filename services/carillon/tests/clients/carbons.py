"""Message carbons on two resources (XEP-0280): copies of what is sent and received, and none where none belongs."""

from scenario import check, main
from slix import Client

WRAPPED = "{urn:xmpp:carbons:2}%s/{urn:xmpp:forward:0}forwarded/{jabber:client}message"


def carbon(direction, text):
    def wanted(message):
        inner = message.xml.find(WRAPPED % direction)
        return inner is not None and inner.findtext("{jabber:client}body") == text
    return wanted


async def scenario(options):
    phone = await Client(options, 0, "phone", plugins=["xep_0280"]).login()
    desk = await Client(options, 0, "desk", plugins=["xep_0280"]).login()
    plain = await Client(options, 0, "plain").login()
    juliet = await Client(options, 1, "balcony").login()
    for client in (phone, desk):
        await client.plugin["xep_0280"].enable()

    juliet.say(phone.boundjid.full, "to the phone")
    await phone.body("to the phone")
    copy = await desk.message(carbon("received", "to the phone"), "a received carbon")
    check(copy["from"] == options.jid(0), "a carbon comes from the own bare address", copy)
    inner = copy.xml.find(WRAPPED % "received")
    check(inner.get("to") == phone.boundjid.full, "addresses inside are kept", copy)
    ids = [e.get("id") for e in inner.iter("{urn:xmpp:sid:0}stanza-id")]
    check(len(ids) == 1, "the copy carries the archive's id", copy)

    phone.say(options.jid(1), "from the phone")
    await juliet.body("from the phone")
    await desk.message(carbon("sent", "from the phone"), "a sent carbon")

    private = phone.make_message(mto=options.jid(1), mbody="for you alone", mtype="chat")
    private["carbon_private"]
    private.enable("carbon_private")
    private.send()
    got = await juliet.body("for you alone")
    check(got.xml.find("{urn:xmpp:carbons:2}private") is None, "the mark is taken off", got)

    forged = juliet.make_message(mto=desk.boundjid.full, mtype="chat")
    forged["carbon_received"] = juliet.make_message(mto=options.jid(0), mbody="forged")
    forged.send()
    await desk.plugin["xep_0280"].disable()
    juliet.say(phone.boundjid.full, "after disabling")
    await phone.body("after disabling")
    for client in (phone, desk, plain, juliet):
        await client.settled()
    for text in ("for you alone", "after disabling"):
        for way in ("sent", "received"):
            await desk.nothing(desk.inbox, carbon(way, text), f"a carbon of {text!r}")
    wrapped = lambda m: "urn:xmpp:carbons:2" in str(m)
    await phone.nothing(phone.inbox, carbon("sent", "from the phone"), "a copy of its own message")
    await plain.nothing(plain.inbox, wrapped, "a carbon without asking")
    await juliet.nothing(juliet.inbox, wrapped, "a carbon of another account")
    for client in (phone, desk, plain, juliet):
        await client.bye()


main(scenario, 2)
