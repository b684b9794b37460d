"""The metrics move with what happens: logins, sessions, stanzas by kind, what waits, commits."""

import asyncio
import urllib.request

from scenario import check, main
from wire import SaslRefused, Wire


def page(options):
    """All samples by name and labels."""
    with urllib.request.urlopen(f"http://{options.host}:{options.http_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


async def until(options, holds, what):
    """Gauges are brought up to date about once a second."""
    for _ in range(100):
        now = page(options)
        if holds(now):
            return now
        await asyncio.sleep(0.1)
    check(False, what, {n: v for n, v in now.items() if n.startswith("carillon_")})


async def scenario(options):
    before = page(options)
    romeo, juliet = Wire(options, *options.accounts[0]), Wire(options, *options.accounts[1])
    for wire in (romeo, juliet):
        await wire.connect()
        await wire.bind("wire")
        wire.presence()
    try:
        await Wire(options, options.user(0), "wrong").connect()
        check(False, "a wrong password lets in")
    except SaslRefused:
        pass
    await juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    # From here on juliet takes nothing: what comes for her waits, and is counted in bytes.
    juliet._pump.cancel()
    juliet.write = lambda text: None
    for n in range(20):
        romeo.message(juliet.jid, f"m{n}", "x" * 500)
    await romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    wanted = lambda p: p["carillon_queue_bytes"] > 0 and p["carillon_sessions"] == 2
    after = await until(options, wanted, "two sessions, and the bytes that wait")

    def grew(name, least, most=None):
        by = after[name] - before[name]
        check(least <= by <= (most or least), f"{name} grew by {by}, not by {least} to {most or least}")

    grew('carillon_logins_total{result="ok"}', 2)
    grew('carillon_logins_total{result="refused"}', 1)
    grew('carillon_stanzas_total{direction="in",kind="message"}', 20)
    grew('carillon_stanzas_total{direction="out",kind="message"}', 20)
    grew('carillon_stanzas_total{direction="in",kind="iq"}', 2)
    grew('carillon_stanzas_total{direction="out",kind="iq"}', 2)
    grew('carillon_stanzas_total{direction="in",kind="presence"}', 2)
    grew("carillon_commit_seconds_count", 1, 1000)
    grew('carillon_commit_seconds_bucket{le="+Inf"}', 1, 1000)
    grew("carillon_commit_bytes_total", 20 * 2 * 500, 10_000_000)
    check(after["carillon_commit_seconds_sum"] > before["carillon_commit_seconds_sum"], "commits take time")
    check(after["carillon_store_bytes"] > 0, "the size of the store")
    for wire in (romeo, juliet):
        wire.cut()
    rest = {name for name in page(options) if name not in before}
    check(not rest, "samples that a client's doing made", rest)


main(scenario, 2)
