"""`python -m gym_http_server`: the same as the command `gym-http-server`."""

import sys

from .support.surroundings import with_working_directory_last

# Before anything else is imported, which a file in the working directory could stand for.
sys.path[:] = with_working_directory_last(sys.path)

from .cli import main  # noqa: E402

main()
