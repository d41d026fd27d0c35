"""Keys of single instances, derived from the key of a cluster: whoever has one may use that instance, and no other.

No server keeps any of them. Third-party code in an environment's process sees the key of its own instance at most.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode


def instance_key(cluster_key: str, instance_id: str) -> str:
    """Return the key of an instance; empty in a cluster without a key."""
    if not cluster_key:
        return ""
    mac = hmac.digest(cluster_key.encode("utf-8", "surrogateescape"), b"instance " + instance_id.encode(), "sha256")
    return urlsafe_b64encode(mac).decode().rstrip("=")


def digest_of(key: str) -> str:
    """Return the SHA-256 of a key in hexadecimal digits; empty for no key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest() if key else ""
