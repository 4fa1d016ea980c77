"""`heliostat.fleet.text_of_file`: the text of a file on the controller, for lists of addresses.

A file that is still encrypted is an error that says so; it isn't taken for an empty list.
"""

from __future__ import annotations

try:
    from ansible.errors import AnsibleFilterError
except ImportError:  # its tests need no Ansible
    AnsibleFilterError = ValueError

MAX_BYTES = 4 * 1024 * 1024


def text_of_file(path):
    """The text of one file; encrypted, too large or unreadable ones are errors."""
    try:
        with open(path, "rb") as handle:  # noqa: PTH123 (Ansible's own Python may be older)
            raw = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise AnsibleFilterError(f"{path}: {error.strerror}") from error
    if raw.startswith(b"\0GITCRYPT\0"):
        raise AnsibleFilterError(f"{path} is still encrypted: run `git-crypt unlock` there")
    if len(raw) > MAX_BYTES:
        raise AnsibleFilterError(f"{path} has more than {MAX_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise AnsibleFilterError(f"{path} isn't UTF-8 text ({error.reason})") from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self):
        return {"text_of_file": text_of_file}
