"""What a client of the loss tests knows: a ledger of what it sent, what was acknowledged, and what it got how; and the
oracle that holds two ledgers against both archives.

Every acknowledged message is in both archives, exactly once and in order. Each row of the recipient's archive came by itself
on a session (on which no stanza-id comes twice), or was read in the catch-up that follows a refused resumption; and what lies
before a message that came by itself cannot wait for a catch-up.
"""

import asyncio
from collections import Counter

from scenario import check

CLIENT = "{jabber:client}"
RESULT = "{urn:xmpp:mam:2}result"
SID = "{urn:xmpp:sid:0}stanza-id"


class Ledger:
    """One client's. Ids of messages are `name-000123`."""

    def __init__(self, options, index):
        self.name, self.bare = options.user(index), options.jid(index)
        self.other = options.jid(1 - index)
        self.count = 0
        self.acked = set()
        self.live = {}  # what came by itself: archive id → message id
        self.read = {}  # what only a catch-up brought, likewise
        self.read_to = None  # the archive has been read up to this id
        self.new_session()

    def new_session(self):
        self.session_ids, self.session_last = set(), -1

    def next(self):
        """Id and body of the next message."""
        self.count += 1
        return f"{self.name}-{self.count - 1:06}", f"number {self.count - 1}"

    def received(self, stanza):
        """Whatever comes by itself."""
        check(stanza.get("type") != "error", f"{self.name} got an error", stanza.get("id"))
        if stanza.tag != f"{CLIENT}message" or stanza.find(RESULT) is not None:
            return
        ident = stanza.get("id")
        ids = [e.get("id") for e in stanza.findall(SID) if e.get("by") == self.bare]
        check(len(ids) == 1, f"{self.name}: {ident} came with {len(ids)} stanza-ids")
        check(ids[0] not in self.session_ids, f"{self.name}: {ident} came twice on one session")
        self.session_ids.add(ids[0])
        number = int(ident.split("-")[1])
        check(number > self.session_last, f"{self.name}: {ident} came after {self.session_last}")
        self.session_last = number
        known = self.live.setdefault(ids[0], ident)
        check(known == ident, f"{self.name}: id {ids[0]} stood for {known}, and now for {ident}")

    def caught_up(self, rows):
        """Takes the archive's rows from `read_to` on: what the sessions since then left out."""
        behind = None
        for archive_id, message in rows:
            self.read_to = archive_id
            if not message.get("from", "").startswith(self.other):
                continue
            if archive_id not in self.live:
                self.read[archive_id] = behind = message.get("id")
            else:
                check(not behind, f"{self.name}: {behind} was passed over by {message.get('id')}")

    def figures(self):
        return {"sent": self.count, "live": len(self.live), "only_read": len(self.read.keys() - self.live.keys())}


def in_order(rows, sender, what):
    """The ids of one sender in an archive: each once, ascending."""
    ids = [m.get("id") for _, m in rows if m.get("id", "").startswith(f"{sender}-")]
    twice = sorted(i for i, n in Counter(ids).items() if n > 1)
    check(not twice, f"{what} twice: {twice[:10]} ({len(twice)} in all)")
    back = [(a, b) for a, b in zip(ids, ids[1:]) if a > b]
    check(not back, f"{what} not in order: {back[:5]}")
    return set(ids)


async def judge(ledgers, archives):
    """The oracle: two ledgers against the two archives."""
    for sender, receiver in ((0, 1), (1, 0)):
        name, acked = ledgers[sender].name, ledgers[sender].acked
        for index in (0, 1):
            what = f"{name}'s messages in {ledgers[index].name}'s archive:"
            stored = in_order(archives[index], name, what)
            lost = sorted(acked - stored)
            check(not lost, f"{what} lost {lost[:10]} ({len(lost)} of {len(acked)})")
        theirs = {a: m.get("id") for a, m in archives[receiver] if m.get("id", "").startswith(f"{name}-")}
        to = ledgers[receiver]
        for _ in range(100):  # deliveries that are under way
            missing = sorted(theirs[a] for a in theirs.keys() - to.live.keys() - to.read.keys())
            if not missing:
                break
            await asyncio.sleep(0.1)
        check(not missing, f"{to.name} never got {missing[:10]} ({len(missing)})")
        changed = [(a, i) for a, i in (to.live | to.read).items() if theirs.get(a) != i]
        check(not changed, f"{to.name} got ids that the archive does not have: {changed[:5]}")
