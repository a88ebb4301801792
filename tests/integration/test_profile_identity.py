"""Who is who: identities that turn out to be one person's, and those that are told apart."""

from __future__ import annotations

from camino.profile.v1 import profile_service_pb2 as pb

from services.chassis.clock import SECOND
from tests.served_people import FAILED, OK, ServedPeople, event, identity, names, person, refusal, seconds, texts

DEVICE = "device:tablet"


async def two_who_are_merged(people: ServedPeople) -> tuple[str, str]:
    """The id of Ana, of whom an email was known first, and the one that her phone had."""
    older = await people.tell(person("email:ana@example.com", name="Ana"))
    people.clock.advance(SECOND)
    younger = await people.tell(person("phone:+34911234567", city="Madrid"))
    await people.tell(person("phone:+34911234567", "email:ana@example.com", tier="gold"))
    return older, younger


# --- one person -------------------------------------------------------------------------------------------------------


async def test_profiles_that_turn_out_to_be_one_person_become_the_oldest(people: ServedPeople) -> None:
    older, younger = await two_who_are_merged(people)
    assert older != younger
    [merged] = await people.everybody()
    assert merged.profile_id == older
    assert list(merged.merged_profile_ids) == [younger]
    assert names(merged.identities) == ["email:ana@example.com", "phone:+34911234567"]
    assert texts(merged) == {"name": "Ana", "city": "Madrid", "tier": "gold"}


async def test_the_oldest_stays_whatever_its_identity_is(people: ServedPeople) -> None:
    older = await people.tell(person(DEVICE))
    people.clock.advance(SECOND)
    younger = await people.tell(person("user_id:1"))
    people.clock.advance(SECOND)
    assert await people.tell(person("user_id:1", DEVICE)) == older
    assert (await people.who("user_id:1")).merged_profile_ids == [younger]


async def test_the_id_of_a_merged_profile_means_the_one_that_stays(people: ServedPeople) -> None:
    older, younger = await two_who_are_merged(people)
    stays = await people.profile(profile_id=younger)
    assert stays == await people.profile(profile_id=older)

    batch = pb.BatchGetProfilesRequest(workspace_id="shop", profile_ids=[younger, older, "nobody"])
    batch.identities.append(identity("phone:+34 911 23 45 67"))
    answer = await people.stub.BatchGetProfiles(batch)
    assert list(answer.profiles) == [stays]
    assert dict(answer.merged_into) == {younger: older}
    assert [(owner.identity, owner.profile_id) for owner in answer.owners] == [(batch.identities[0], older)]

    [taken] = await people.events(pb.EventInput(event_id="e1", type="purchase", profile_id=younger))
    assert (taken.outcome, taken.profile_id) == (OK, older)
    assert await people.event_ids(younger) == ["e1"]
    assert (await people.graph(profile_id=younger)).profile_id == older
    assert await people.timeline(younger) == await people.timeline(older)
    assert (await people.unlink(younger, "phone:+34911234567")).profile_id == older


async def test_owners_are_told_for_each_identity_as_it_was_asked_for(people: ServedPeople) -> None:
    ana = await people.tell(person("email:ana@example.com"))
    asked = [identity(f"email:{email}") for email in ("Ana@Example.com", "ana@example.com", "bo@example.com")]
    request = pb.BatchGetProfilesRequest(workspace_id="shop", identities=asked)
    answer = await people.stub.BatchGetProfiles(request)
    assert [profile.profile_id for profile in answer.profiles] == [ana]
    assert {(owner.identity.value, owner.profile_id) for owner in answer.owners} == {
        ("Ana@Example.com", ana),
        ("ana@example.com", ana),
    }


async def test_merged_profiles_that_are_merged_again_are_all_known(people: ServedPeople) -> None:
    ids = []
    for number in range(4):
        ids.append(await people.tell(person(f"card:{number}")))
        people.clock.advance(SECOND)
    await people.tell(person("card:2", "card:3"))
    await people.tell(person("card:1", "card:2"))
    await people.tell(person("card:0", "card:3"))
    [profile] = await people.everybody()
    assert profile.profile_id == ids[0]
    assert set(profile.merged_profile_ids) == set(ids[1:])
    for merged in ids[1:]:
        assert (await people.profile(profile_id=merged)) == profile


async def test_one_item_makes_one_person_of_many(people: ServedPeople) -> None:
    ids = [await people.tell(person(f"card:{number}", **{f"n{number}": "x"})) for number in range(12)]
    stays = await people.tell(person(*(f"card:{number}" for number in range(12))))
    [profile] = await people.everybody()
    assert profile.profile_id == stays == min(ids)
    assert set(profile.merged_profile_ids) == set(ids) - {stays}
    assert texts(profile).keys() == {f"n{number}" for number in range(12)}


async def test_the_revision_grows_with_a_merge_and_not_with_its_repetition(people: ServedPeople) -> None:
    older, _ = await two_who_are_merged(people)
    before = await people.profile(profile_id=older)
    assert before.revision >= 2
    await people.tell(person("phone:+34911234567", "email:ana@example.com", ago=0))
    repeated = person("phone:+34911234567", "email:ana@example.com", ago=5)
    await people.tell(repeated, repeated)
    assert await people.profile(profile_id=older) == before


# --- people who are told apart ----------------------------------------------------------------------------------------


async def test_what_is_said_of_two_users_at_once_is_a_conflict_and_the_rest_is_taken(people: ServedPeople) -> None:
    results = await people.profiles(
        person("user_id:1", name="Ana"), person("user_id:1", "user_id:2", name="Both"), person("user_id:2", name="Bo")
    )
    assert [result.outcome for result in results] == [OK, FAILED, OK]
    assert results[1].error.reason == pb.ItemError(reason="REASON_IDENTITY_CONFLICT").reason
    assert "user_id" in results[1].error.message
    assert (await people.who("user_id:1")).attributes["name"].value.string_value == "Ana"
    assert (await people.who("user_id:2")).attributes["name"].value.string_value == "Bo"
    assert (await refusal(people.link("user_id:3", "user_id:4"))).reason_name == "IDENTITY_CONFLICT"
    assert await people.whose("user_id:3") == ""


async def test_two_spellings_of_one_identity_are_no_conflict(people: ServedPeople) -> None:
    await people.declare(namespaces=[{"name": "email", "priority": 500, "unique": True}])
    await people.tell(person("email:Ana@Example.com", "email: ana@example.com "))
    [profile] = await people.everybody()
    assert names(profile.identities) == ["email:ana@example.com"]


async def test_a_shared_device_follows_whoever_signed_in_last(people: ServedPeople) -> None:
    ana = await people.tell(person("user_id:ana", DEVICE, ago=100, name="Ana"))
    bo = await people.tell(person("user_id:bo", DEVICE, ago=50, name="Bo"))
    assert ana != bo
    assert await people.whose(DEVICE) == bo
    assert texts(await people.who("user_id:ana")) == {"name": "Ana"}
    assert await people.tell(person("user_id:ana", DEVICE, ago=20)) == ana
    assert await people.whose(DEVICE) == ana
    assert names((await people.who("user_id:bo")).identities) == ["user_id:bo"]
    assert {profile.profile_id for profile in await people.everybody()} == {ana, bo}


async def test_who_signed_in_before_that_is_told_that_the_device_is_somebody_elses(people: ServedPeople) -> None:
    bo = await people.tell(person("user_id:bo", DEVICE, ago=50))
    [late] = await people.profiles(person("user_id:ana", DEVICE, ago=100, name="Ana"))
    assert late.outcome == OK
    assert names(late.not_linked) == [DEVICE]
    assert await people.whose(DEVICE) == bo
    assert texts(await people.profile(profile_id=late.profile_id)) == {"name": "Ana"}
    linked = await people.link("user_id:ana", DEVICE, ago=90)
    assert names(linked.not_linked) == [DEVICE]
    assert linked.profile.profile_id == late.profile_id


async def test_what_a_device_did_before_the_first_sign_in_is_that_persons_for_good(people: ServedPeople) -> None:
    await people.events(event("anonymous", DEVICE, "visit", ago=200))
    await people.tell(person(DEVICE, ago=190, language="es"))
    ana = await people.tell(person("user_id:ana", DEVICE, ago=100))
    await people.events(event("hers", DEVICE, "visit", ago=90))
    bo = await people.tell(person("user_id:bo", DEVICE, ago=50))
    [his] = await people.events(event("his", DEVICE, "visit", ago=40))
    assert his.profile_id == bo
    assert await people.event_ids(ana) == ["hers", "anonymous"]
    assert await people.event_ids(bo) == ["his"]
    assert texts(await people.who("user_id:ana")) == {"language": "es"}
    assert texts(await people.who("user_id:bo")) == {}


async def test_two_users_of_one_email_are_told_apart_and_the_email_is_the_newest_ones(people: ServedPeople) -> None:
    first = await people.tell(person("user_id:1", "email:shared@example.com", ago=100))
    second = await people.tell(person("user_id:2", "email:shared@example.com", "phone:+34911234567", ago=50))
    assert first != second
    assert await people.whose("email:shared@example.com") == second
    [result] = await people.profiles(person("user_id:1", "phone:+34911234567", ago=70))
    assert (result.profile_id, names(result.not_linked)) == (first, ["phone:+34911234567"])


async def test_identities_that_are_somebody_elses_are_named_as_the_item_has_them(people: ServedPeople) -> None:
    theirs = ["device:b", "email:bo@example.com", "device:a"]
    await people.tell(person("user_id:bo", *theirs, ago=10))
    [result] = await people.profiles(
        person("device:b", "device:mine", "email: Bo@example.com", "user_id:ana", "device:a", ago=20)
    )
    assert names(result.not_linked) == theirs
    assert await people.whose("device:mine") == result.profile_id != await people.whose("device:b")


async def test_a_person_has_one_value_of_each_unique_namespace(people: ServedPeople) -> None:
    await people.declare(namespaces=[{"name": "crm", "priority": 600, "unique": True}])
    one = await people.tell(person("user_id:1", "crm:a", ago=100, name="One"))
    two = await people.tell(person("user_id:2", "crm:b", ago=90, name="Two"))
    # The newest of three links that can't all hold.
    [result] = await people.profiles(person("user_id:1", "crm:b", ago=50))
    assert (result.outcome, result.profile_id, list(result.not_linked)) == (OK, one, [])
    found = {profile.profile_id: names(profile.identities) for profile in await people.everybody()}
    assert found[one] == ["user_id:1", "crm:b"]
    assert found[two] == ["user_id:2"]
    alone = await people.who("crm:a")
    assert alone.profile_id not in (one, two)
    assert not alone.attributes
    assert len(found) == 3
    # Links through what is unique tell apart what else is linked with it.
    [moved] = await people.profiles(person("crm:a", "user_id:2", ago=40))
    assert (moved.profile_id, list(moved.not_linked)) == (two, [])
    assert names((await people.profile(profile_id=two)).identities) == ["user_id:2", "crm:a"]


async def test_a_link_of_higher_priority_holds_though_another_is_newer(people: ServedPeople) -> None:
    await people.declare(namespaces=[{"name": "crm", "priority": 600, "unique": True}])
    await people.tell(person("user_id:1", "crm:a", ago=1000))
    # The phone knows a crm of another person: newer, but of lower priority than what it stands against.
    await people.tell(person("crm:b", "phone:+34911234567", ago=500))
    [result] = await people.profiles(person("phone:+34911234567", "user_id:1", ago=10))
    assert list(result.not_linked) == []
    assert names((await people.who("user_id:1")).identities) == ["user_id:1", "crm:a", "phone:+34911234567"]
    assert names((await people.who("crm:b")).identities) == ["crm:b"]


async def test_who_gets_a_new_identity_and_somebody_elses_is_merged_with_nobody(people: ServedPeople) -> None:
    await people.tell(person("user_id:ana", DEVICE, ago=100), person("user_id:bo", ago=90))
    bo = (await people.link("user_id:bo", DEVICE, "email:bo@example.com", ago=50)).profile
    assert names(bo.identities) == ["user_id:bo", "email:bo@example.com", DEVICE]
    assert list(bo.merged_profile_ids) == []
    assert len(await people.everybody()) == 2


async def test_a_namespace_that_is_not_declared_is_of_little_weight_and_not_unique(people: ServedPeople) -> None:
    profile_id = await people.tell(
        person("loyalty: A ", "loyalty:a", "push_token:t", "email:ana@example.com", "user_id:1")
    )
    profile = await people.profile(profile_id=profile_id)
    assert names(profile.identities) == [
        "user_id:1",
        "email:ana@example.com",
        "loyalty: A ",
        "loyalty:a",
        "push_token:t",
    ]
    assert await people.whose("loyalty:A") == ""


# --- linking and unlinking --------------------------------------------------------------------------------------------


async def test_linking_says_what_an_item_says(people: ServedPeople) -> None:
    made = await people.link("email:Ana@example.com", "card:1")
    assert names(made.profile.identities) == ["email:ana@example.com", "card:1"]
    people.clock.advance(SECOND)
    other = await people.tell(person("card:2", name="Ana"))
    linked = await people.link("card:2", "card:1")
    assert linked.profile == await people.who("card:2")
    assert linked.profile.profile_id == made.profile.profile_id
    assert list(linked.profile.merged_profile_ids) == [other]
    assert texts(linked.profile) == {"name": "Ana"}
    again = await people.link("card:2", "card:1")
    assert again.profile == linked.profile


async def test_an_identity_that_is_unlinked_is_nobodys_until_it_is_named_again(people: ServedPeople) -> None:
    ana = await people.tell(person("user_id:ana", DEVICE, ago=100, name="Ana"))
    await people.events(event("e1", DEVICE))
    before = await people.profile(profile_id=ana)
    after = await people.unlink(ana, DEVICE, ago=50)
    assert names(after.identities) == ["user_id:ana"]
    assert after.revision == before.revision + 1
    assert texts(after) == {"name": "Ana"}
    assert await people.whose(DEVICE) == ""
    assert (await refusal(people.who(DEVICE))).reason_name == "NOT_FOUND"
    assert await people.event_ids(ana) == ["e1"]
    assert await people.unlink(ana, DEVICE, ago=50) == after

    [result] = await people.events(event("e2", DEVICE))
    assert result.profile_id not in ("", ana)
    assert await people.whose(DEVICE) == result.profile_id


async def test_links_observed_before_it_was_unlinked_count_no_longer_and_later_ones_do(people: ServedPeople) -> None:
    ana = await people.tell(person("user_id:ana", DEVICE, ago=100))
    await people.unlink(ana, DEVICE, ago=50)
    for ago in (100, 60, 50):
        [late] = await people.profiles(person("user_id:ana", DEVICE, ago=ago, seen=str(ago)))
        assert (late.outcome, late.profile_id, names(late.not_linked)) == (OK, ana, [DEVICE])
    assert names((await people.link("user_id:bo", DEVICE, ago=70)).not_linked) == [DEVICE]
    assert await people.whose(DEVICE) == ""
    [known] = await people.profiles(person("user_id:ana", DEVICE, ago=49))
    assert list(known.not_linked) == []
    assert await people.whose(DEVICE) == ana


async def test_a_late_link_to_an_identity_that_is_the_persons_again_says_nothing_of_somebody_else(
    people: ServedPeople,
) -> None:
    ana = await people.tell(person("user_id:ana", DEVICE, ago=100))
    await people.unlink(ana, DEVICE, ago=50)
    await people.tell(person("user_id:ana", DEVICE, ago=40))
    [late] = await people.profiles(person("user_id:ana", DEVICE, ago=60))
    assert (late.profile_id, list(late.not_linked)) == (ana, [])


async def test_what_is_said_by_an_identity_that_was_unlinked_since_is_about_whoever_has_it(
    people: ServedPeople,
) -> None:
    ana = await people.tell(person("email:ana@example.com", DEVICE, "card:1", ago=100))
    await people.unlink(ana, "email:ana@example.com", ago=50)
    [late] = await people.profiles(person("email:ana@example.com", "card:1", "card:2", ago=60, name="Somebody"))
    assert late.profile_id not in ("", ana)
    assert names(late.not_linked) == ["card:1", "card:2"]
    assert await people.whose("email:ana@example.com") == late.profile_id
    assert texts(await people.profile(profile_id=ana)) == {}


async def test_what_was_linked_through_an_identity_stays_together_without_it(people: ServedPeople) -> None:
    ana = await people.tell(person("email:ana@example.com", "card:1", ago=100))
    await people.tell(person("email:ana@example.com", "card:2", ago=90))
    left = await people.unlink(ana, "email:ana@example.com")
    assert names(left.identities) == ["card:1", "card:2"]
    [link] = (await people.graph(profile_id=ana)).links
    assert (names([link.identity, link.other]), link.first_observed_at) == (["card:1", "card:2"], seconds(90))


async def test_the_last_identity_stays(people: ServedPeople) -> None:
    ana = await people.tell(person("user_id:ana"))
    assert (await refusal(people.unlink(ana, "user_id:ana"))).reason_name == "LAST_IDENTITY"
    assert await people.whose("user_id:ana") == ana


async def test_a_link_that_did_not_hold_counts_no_longer_either(people: ServedPeople) -> None:
    ana = await people.tell(person("user_id:ana", DEVICE, ago=60))
    bo = await people.tell(person("user_id:bo", DEVICE, ago=50))
    assert [names([link.other]) for link in (await people.graph(profile_id=ana)).refused_links] == [[DEVICE]]
    await people.unlink(bo, DEVICE, ago=40)
    for profile_id in (ana, bo):
        graph = await people.graph(profile_id=profile_id)
        assert not [*graph.links, *graph.refused_links]
    stranger = await people.tell(person(DEVICE, ago=30))
    assert stranger not in (ana, bo)


async def test_a_link_that_did_not_hold_is_not_a_reason_to_keep_an_identity(people: ServedPeople) -> None:
    await people.tell(person("user_id:ana", DEVICE, ago=60))
    bo = await people.tell(person("user_id:bo", DEVICE, ago=10))
    await people.tell(person("user_id:ana", "card:1", ago=5))
    assert await people.whose(DEVICE) == bo
    before = await people.profile(profile_id=bo)
    assert await people.unlink(bo, DEVICE, ago=20) == before
    assert names((await people.unlink(bo, DEVICE)).identities) == ["user_id:bo"]


async def test_what_is_not_the_persons_is_not_taken_away(people: ServedPeople) -> None:
    ana = await people.tell(person("user_id:ana", "card:1", ago=10))
    bo = await people.tell(person("user_id:bo", "card:2", ago=10))
    before = await people.profile(profile_id=ana)
    assert await people.unlink(ana, "card:2") == before
    assert await people.unlink(ana, "card:nobodys") == before
    # Linked again since then.
    assert await people.unlink(ana, "card:1", ago=50) == before
    assert await people.whose("card:2") == bo
    assert (await refusal(people.unlink("nobody", "card:1"))).reason_name == "NOT_FOUND"


# --- the graph --------------------------------------------------------------------------------------------------------


async def test_the_graph_tells_why_identities_are_one_person(people: ServedPeople) -> None:
    older, younger = await two_who_are_merged(people)
    for ago in (70, 300, 100):
        await people.tell(person(DEVICE, "email:ana@example.com", ago=ago))
    graph = await people.graph(identity=identity("email:ANA@example.com"))
    assert graph.profile_id == older
    assert list(graph.merged_profile_ids) == [younger]
    assert list(graph.identities) == list((await people.profile(profile_id=older)).identities)
    [_, device] = sorted(graph.links, key=lambda link: link.other.namespace, reverse=True)
    assert names([device.identity, device.other]) == ["email:ana@example.com", DEVICE]
    assert (device.first_observed_at, device.last_observed_at) == (seconds(300), seconds(70))
    assert not graph.refused_links


async def test_the_graph_tells_which_links_did_not_hold(people: ServedPeople) -> None:
    ana = await people.tell(person("user_id:ana", DEVICE, ago=100))
    bo = await people.tell(person("user_id:bo", DEVICE, ago=50))
    for profile_id, held in ((ana, []), (bo, ["user_id:bo"])):
        graph = await people.graph(profile_id=profile_id)
        assert [link.identity.namespace + ":" + link.identity.value for link in graph.links] == held
        [refused] = graph.refused_links
        assert names([refused.identity, refused.other]) == ["user_id:ana", DEVICE]
        assert refused.last_observed_at == seconds(100)


async def test_of_links_that_did_not_hold_the_last_twenty_of_an_identity_are_kept(people: ServedPeople) -> None:
    for number in range(24):
        await people.tell(person(f"user_id:{number:02}", "device:hall", ago=100 - number))
    graph = await people.graph(identity=identity("device:hall"))
    assert names(graph.identities) == ["user_id:23", "device:hall"]
    refused = [link.identity.value for link in graph.refused_links]
    assert refused == [f"{number:02}" for number in range(22, 2, -1)]
    assert len(await people.everybody()) == 24


async def test_a_graph_of_nobody_is_not_found(people: ServedPeople) -> None:
    assert (await refusal(people.graph(profile_id="nobody"))).reason_name == "NOT_FOUND"
    assert (await refusal(people.graph(identity=identity("card:nobodys")))).reason_name == "NOT_FOUND"
