"""What an operator does to an account, as its clients see it: disabled, given another password, deleted.

Sessions that are there are cut, logins are refused like those of nobody's account, and no session of before goes on.
"""

import asyncio

from scenario import check, main
from wire import CLIENT, Closed, SaslRefused, Wire

MECHANISMS = ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512")
ROSTER = "jabber:iq:roster"


async def cut(wire, why):
    """The live session ends, with the right error."""
    async with asyncio.timeout(10):
        try:
            await wire.ended()
        except Closed:
            pass
    check("not-authorized" in wire.end, f"{why}: the stream ends with not-authorized", wire.end)
    wire.cut()


async def session(options, index, resource, password=None):
    wire = Wire(options, options.user(index), password or options.password(index))
    read, wire.end = wire.read, ""

    async def noting():
        try:
            return await read()
        except Closed as closed:
            wire.end = str(closed)
            raise

    wire.read = noting
    await wire.connect()
    await wire.bind(resource)
    wire.presence()
    return wire


async def refused(options, index, password=None, condition="not-authorized"):
    """No mechanism lets the account in, and all say the same (security case 34)."""
    for mechanism in MECHANISMS:
        wire = Wire(options, options.user(index), password or options.password(index))
        try:
            await wire.connect(mechanism=mechanism)
            check(False, f"{mechanism} lets {options.user(index)} in")
        except SaslRefused as no:
            check(no.condition == condition, f"{mechanism}: another condition", no.condition)
        wire.cut()


async def not_resumed(wires, why, password=None):
    """Sessions of before, live or lost, do not go on under a new login."""
    for wire in wires:
        wire.password = password or wire.password
        await wire.connect()
        check(not await wire.resume(), f"{why}: a session of before was resumed")
        wire.cut()


async def pair(options, index, password=None):
    """Two sessions: one that is there, one whose socket is lost."""
    live = await session(options, index, "live", password)
    lost = await session(options, index, "lost", password)
    lost.request_ack()
    await asyncio.sleep(0.2)
    lost.cut()
    return live, lost


async def scenario(options):
    romeo = await session(options, 0, "watch")
    user = options.user(1)

    both = await pair(options, 1)
    await options.server(f"user disable {user}")
    await cut(both[0], "disable")
    # Only who knows the password is told that the account is disabled.
    await refused(options, 1, condition="account-disabled")
    await refused(options, 1, "wrong")
    await options.server(f"user enable {user}")
    await not_resumed(both, "disable")

    both = await pair(options, 1)
    await options.server(f"user passwd {user} another-one")
    await cut(both[0], "passwd")
    await refused(options, 1)
    await not_resumed(both, "passwd", "another-one")

    # Rows of each kind: a contact, a message in the archive, one that waits, a stored session.
    juliet = await session(options, 1, "live", "another-one")
    added = await juliet.iq("set", f"<query xmlns='{ROSTER}'><item jid='{romeo.bare}' name='R'/></query>")
    check(added.get("type") == "result", "a contact")
    romeo.message(juliet.bare, "m0", "read")
    juliet.message(romeo.bare, "m1", "sent")
    while not await juliet.archive():
        await asyncio.sleep(0.1)
    await juliet.close()
    romeo.message(romeo.jid.replace(options.user(0), user), "m2", "to nobody who is there")
    romeo.message(juliet.bare, "m3", "waits")
    both = await pair(options, 1, "another-one")
    await options.server(f"user delete {user}")
    await cut(both[0], "delete")
    await refused(options, 1, "another-one")
    answer = await romeo.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to=juliet.bare)
    check(answer.get("type") == "error", "a deleted account answers")
    await options.server(f"user add {user} a-third-one")
    await not_resumed(both, "delete", "a-third-one")
    got = []
    juliet = await session(options, 1, "live", "a-third-one")
    juliet.on_stanza = lambda s: s.tag == f"{CLIENT}message" and got.append(s.get("id"))
    roster = await juliet.iq("get", f"<query xmlns='{ROSTER}'/>")
    check(not list(roster.iter(f"{{{ROSTER}}}item")), "a roster from before")
    check(not await juliet.archive(), "an archive from before")
    check(not got, "messages from before", got)
    for wire in (romeo, juliet):
        await wire.close()


main(scenario, 2)
