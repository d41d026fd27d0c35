"""The conformity kit: checks that hold any implementation of the contract, at any URL, to it.

    gym-http-server check http://127.0.0.1:5000
    pytest -p gym_http_server.conformity.plugin --gym-url http://127.0.0.1:5000 --pyargs gym_http_server.conformity.suite

Both need the extra `conformity` of this package. The kit is a guest: it closes every instance that it made,
asks nothing of another one, records only below a directory of its own, and never stops the server.
"""
