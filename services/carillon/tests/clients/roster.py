"""The roster: empty, set, pushed to every interested resource, changed, removed."""

from scenario import check, main
from slix import Client, roster_items


async def scenario(options):
    one = await Client(options, 0, "one").login()
    two = await Client(options, 0, "two").login()
    silent = await Client(options, 0, "silent").login(presence=False)
    check(await one.contacts() == {}, "a new account has an empty roster")

    await one.update_roster("nurse@example.org", name="Nurse", groups=["house", "old"])
    for client in (one, two):
        item = (await client.push())["nurse@example.org"]
        check(item["name"] == "Nurse" and item["subscription"] == "none", "the push", item)
    item = (await two.contacts())["nurse@example.org"]
    check(item["groups"] == ["house", "old"], "the groups", item)
    unchanged = await two.get_roster()  # with the version that the client has
    check(roster_items(unchanged) == {}, "nothing is sent of a roster that the client has", unchanged)

    await two.update_roster("nurse@example.org", name="Angelica", groups=[])
    item = (await one.push())["nurse@example.org"]
    check(item["name"] == "Angelica", "the change", item)

    await one.update_roster("nurse@example.org", subscription="remove")
    for client in (one, two):
        item = (await client.push(lambda i: i["nurse@example.org"]["subscription"] == "remove"))
        check(item, "the removal")
    check(await one.contacts() == {}, "the roster is empty again")

    await silent.settled()
    check(silent.pushes.empty(), "a resource that never asked for the roster gets no push")
    for client in (one, two, silent):
        await client.bye()


main(scenario, 1)
