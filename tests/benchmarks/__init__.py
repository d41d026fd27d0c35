"""Benchmarks, run by hand: `python -m tests.benchmarks`. Each figure has its floor, measured in the same run.

`table.py` declares the rows. A row has a figure and a floor, made of what `Subject`s measure; `rounds.py` has all
subjects of a group take turns, a chunk of work each in every round, so that what disturbs the machine disturbs them
alike. What is printed are medians over the rounds.

What shares what, on a machine of few cores: every server is a process of its own, and so are the environments of the
`process` engine and of the piped floor. The client is this process, also where many clients work at once: then one
epoll loop serves all of them (`subjects/load.py`). Only the clients of other projects are processes of their own (`rivals/`).
Nothing is pinned to a core. On two cores, server and client have one each; environments in processes of their own take
theirs from both. One that was handed its client's connection does the server's work too, and the server idles. Servers
that are not measured at the moment are idle.
"""
