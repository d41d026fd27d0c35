"""A driver without Ray, as `engines/ray/driver.py` is seen by the router: its plan's address says how it behaves.

`room`: each `grow` starts a shard for one instance, `full`: none finds a node, `broken`: none can start, `ended`: the head ends at the
first `grow`, `silent`: one starts, then the directory does not answer, `failing`: the cluster cannot be joined.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    how = json.loads(sys.stdin.readline())["address"]
    if how == "failing":
        write({"failed": "no Ray listens there"})
        return
    state: dict[str, Any] = {
        "key": "a key",
        "shards": [],
        "pending": 0,
        "starting": 0,
        "losses": {},
        "failure": "",
        "failures": 0,
    }
    state["nodes"] = [["10.0.0.1", True, {"CPU": 4.0}]]
    write({"state": state})
    for line in sys.stdin:
        command = json.loads(line)
        if "leave" in command:
            break
        if "report" in command:
            prefix = command["report"]
            state["shards"] = [each for each in state["shards"] if each[0] != prefix]
            state["losses"][prefix] = "node 10.0.0.1 was lost"
        elif how == "silent" and state["shards"]:
            write({"problem": "the directory does not answer"})
            continue
        elif how in ("room", "silent"):
            number = len(state["shards"]) + len(state["losses"])
            state["shards"].append([f"{number:03x}", f"http://10.0.0.1:{8000 + number}", "10.0.0.1", 1, 0])
        elif how == "broken":
            state |= {"failures": state["failures"] + 1, "failure": "no module named no_such_module"}
        elif how == "full":
            state["pending"] = 1
        write({"problem": "the head has ended", "ended": True} if how == "ended" else {"state": state})
        if "report" in command:
            write({"reported": command["report"]})


if __name__ == "__main__":
    main()
