"""The conformity kit: checks any implementation of the contract, at any URL.

    gym-http-server check http://127.0.0.1:5000
    pytest -p gym_http_server.conformity.plugin --gym-url http://127.0.0.1:5000 --pyargs gym_http_server.conformity.suite

Both need the extra `conformity`. The kit closes every instance that it created, touches no other, records only below
one new directory, and never stops the server.
"""
