"""`python -m gym_http_server`: the same as the command `gym-http-server`."""

from .cli import main

main()
