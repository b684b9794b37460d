"""The archive (XEP-0313, mam:2): pages forward and backward, by contact, by time, by id; both sides alike."""

import asyncio
from datetime import datetime, timezone
from xml.etree import ElementTree as ET

from slixmpp.exceptions import IqError

from scenario import check, main
from slix import Client, stanza_ids

COUNT = 45
PAGE = 10
MAM = "{urn:xmpp:mam:2}"
RSM = "{http://jabber.org/protocol/rsm}"


async def all_pages(client, backward=False, **filters):
    """All rows in order of time, by the library's paging in one direction or the other."""
    plugin = client.plugin["xep_0313"]
    pages = plugin.iterate(reverse=backward, rsm={"max": PAGE}, **filters)
    rows = [row(m.xml) async for m in pages]
    return rows[::-1] if backward else rows


def row(message):
    """The archive's id and the body."""
    result = message.find(f"{MAM}result")
    return result.get("id"), result.findtext(".//{jabber:client}body")


async def page(client, rsm=None, flip=False, **fields):
    """One page by a query that is written out: rows as they came, and the `fin`."""
    iq = client.make_iq_set()
    query = ET.SubElement(iq.xml, f"{MAM}query", queryid=client.new_id())
    form = ET.SubElement(query, "{jabber:x:data}x", type="submit")
    fields = {name.replace("_", "-"): value for name, value in fields.items()}
    for name, values in {"FORM_TYPE": MAM[1:-1], **fields}.items():
        field = ET.SubElement(form, "{jabber:x:data}field", var=name)
        for value in values if isinstance(values, list) else [values]:
            ET.SubElement(field, "{jabber:x:data}value").text = value
    if rsm is not None:
        limits = ET.SubElement(query, f"{RSM}set")
        for name, value in rsm.items():
            ET.SubElement(limits, RSM + name).text = str(value)
    if flip:
        ET.SubElement(query, f"{MAM}flip-page")
    while not client.inbox.empty():
        client.inbox.get_nowait()
    fin = (await iq.send(timeout=10)).xml.find(f"{MAM}fin")
    came = [client.inbox.get_nowait().xml for _ in range(client.inbox.qsize())]
    ours = [m for m in came if m.find(f"{MAM}result") is not None]
    wrong = [m for m in ours if m.find(f"{MAM}result").get("queryid") != query.get("queryid")]
    check(not wrong, "results carry the query's id", wrong)
    rows = [row(m) for m in ours]
    if rows:
        ends = fin.findtext(f".//{RSM}first"), fin.findtext(f".//{RSM}last")
        own = rows[::-1] if flip else rows
        check(ends in ((rows[0][0], rows[-1][0]), (own[0][0], own[-1][0])), "first and last", ends)
    return rows, fin


async def scenario(options):
    romeo = await Client(options, 0, "orchard", plugins=["xep_0313"]).login()
    juliet = await Client(options, 1, "balcony", plugins=["xep_0313"]).login()
    nurse = await Client(options, 2, "kitchen", plugins=["xep_0313"]).login()
    check((await page(romeo))[0] == [], "a new account has an empty archive")

    middle, live = None, {}
    want = []
    for n in range(COUNT):
        sender, to = ((romeo, 1), (juliet, 0), (nurse, 0))[n % 3]
        sender.say(options.jid(to), f"message {n}")
        receiver = (romeo, juliet)[to]
        got = await receiver.body(f"message {n}")
        live[f"message {n}"] = stanza_ids(got, options.jid(to))
        want.append(f"message {n}")
        if n == COUNT // 2:
            await asyncio.sleep(1.1)  # the library writes whole seconds
            middle = datetime.now(timezone.utc)
            await asyncio.sleep(1.1)

    rows = await all_pages(romeo)
    check([b for _, b in rows] == want, "all, in order", rows)
    check(len({i for i, _ in rows}) == COUNT, "each id once")
    check(await all_pages(romeo, backward=True) == rows, "the same from the end")
    for ident, body in rows:
        if int(body.split()[1]) % 3:
            check(live[body] == [ident], "the id of live delivery is the archive's", body, ident)

    with_juliet = [r for r in rows if int(r[1].split()[1]) % 3 != 2]
    for backward in (False, True):
        got = await all_pages(romeo, backward, with_jid=options.jid(1))
        check(got == with_juliet, "by contact", got)
    hers = await all_pages(juliet)
    check([b for _, b in hers] == [b for _, b in with_juliet], "her side of it", hers)

    late = await all_pages(romeo, start=middle)
    early = await all_pages(romeo, end=middle)
    check(early + late == rows, "by time", len(early), len(late))
    check(len(early) == COUNT // 2 + 1, "cut in the middle", len(early))

    got, rsm = [], {"max": PAGE, "before": ""}
    while True:
        found, fin = await page(romeo, rsm)
        check(len(found) <= PAGE, "a page is at most what was asked for", len(found))
        got = found + got
        if fin.get("complete") == "true":
            break
        check(found, "an empty page that is not the last one")
        rsm = {"max": PAGE, "before": found[0][0]}
    check(got == rows, "pages from the end, written out", got)
    found, fin = await page(romeo, {"max": 5, "before": ""})
    check(found == rows[-5:] and fin.get("complete") != "true", "the last page", found)
    found, fin = await page(romeo, {"max": 100, "after": rows[-3][0]})
    check(found == rows[-2:] and fin.get("complete") == "true", "after an id, to the end", found)
    try:
        await page(romeo, {"max": 5, "after": "no-such-id"})
        check(False, "an unknown id is an error")
    except IqError as error:
        check(error.condition == "item-not-found", "the condition", error.condition)
    await extended(romeo, rows, options)
    for client in (romeo, juliet, nurse):
        await client.bye()
    return {"rows": len(rows)}


async def extended(client, rows, options):
    """What `urn:xmpp:mam:2#extended` promises, where it is announced."""
    info = await client.plugin["xep_0030"].get_info(jid=options.jid(0))
    features = info["disco_info"]["features"]
    check("urn:xmpp:mam:2" in features, "the account announces its archive", features)
    if "urn:xmpp:mam:2#extended" not in features:
        check(options.lenient, "the archive is not extended", features)
        return
    meta = (await client.plugin["xep_0313"].get_archive_metadata()).xml
    ends = [meta.find(f".//{MAM}{e}").get("id") for e in ("start", "end")]
    check(ends == [rows[0][0], rows[-1][0]], "metadata names both ends", ends)
    for field, found in (
        ({"before_id": rows[7][0]}, rows[:7]),
        ({"after_id": rows[40][0]}, rows[41:]),
        ({"ids": [rows[3][0], rows[9][0]]}, [rows[3], rows[9]]),
    ):
        got, _ = await page(client, **field)
        check(got == found, f"by {field}", got)
    flipped, _ = await page(client, flip=True, after_id=rows[40][0])
    check(flipped == rows[:40:-1], "flip-page turns the page round", flipped)


main(scenario, 3)
