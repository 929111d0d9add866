"""Items written on either side of the cut over, and while it happens: whole, once, by whom they belong to, and seen."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from psycopg import conninfo
from pydantic import SecretStr

from genonaut_lib.content.item_fields import fields_of, fields_of_new
from genonaut_lib.content.items import ATTEMPTS, Editor, Item, Items, Key
from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import open_pool
from genonaut_lib.errors import GenonautError, InvalidInput
from genonaut_lib.gallery.counts import CountMode
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.runner import undo_phase
from genonaut_lib.request_errors import (
    Forbidden,
    ItemChanged,
    ItemNotFound,
    ItemRefused,
    PromptImmutable,
    UnknownCreator,
    UnknownTag,
    WriteContended,
)
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.migration.application import in_arrays, in_junction
from tests.migration.test_phases import apply
from tests.writing import LEAST, NAMES, Writing, before_cut_over, copied, opened

ANIME, LANDSCAPE, FICTION, SEA, HOUSE = map(tag_id, NAMES)
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def template(admin_url: str) -> Iterator[str]:
    """The database that is copied."""
    with before_cut_over(admin_url) as name:
        yield name


@pytest.fixture(scope="module", params=[False, True], ids=["array", "junction"])
def place(request: pytest.FixtureRequest, admin_url: str, template: str) -> Iterator[Writing]:
    """A gallery before its cut over, and one after it; each test writes items of its own."""
    settings = copied(admin_url, template, cut_over=request.param)
    with settings as found, opened(found, junction=request.param) as writing:
        yield writing


@pytest.mark.parametrize("source", list(ContentSource))
def test_an_item_is_made_with_its_tags(source: ContentSource, place: Writing) -> None:
    """Whatever they are called, each counts once, and their names come back in order."""
    words = ["Landscape", "anime", " ANIME ", str(ANIME), "sci-fi", "science-fiction"]
    item = place.make(source, tags=words, item_metadata={"seed": 2**63}, quality_score=0.5)
    assert item.tags == ("anime", "landscape", "science fiction")
    assert place.tags(item.key) == {ANIME, LANDSCAPE, FICTION}
    assert (item.item_metadata, item.quality_score, item.creator_username) == (
        '{"seed": 9223372036854775808}',
        0.5,
        "ada",
    )
    assert place.run(place.items.read(item.key, None)) == item


def test_an_item_may_have_no_tags(place: Writing) -> None:
    """Nor anything else that it does not need."""
    item = place.make()
    assert (item.tags, item.content_data, item.item_metadata, item.is_private) == ((), "", None, False)
    assert place.tags(item.key) == set()


def test_an_unknown_tag_is_refused_with_near_names_and_nothing_is_written(place: Writing) -> None:
    """Tags are made by operators, not by the way."""
    item = place.make(tags=["sea"])
    before = place.count()
    for write in (lambda: place.make(tags=["sea", "animee"]), lambda: place.change(item.key, tags=["animee"])):
        with pytest.raises(UnknownTag, match="'animee'") as refused:
            write()
        assert (refused.value.field, refused.value.near[0]) == ("tags", "anime")
    assert (place.count(), place.tags(item.key)) == (before, {SEA})


def test_an_item_needs_a_creator_who_is_there(place: Writing) -> None:
    """Otherwise neither the item nor its tags are written."""
    before = place.count()
    given = fields_of_new({**LEAST, "tags": ["sea"]})
    with pytest.raises(UnknownCreator):
        place.run(place.items.create(ContentSource.AUTO, given, uuid.uuid4()))
    assert place.count() == before


def test_a_change_replaces_what_is_given_and_nothing_else(place: Writing) -> None:
    """The time moves with it."""
    item = place.make(tags=["sea"], title="one", path_thumb="/a", quality_score=1)
    changed = place.change(item.key, title="two", quality_score=None, item_metadata={"a": [1]})
    wanted = replace(item, title="two", quality_score=None, item_metadata='{"a": [1]}', updated_at=changed.updated_at)
    assert changed == wanted
    assert changed.updated_at > item.updated_at
    assert changed.version != item.version


def test_the_time_of_an_item_never_goes_back(place: Writing) -> None:
    """Not where a clock was ahead, nor for a write that began before another one and came after it."""
    item = place.make()
    ahead = "update content_items_all set updated_at = now() + interval '1 day' where source_type = 'items' and id = %s"
    place.connection.execute(ahead, [item.key.id])
    times = [place.change(item.key, title=title).updated_at for title in ("one", "two")]
    assert item.updated_at < times[0] < times[1]


def test_tags_are_replaced_as_a_whole(place: Writing) -> None:
    """Some stay, some go, some come; in the end none is left."""
    item = place.make(tags=["sea", "anime"])
    retagged = place.change(item.key, tags=["anime", "red house"])
    assert retagged.tags == ("anime", "red house")
    assert retagged.updated_at > item.updated_at
    assert place.tags(item.key) == {ANIME, HOUSE}
    assert place.change(item.key, tags=[]).tags == ()
    assert place.tags(item.key) == set()


def test_the_same_change_again_writes_nothing(place: Writing) -> None:
    """The row stays the one it was, and so do its time and its version; so does one that is asked for nothing."""
    fields = {
        "title": "same",
        "tags": ["sea", "anime"],
        "item_metadata": {"a": 1, "b": 1.50},
        "prompt": LEAST["prompt"],
    }
    item = place.change(place.make().key, **fields)
    row = place.row(item.key)
    assert place.change(item.key, **fields | {"tags": ["Anime", "sea", "anime"]}) == item
    assert place.change(item.key) == item
    assert place.row(item.key) == row


def test_json_that_differs_by_its_kind_alone_is_another_value(place: Writing) -> None:
    """Python takes true for 1."""
    item = place.make(item_metadata={"a": 1})
    assert place.change(item.key, item_metadata={"a": True}).item_metadata == '{"a": true}'


def test_a_prompt_is_written_once(place: Writing) -> None:
    """The same one may be sent again; another one changes nothing at all."""
    item = place.make()
    with pytest.raises(PromptImmutable):
        place.change(item.key, prompt="another", title="another")
    assert place.run(place.items.read(item.key, None)) == item


@pytest.mark.parametrize("source", list(ContentSource))
def test_a_deleted_item_is_gone_with_its_tags(source: ContentSource, place: Writing) -> None:
    """Once more, and there is none."""
    before = place.count()
    item = place.make(source, tags=["sea", "anime"])
    place.delete(item.key)
    assert place.count() == before
    with pytest.raises(ItemNotFound):
        place.delete(item.key)
    with pytest.raises(ItemNotFound):
        place.change(item.key, title="late")


@pytest.mark.parametrize("source", list(ContentSource))
def test_the_item_of_the_same_id_in_the_other_source_is_left_alone(source: ContentSource, place: Writing) -> None:
    """Old ids may be in both: neither a change of the one nor its end is anything to the other."""
    item = place.make(source, tags=["sea", "anime"])
    other = next(one for one in ContentSource if one is not source)
    place.connection.execute(
        "update content_items_all set id = %s where source_type = %s and id = %s",
        [item.key.id, other.partition, place.make(other, tags=["sea", "anime"]).key.id],
    )
    namesake = place.run(place.items.read(Key(other, item.key.id), None))
    place.change(item.key, title="two", tags=["anime"])
    place.delete(item.key)
    assert place.run(place.items.read(namesake.key, None)) == namesake
    assert place.tags(namesake.key) == {SEA, ANIME}


@pytest.mark.parametrize(("private", "refusal"), [(False, Forbidden), (True, ItemNotFound)])
def test_nobody_writes_another_s_item(private: bool, refusal: type[GenonautError], place: Writing) -> None:
    """A private one is not even there for them; an admin may write both."""
    item, stranger = place.make(is_private=private), place.editor("grace")
    for write in (lambda: place.change(item.key, stranger, title="mine"), lambda: place.delete(item.key, stranger)):
        with pytest.raises(refusal):
            write()
    admin = place.editor("root", is_admin=True)
    assert place.change(item.key, admin, title="moderated").title == "moderated"
    place.delete(item.key, admin)


def test_a_private_item_is_its_creator_s_alone(place: Writing) -> None:
    """Nobody in particular and somebody else are told the same as of an item that is not there."""
    item = place.make(is_private=True)
    assert place.run(place.items.read(item.key, place.user("ada"))) == item
    for viewer in (None, place.user("grace"), place.user("root")):
        with pytest.raises(ItemNotFound):
            place.run(place.items.read(item.key, viewer))


def test_an_item_that_was_changed_meanwhile_is_not_written(place: Writing) -> None:
    """Whoever names the version they read learns that it is no more."""
    item = place.make(tags=["sea"])
    changed = place.change(item.key, versions=["x", item.version], tags=["anime"])
    with pytest.raises(ItemChanged):
        place.change(item.key, versions=[item.version], title="too late")
    with pytest.raises(ItemChanged):
        place.delete(item.key, versions=[item.version])
    place.delete(item.key, versions=[changed.version])


def test_of_writers_who_read_the_same_version_one_succeeds(place: Writing) -> None:
    """The others are told, however close they were."""
    item, editor = place.make(), place.editor("ada")

    async def all_at_once() -> list[Any]:
        changes = [place.items.change(item.key, fields_of({"title": str(n)}), editor, [item.version]) for n in range(8)]
        return await asyncio.gather(*changes, return_exceptions=True)

    found = place.run(all_at_once())
    (one,) = [answer for answer in found if isinstance(answer, Item)]
    assert [type(answer) for answer in found if answer is not one] == [ItemChanged] * 7
    assert place.run(place.items.read(item.key, None)) == one


def test_writers_of_one_item_leave_what_the_last_of_them_wrote(place: Writing) -> None:
    """Tags and title are of one writer, and nobody is refused."""
    item, editor, dice = place.make(), place.editor("ada"), random.Random(5)
    sets = [sorted(dice.sample(NAMES, dice.randint(0, 5))) for _ in range(40)]

    async def all_at_once() -> list[Item]:
        given = [fields_of({"title": f"title {' '.join(names)}", "tags": names}) for names in sets]
        return await asyncio.gather(*(place.items.change(item.key, one, editor) for one in given))

    answers = place.run(all_at_once())
    last = place.run(place.items.read(item.key, None))
    assert last in answers
    assert all(answer.title == f"title {' '.join(answer.tags)}" for answer in answers)
    assert place.tags(item.key) == {tag_id(name) for name in last.tags}


def waits(connection: Connection, how: str = "transactionid") -> None:
    """Return once a session waits for another one's transaction, or for a lock of that kind."""
    asked = (
        "select count(*) from pg_locks l join pg_stat_activity a using (pid)"
        " where not l.granted and l.locktype = %s and a.datname = current_database()"
    )
    deadline = time.monotonic() + PATIENCE_S
    while connection.execute(asked, [how]).fetchone() == (0,):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_write_that_a_deadlock_ended_is_done_anew(place: Writing) -> None:
    """Somebody holds a tag and wants the item, we hold the item and want the tag: PostgreSQL ends us, once."""
    item = place.make()
    with closing(engine.connect(place.settings)) as other:
        other.execute("set deadlock_timeout = '20s'")
        with other.transaction():
            other.execute("select from tags where id = %s for update", [SEA])
            thread = in_thread(lambda: place.change(item.key, tags=["sea"]))
            waits(place.connection)
            other.execute(
                "select from content_items_all where source_type = 'items' and id = %s for update", [item.key.id]
            )
        thread.join(PATIENCE_S)
    assert place.tags(item.key) == {SEA}


def test_a_write_gives_way_to_whoever_holds_the_item_for_long(place: Writing) -> None:
    """It waits as long as the session's lock_timeout says, and nothing is written."""
    item = place.make()
    ada, hasty = place.editor("ada"), with_options(place, "-c lock_timeout=50ms")
    with closing(engine.connect(place.settings)) as other, opened(hasty, sessions=1) as second, other.transaction():
        other.execute("select from content_items where id = %s for update", [item.key.id])
        with pytest.raises(WriteContended):
            second.change(item.key, ada, title="now")
    assert place.run(place.items.read(item.key, None)) == item


@pytest.fixture
def plain_role(place: Writing) -> Iterator[str]:
    """A role with an application's rights and no others: on the junction it writes once that is the truth."""
    role = f"app_{uuid.uuid4().hex[:8]}"
    rights = [
        f"create role {role}",
        f"grant select, insert, update, delete on content_items, content_items_auto, content_items_all to {role}",
        f"grant select on users, tags, tag_aliases, content_tags to {role}",
        f"grant usage on sequence content_items_all_id_seq to {role}",
        *[f"grant insert, delete on content_tags to {role}"] * place.junction,
    ]
    for statement in rights:
        place.connection.execute(statement.encode())
    yield role
    place.connection.execute(f"drop owned by {role}; drop role {role}".encode())


def with_options(place: Writing, options: str) -> Settings:
    """Return the settings whose sessions start with these options."""
    address = place.settings.database_url
    assert address is not None
    other = conninfo.make_conninfo(address.get_secret_value(), options=options)
    return place.settings.model_copy(update={"database_url": SecretStr(other)})


def test_an_application_s_rights_are_enough(place: Writing, plain_role: str) -> None:
    """Whoever writes items owns neither their tables nor the junction."""
    ada = place.editor("ada")
    given = fields_of_new({**LEAST, "tags": ["sea"]})
    with opened(with_options(place, f"-c role={plain_role}"), sessions=2) as other:
        item = other.run(other.items.create(ContentSource.AUTO, given, ada.user))
        assert other.change(item.key, ada, tags=["anime"], title="new").tags == ("anime",)
        assert place.tags(item.key) == {ANIME}
        other.delete(item.key, ada)


def test_a_write_is_tried_a_few_times_and_no_more(place: Writing) -> None:
    """Where PostgreSQL ends it again and again, it is given up."""
    place.connection.execute(
        "create sequence attempts;"
        " create function never() returns trigger language plpgsql as $$ begin perform nextval('attempts');"
        " raise exception using errcode = 'serialization_failure'; end $$;"
        " create trigger never before insert on content_items for each row when (new.title = 'never')"
        " execute function never()"
    )
    before = place.count()
    with pytest.raises(WriteContended):
        place.make(title="never", tags=["sea"])
    assert place.connection.execute("select last_value from attempts").fetchone() == (ATTEMPTS,)
    assert place.count() == before


def test_an_item_that_others_refer_to_is_not_deleted(place: Writing) -> None:
    """A foreign key of the owner's is a rule like any other."""
    item = place.make()
    place.connection.execute("create table favourites (item integer references content_items (id))")
    place.connection.execute("insert into favourites values (%s)", [item.key.id])
    with pytest.raises(ItemRefused):
        place.delete(item.key)
    place.connection.execute("drop table favourites")


def test_a_rule_of_the_owner_s_is_a_refusal(place: Writing) -> None:
    """Neither what it is called nor what PostgreSQL said of it is repeated."""
    place.connection.execute("alter table content_items_auto add constraint secret_rule check (title <> 'forbidden')")
    with pytest.raises(ItemRefused) as refused:
        place.make(ContentSource.AUTO, title="forbidden")
    assert "secret_rule" not in str(refused.value)


def test_a_column_that_is_narrower_than_ours_is_a_refusal(place: Writing) -> None:
    """A gallery's owner may have other columns than the ones that it was made with."""
    place.connection.execute("alter table users add column short varchar(3)")
    place.connection.execute(
        "create or replace function narrow() returns trigger language plpgsql as"
        " $$ begin update users set short = new.title where id = new.creator_id; return new; end $$;"
        " create trigger narrow before insert on content_items_auto for each row"
        " when (new.title = 'narrow') execute function narrow()"
    )
    with pytest.raises(InvalidInput, match="too long"):
        place.make(ContentSource.AUTO, title="narrow")


def test_the_bitmaps_show_every_write_at_once(place: Writing) -> None:
    """A page from them, with its exact total, right after the item was made, retagged, hidden and deleted."""
    gallery, query = Gallery(place.pool, place.settings), GalleryQuery((LANDSCAPE, SEA), page_size=3)

    def seen() -> tuple[str, int]:
        answer = place.run(gallery.page(query, CountMode.EXACT, "bitmap"))
        return answer.page.keys[0], answer.total.value or 0

    first, before = seen()
    item = place.make(ContentSource.AUTO, tags=["sea"])
    assert seen() == (f"auto/{item.key.id}", before + 1)
    place.change(item.key, tags=["anime"])
    assert seen() == (first, before)
    place.change(item.key, tags=["anime", "landscape"])
    assert seen() == (f"auto/{item.key.id}", before + 1)
    place.change(item.key, is_private=True)
    assert seen() == (first, before)
    place.change(item.key, is_private=False)
    place.delete(item.key)
    assert seen() == (first, before)
    place.run(gallery.close())


@dataclass
class Busy(threading.Thread):
    """Three writers on an event loop of their own, each with items of its own; `written` is what was answered."""

    settings: Settings
    owner: uuid.UUID
    keys: list[Key]
    written: dict[Key, set[uuid.UUID] | None] = field(default_factory=dict)
    writes: int = 0
    unexpected: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        threading.Thread.__init__(self, daemon=True)
        self.stopped = threading.Event()

    __hash__ = object.__hash__

    def run(self) -> None:
        """Write until stopped; any refusal at all is kept for the test to see."""
        try:
            asyncio.run(self.work())
        except BaseException as error:
            self.unexpected.append(error)
            raise

    async def work(self) -> None:
        async with open_pool(self.settings, sessions=3) as pool, asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(self.one(Items(pool, 30_000), random.Random(number), self.keys[number::3]))

    async def one(self, items: Items, dice: random.Random, keys: list[Key]) -> None:
        editor = Editor(self.owner)
        while not self.stopped.is_set():
            names = dice.sample(NAMES, dice.randint(0, 5))
            key = dice.choice(keys)
            if dice.random() < 0.2:
                await items.delete(key, editor)
                self.written[key] = None
                made = await items.create(key.source, fields_of_new({**LEAST, "tags": names}), self.owner)
                keys[keys.index(key)] = key = made.key
            else:
                await items.change(key, fields_of({"tags": names}), editor)
            self.written[key] = {tag_id(name) for name in names}
            self.writes += 1

    def wait(self, more: int) -> None:
        target, deadline = self.writes + more, time.monotonic() + PATIENCE_S
        while self.writes < target and not self.unexpected:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_writers_go_on_while_the_gallery_is_cut_over_and_back(admin_url: str, template: str) -> None:
    """None of them is refused, and what was answered to them is there in the end, in arrays and junction alike."""
    with copied(admin_url, template, cut_over=False) as settings, opened(settings) as place:
        context = Context(place.connection, settings)
        keys = [place.make(source, tags=["sea"]).key for source in [*ContentSource] * 6]
        busy = Busy(settings, place.user("ada"), keys)
        busy.start()
        for _ in range(2):
            busy.wait(20)
            apply(context, "verify_content_tags")
            apply(context, "cut_over")
            busy.wait(20)
            undo_phase(PHASES["cut_over"], context)
        busy.wait(20)
        busy.stopped.set()
        busy.join(PATIENCE_S)
        assert busy.unexpected == []
        found = in_junction(place.connection)
        assert in_arrays(place.connection) == found
        assert {key: found.get((key.source, key.id)) for key in busy.written} == busy.written


def test_a_write_in_flight_comes_before_the_switch(admin_url: str, template: str) -> None:
    """It has chosen the array, so the switch waits for it; the junction has its tags afterwards."""
    with copied(admin_url, template, cut_over=False) as settings, opened(settings) as place:
        item = place.make(tags=["sea"])
        with closing(engine.connect(settings)) as other, closing(engine.connect(settings)) as operator:
            with other.transaction():
                other.execute("select from content_items where id = %s for update", [item.key.id])
                writer = in_thread(lambda: place.change(item.key, tags=["anime"]))
                waits(place.connection)
                switch = in_thread(lambda: apply(Context(operator, settings), "cut_over"))
                waits(place.connection, "relation")
            writer.join(PATIENCE_S)
            switch.join(PATIENCE_S)
        assert [thread.is_alive() for thread in (writer, switch)] == [False, False]
        assert in_junction(place.connection)[item.key.source, item.key.id] == {ANIME}
        place.change(item.key, tags=["landscape"])
        assert in_junction(place.connection)[item.key.source, item.key.id] == {LANDSCAPE}
        assert in_arrays(place.connection)[item.key.source, item.key.id] == {ANIME}


def test_a_lost_session_is_no_refusal(place: Writing) -> None:
    """Whoever cannot reach the database says so; the next write is done."""
    item = place.make()
    place.run(_cut_off(place))
    with pytest.raises(psycopg.OperationalError):
        place.change(item.key, title="lost")
    place.run(place.pool.check())
    assert place.change(item.key, title="found").title == "found"


async def _cut_off(place: Writing) -> None:
    """End every session of the pool."""
    ended = (
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        " and pid <> %s"
    )
    with closing(engine.connect(place.settings)) as other:
        other.execute(ended, [place.connection.info.backend_pid])
