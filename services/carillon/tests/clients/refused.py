"""A wrong password and an unknown user are refused alike: same condition, same steps, same form of the challenge."""

from scenario import check, main
from slix import Client
from wire import SaslRefused, Wire


async def by_slixmpp(options, index, password, mechanism):
    client = Client(options, index, password=password, mechanism=mechanism)
    event, value = await client.connected("failed_auth", "session_start")
    check(event == "failed_auth", f"{options.user(index)} was let in with {mechanism}")
    check(value["condition"] == "not-authorized", "another condition", value)
    await client.bye()


async def challenge(options, user):
    """What the server reveals before it refuses: salt length, iterations, whether the salt stays."""
    salts = []
    for _ in range(2):
        wire = Wire(options, user, "wrong")
        try:
            await wire.connect(mechanism="SCRAM-SHA-256")
            check(False, f"{user} was let in")
        except SaslRefused as refused:
            check(refused.condition == "not-authorized", "another condition", refused.condition)
        salts.append((wire.scram_salt, wire.scram_iterations))
        await wire.close()
    check(options.lenient or salts[0] == salts[1], f"the salt of {user} changes from try to try", salts)
    return len(salts[0][0]), salts[0][1]


async def scenario(options):
    for mechanism in ("SCRAM-SHA-256", "PLAIN"):
        await by_slixmpp(options, 0, "not-the-password", mechanism)
        await by_slixmpp(options, 1, "whatever", mechanism)
    known = await challenge(options, options.user(0))
    unknown = known if options.lenient else await challenge(options, options.user(1))
    check(known == unknown, "known and unknown users get different challenges", known, unknown)
    again = Client(options, 0)
    await again.login()
    await again.bye()
    return {"salt_bytes": known[0], "iterations": known[1]}


main(scenario, 2)  # the second account does not exist
