"""Security case 59: a password that is looked for in everything that the server wrote, after it really was used: made,
logged in with by each mechanism, wrong, changed, and with a session resumed, all of it logged at the finest level.
"""

import base64
import hashlib

from scenario import check, main
from wire import SaslRefused, Wire

MECHANISMS = ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA-256-PLUS")


async def scenario(options):
    user, password = options.accounts[0]
    for mechanism in MECHANISMS:
        binding = "tls-server-end-point" if mechanism.endswith("-PLUS") else None
        wire = await Wire(options, user, password).connect(mechanism=mechanism, binding=binding)
        await wire.bind("canary")
        wire.presence()
        session = wire.sm_id
        wire.cut()
        await wire.connect(mechanism=mechanism, binding=binding)
        check(await wire.resume(), f"{mechanism}: not resumed")
        answer = await wire.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
        check(answer.get("type") == "result", "a ping")
        await wire.close()
        try:
            await Wire(options, user, password + "-wrong").connect(mechanism=mechanism, binding=binding)
            check(False, f"{mechanism} takes a wrong password")
        except SaslRefused:
            pass
    await options.server(f"user passwd {user} {password}-next")
    await (await Wire(options, user, f"{password}-next").connect()).close()
    plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    # As it is, as PLAIN carries it, as its hash; and a session's id, by which it is resumed.
    for secret in (password, plain, plain[4:-4], hashlib.sha256(password.encode()).hexdigest(), session):
        await options.server(f"unlogged {secret}")
    await options.server(f"logged {user}@{options.domain}")


main(scenario, 1)
