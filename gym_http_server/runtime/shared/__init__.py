"""Memory shared by the server and the process of an environment."""
