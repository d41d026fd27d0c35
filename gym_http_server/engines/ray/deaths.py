"""Why a shard is gone, in one line: what Ray says of it, shortened."""

from __future__ import annotations

import re
from typing import Final

CAUSES: Final = (
    (r"low on memory|OutOfMemory|memory usage threshold", "Ray ended it because node {node} ran low on memory"),
    (r"node has died|node was terminated|Node failed|NODE_DIED|missed too many heartbeats", "node {node} was lost"),
    (r"SYSTEM_ERROR|unexpectedly exits", "its process on node {node} was killed, by SIGKILL or for want of memory, or crashed"),
    (r"ray\.kill|INTENDED_USER_EXIT|exit_actor", "it was ended by Ray (ray.kill) on node {node}"),
    (r"ModuleNotFoundError: No module named 'gym_http_server", "node {node} has no gym-http-server: install it there, in the Python of Ray"),
    (r"Socket closed|unavailable|RpcError", "node {node} does not answer"),
)  # fmt: skip
"""Patterns in Ray's errors and what they mean. The first that matches counts."""

MAX_REASON_CHARS: Final = 300
"""Maximum characters that are quoted of Ray."""


def death_words(error: object, node: str) -> str:
    """Return in one line why a shard on a node is gone.

    Args:
        error: the error that Ray raised, or its text.
        node: name of the node.
    """
    text = str(error)
    said = reason_in(text)
    for pattern, words in CAUSES:
        if re.search(pattern, text):
            known = words.format(node=node or "of the shard")
            return f"{known} (Ray: {said})" if said else known
    return f"its process on node {node} ended (Ray: {said})" if said else f"its process on node {node} ended"


def reason_in(text: str) -> str:
    """Return the sentence of an error of Ray that says why, without the lines that only identify the actor."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("\t")]
    said = next((line for line in lines if "because" in line or "reason" in line.lower()), lines[-1] if lines else "")
    if len(lines) > 1 and said.startswith("The actor died because of an error raised in its creation task"):
        said = lines[-1]
    # Ray goes on with causes that are possible in general, and with advice for its own users.
    said = re.split(r" Some common causes|There are some potential root causes| If the process was killed", said)[0]
    return said if len(said) <= MAX_REASON_CHARS else said[:MAX_REASON_CHARS] + "…"
