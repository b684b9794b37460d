"""Two clients under load, the server killed -9 again and again: nothing acknowledged is lost or doubled.

Each client sends numbered messages to the other, cuts its own socket now and then, and keeps a ledger: what it sent, what
was acknowledged, what it received. After a loss it resumes. Where the server answers `<failed h='…'/>`, it takes
what `h` covers as acknowledged, binds anew, reads its archive from where it had read to, and sends again only
what is beyond `h`, with the same ids.

At the end both archives and what each client got, by stanza-id, are held against the ledgers: every
acknowledged message exactly once and in order. On one session no stanza-id comes twice.
"""

import asyncio
import random
from collections import Counter

from scenario import check, main
from wire import CLIENT, Closed, Wire

SID = "{urn:xmpp:sid:0}stanza-id"
RETRY_S = 0.05
UNACKED_MAX = 100
ASK_EVERY = 10


class Peer:
    """One client with its ledger."""

    def __init__(self, options, index, dice):
        self.options, self.dice = options, dice
        self.name = options.user(index)
        self.other = options.jid(1 - index)
        self.wire = Wire(options, *options.accounts[index])
        self.wire.on_stanza = self.received
        self.wire.on_acked = self.acknowledged
        self.count = 0
        self.waiting = []  # (id, body) to be sent again on a new session
        self.acked = set()
        self.got = {}  # archive id → message id
        self.read_to = None  # the archive has been read up to this id
        self.session_ids, self.session_last = set(), -1
        self.ready = False  # presence is out, and what waited was sent again
        self.online = asyncio.Event()
        self.sending = True
        self.stats = dict.fromkeys(("resumed", "failed", "bound", "resent", "failed_without_h"), 0)

    # The ledger

    def acknowledged(self, kind, text):
        if kind == "message":
            self.acked.add(text.split('id="')[1].split('"')[0])

    def received(self, stanza):
        check(stanza.get("type") != "error", f"{self.name} got an error", stanza.get("id"))
        if stanza.tag != f"{CLIENT}message" or stanza.find("{urn:xmpp:mam:2}result") is not None:
            return
        ident = stanza.get("id")
        ids = [e.get("id") for e in stanza.findall(SID) if e.get("by") == self.wire.bare]
        check(len(ids) == 1, f"{self.name}: {ident} came with {len(ids)} stanza-ids")
        check(ids[0] not in self.session_ids, f"{self.name}: {ident} came twice on one session")
        self.session_ids.add(ids[0])
        number = int(ident.split("-")[1])
        check(number > self.session_last, f"{self.name}: {ident} came after {self.session_last}")
        self.session_last = number
        self.note(ids[0], ident)

    def note(self, archive_id, ident):
        known = self.got.setdefault(archive_id, ident)
        check(known == ident, f"{self.name}: id {archive_id} stood for {known}, and now for {ident}")

    # The connection

    async def live(self):
        """Connects for ever, with whatever the server allows."""
        while True:
            try:
                await self.session()
                await self.wire.ended()
            except (Closed, OSError, TimeoutError):
                pass
            finally:
                self.online.clear()
                self.wire.cut()
            if self.wire.fault:
                raise self.wire.fault
            await asyncio.sleep(RETRY_S * self.dice.random())

    async def session(self):
        async with asyncio.timeout(20):
            await self.wire.connect(direct=self.dice.random() < 0.5)
            if self.wire.sm_id:
                if await self.wire.resume():
                    self.stats["resumed"] += 1
                else:
                    self.refused()
            if not self.wire.sm_id:
                self.ready, self.session_ids, self.session_last = False, set(), -1
                await self.wire.bind("loss")
                self.stats["bound"] += 1
        if not self.ready:
            await self.catch_up()
            self.wire.presence()
            while self.waiting:
                self.stats["resent"] += 1
                self.wire.message(self.other, *self.waiting.pop(0))
            self.ready = True
        self.online.set()

    def refused(self):
        """After `<failed/>`: what its `h` does not cover goes out again, before anything new."""
        self.stats["failed"] += 1
        if self.wire.failed_h is None:
            self.stats["failed_without_h"] += 1
        beyond = [(t.split('id="')[1].split('"')[0], t) for _, k, t in self.wire.unacked if k == "message"]
        again = [(ident, text.split("<body>")[1].split("</body>")[0]) for ident, text in beyond]
        self.waiting = again + self.waiting
        self.wire.unacked.clear()

    async def catch_up(self):
        """Reads the archive from where it had been read to."""
        for archive_id, message in await self.wire.archive(after=self.read_to):
            self.read_to = archive_id
            if message.get("from", "").startswith(self.other):
                self.note(archive_id, message.get("id"))

    # The load

    async def load(self):
        while self.sending:
            await self.online.wait()
            try:
                if self.wire.sent - self.wire.acked < UNACKED_MAX:
                    ident, body = f"{self.name}-{self.count:06}", f"number {self.count}"
                    self.count += 1
                    # From here on it is in `unacked`, even where the socket is found to be gone.
                    self.wire.message(self.other, ident, body)
                if self.count % ASK_EVERY == 0:
                    self.wire.request_ack()
            except Closed:
                self.online.clear()
            await asyncio.sleep(self.dice.random() * 2 / self.options.rate)
            if self.dice.random() < self.options.cuts / self.options.rate:
                self.wire.cut_now()

    async def drained(self):
        """Everything is acknowledged."""
        while len(self.acked) < self.count:
            await self.online.wait()
            try:
                self.wire.request_ack()
            except Closed:
                pass
            await asyncio.sleep(0.1)


def in_order(rows, sender, what):
    """The ids of one sender in an archive: each once, ascending."""
    ids = [m.get("id") for _, m in rows if m.get("id", "").startswith(f"{sender}-")]
    twice = sorted(i for i, n in Counter(ids).items() if n > 1)
    check(not twice, f"{what} twice: {twice[:10]} ({len(twice)} in all)")
    back = [(a, b) for a, b in zip(ids, ids[1:]) if a > b]
    check(not back, f"{what} not in order: {back[:5]}")
    return set(ids)


async def judge(peers):
    """The oracle: ledgers against archives and against what was received."""
    archives = [await p.wire.archive() for p in peers]
    for sender, receiver in ((0, 1), (1, 0)):
        name, acked = peers[sender].name, peers[sender].acked
        for index in (0, 1):
            what = f"{name}'s messages in {peers[index].name}'s archive:"
            stored = in_order(archives[index], name, what)
            lost = sorted(acked - stored)
            check(not lost, f"{what} lost {lost[:10]} ({len(lost)} of {len(acked)})")
        theirs = {a: m.get("id") for a, m in archives[receiver] if m.get("id", "").startswith(f"{name}-")}
        got = peers[receiver].got
        missing = sorted(set(theirs.values()) - set(got.values()))
        check(not missing, f"{peers[receiver].name} never got {missing[:10]} ({len(missing)})")
        changed = [(a, i) for a, i in got.items() if theirs.get(a) != i]
        check(not changed, f"{peers[receiver].name} got ids that the archive does not have: {changed[:5]}")


async def scenario(options):
    dice = random.Random(options.seed)
    peers = [Peer(options, n, random.Random(dice.random())) for n in (0, 1)]
    lives = [asyncio.ensure_future(p.live()) for p in peers]
    loads = [asyncio.ensure_future(p.load()) for p in peers]

    async def trouble():
        for _ in range(options.kills):
            if dice.random() < 0.8:  # else it is killed while clients are coming back
                await asyncio.gather(*(p.online.wait() for p in peers))
            await asyncio.sleep(dice.random() * options.pause)
            await options.server("kill")
        await asyncio.gather(*(p.online.wait() for p in peers))
        await asyncio.sleep(options.pause)
        for peer in peers:
            peer.sending = False
        await asyncio.gather(*loads, *(p.drained() for p in peers))
        await asyncio.sleep(1)  # deliveries that are under way
        for peer in peers:
            await peer.catch_up()
        await judge(peers)

    work = asyncio.ensure_future(trouble())
    done, _ = await asyncio.wait([work, *lives, *loads], return_when=asyncio.FIRST_COMPLETED)
    while work not in done and all(t in loads and not t.exception() for t in done):
        done, _ = await asyncio.wait([work, *lives], return_when=asyncio.FIRST_COMPLETED)
    for task in (work, *lives, *loads):
        if task in done and task.exception():
            raise task.exception()
        task.cancel()
    if not options.lenient:
        happened = all(sum(p.stats[s] for p in peers) for s in ("failed", "resumed", "resent"))
        check(options.kills < 10 or happened, "too little went wrong", *(p.stats for p in peers))
        for peer in peers:
            check(not peer.stats["failed_without_h"], f"{peer.name}: <failed/> without h", peer.stats)
    for peer in peers:
        await peer.wire.close()
    return {"kills": options.kills, "seed": options.seed,
            **{p.name: {"sent": p.count, "got": len(p.got), **p.stats} for p in peers}}


main(scenario, 2, [("kills", 50), ("seed", 1), ("rate", 200.0), ("cuts", 0.5), ("pause", 0.6)])
