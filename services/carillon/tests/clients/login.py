"""slixmpp logs in with one SASL mechanism, by STARTTLS or direct TLS, and gets the resource that it asked for."""

from scenario import check, main
from slix import Client


async def scenario(options):
    direct = options.transport == "direct"
    client = Client(options, 0, "garden", mechanism=options.mechanism)
    await client.login(direct=direct)
    used = client.plugin["feature_mechanisms"].mech.name
    check(used == options.mechanism, f"{options.mechanism} was not used", used)
    check(client.boundjid.full == f"{options.jid(0)}/garden", "another resource", client.boundjid)
    await client.settled()
    version = client.socket.version()
    await client.bye()
    return {"mechanism": used, "tls": version}


main(scenario, 1, [("mechanism", "SCRAM-SHA-256"), ("transport", "starttls")])
