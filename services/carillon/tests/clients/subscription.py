"""Two users subscribe to each other, see each other come and go, and part again (RFC 6121, section 3)."""

from scenario import check, main
from slix import Client


def kind(of, sender):
    return lambda p: p["type"] == of and p["from"].bare == sender


async def scenario(options):
    romeo_jid, juliet_jid = options.jid(0), options.jid(1)
    romeo = await Client(options, 0, "orchard").login()
    juliet = await Client(options, 1, "balcony").login()

    romeo.send_presence(pto=juliet_jid, ptype="subscribe")
    item = (await romeo.push(lambda i: "ask" in i.get(juliet_jid, {}), "ask=subscribe"))[juliet_jid]
    check(item["subscription"] == "none", "asked, and not yet subscribed", item)
    await juliet.presence(kind("subscribe", romeo_jid), "the request")
    check(romeo_jid not in await juliet.contacts(), "a request is no roster item")

    juliet.send_presence(pto=romeo_jid, ptype="subscribed")
    await romeo.push(lambda i: i[juliet_jid]["subscription"] == "to", "subscription=to")
    await juliet.push(lambda i: i[romeo_jid]["subscription"] == "from", "subscription=from")
    await romeo.presence(kind("subscribed", juliet_jid), "subscribed")
    seen = await romeo.presence(kind("available", juliet_jid), "her presence")
    check(seen["from"].resource == "balcony", "her full address", seen)

    juliet.send_presence(pto=romeo_jid, ptype="subscribe")
    await romeo.presence(kind("subscribe", juliet_jid), "her request")
    romeo.send_presence(pto=juliet_jid, ptype="subscribed")
    await romeo.push(lambda i: i[juliet_jid]["subscription"] == "both", "both, at romeo")
    await juliet.push(lambda i: i[romeo_jid]["subscription"] == "both", "both, at juliet")
    await juliet.presence(kind("available", romeo_jid), "his presence")

    romeo.send_presence(pshow="away", pstatus="in exile", ppriority=3)
    seen = await juliet.presence(lambda p: p["show"] == "away", "his new presence")
    check(seen["status"] == "in exile" and seen["priority"] == 3, "carried as sent", seen)

    await romeo.bye()
    await juliet.presence(kind("unavailable", romeo_jid), "that he left")
    romeo = await Client(options, 0, "mantua").login()
    await juliet.presence(lambda p: p["from"] == f"{romeo_jid}/mantua", "that he is back")
    await romeo.presence(kind("available", juliet_jid), "the answer to his probe")
    romeo.cut()
    await juliet.presence(kind("unavailable", romeo_jid), "that his socket is gone")

    romeo = await Client(options, 0, "tomb").login()
    await juliet.presence(lambda p: p["from"] == f"{romeo_jid}/tomb", "that he is back")
    romeo.send_presence(pto=juliet_jid, ptype="unsubscribe")
    await juliet.push(lambda i: i[romeo_jid]["subscription"] == "to", "to, at juliet")
    await romeo.push(lambda i: i[juliet_jid]["subscription"] == "from", "from, at romeo")
    if not options.lenient:  # RFC 6121, section 3.3.3
        await romeo.presence(kind("unavailable", juliet_jid), "that he no longer sees her")
    await juliet.update_roster(romeo_jid, subscription="remove")
    await romeo.push(lambda i: i[juliet_jid]["subscription"] == "none", "none, at romeo")
    await romeo.bye()
    await juliet.bye()


main(scenario, 2)
