"""An episode of OpenEnv between the server and the environment's process, in which third-party code runs."""

from __future__ import annotations

import pytest

from gym_http_server.agents.openenv.episode import OpenenvEpisode

DISCRETE = {"name": "Discrete", "n": 2, "start": 0}
BOX = {"name": "Box", "shape": [1], "low": [0.0], "high": [1.0]}
REPLY = b'{"observation":[0.5],"reward":1.5,"done":false,"terminated":false,"truncated":false,"info":{}}'


def test_an_episode_goes_on_where_the_process_left_it() -> None:
    """Ids, counts, sum and latest observation are those of the process; only what is read of the spaces goes there."""
    episode = OpenenvEpisode(DISCRETE, BOX, ["left", "right"])
    episode.began({"episode_id": "mine", "seed": 3})
    told = episode.to_wire()
    assert told["spaces"] == [DISCRETE, {"name": "Box"}]
    there = OpenenvEpisode.from_wire(told)
    assert there.step_body({"action": "right"}) == {"action": 1}
    encoded = there.stepped(REPLY)
    assert episode.has_id("mine")
    assert episode.has_id(there.series + "1")
    assert not episode.has_id("another")
    episode.take(there.note())
    assert episode.encoded == encoded
    assert (episode.state(), episode.seed, episode.total) == ({"episode_id": "mine", "step_count": 1}, 3, 1.5)
    assert not episode.has_id(there.series + "1")


NOTES = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]\n",
    "other members": b'{"episode_id":null}\n',
    "another type": b'{"episode_id":1,"seed":null,"step_count":0,"total":0.0}\n',
    "no observation": b'{"episode_id":null,"seed":null,"step_count":0,"total":0.0}\n{"metadata":{}}',
    "an observation that is no JSON": b'{"episode_id":null,"seed":null,"step_count":0,"total":0.0}\nx',
}


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_a_note_of_another_form_is_not_taken(note: bytes) -> None:
    """It changes nothing."""
    episode = OpenenvEpisode(DISCRETE, BOX)
    episode.began({"episode_id": "mine"})
    with pytest.raises(ValueError):  # noqa: PT011 -- the words are orjson's, too
        episode.take(note)
    assert (episode.episode_id, episode.encoded) == ("mine", b"")
