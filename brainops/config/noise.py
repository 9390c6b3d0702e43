"""Rules of `notify:` and `maintenance:` that need more than one place of the file, or this machine."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from brainops.config.apprise_urls import sender
from brainops.config.document import Path, Plain
from brainops.config.environment import expand, is_variable_name, references
from brainops.config.mistakes import Finding, nearest, one_of

_MOST_NAMED = 20


def find_noise_contradictions(root: Mapping[str, Plain]) -> Iterator[Finding]:
    """What contradicts itself in the text of the file."""
    services = [name for name in _mapping(root.get("services")) if name]
    notify = _mapping(root.get("notify"))
    channels = list(_mapping(notify.get("channels")))
    for index, route in enumerate(_list(notify.get("routes"))):
        here = ("notify", "routes", index)
        for number, name in enumerate(_list(_mapping(route).get("channels"))):
            if isinstance(name, str) and name not in channels:
                yield _unknown_channel((*here, "channels", number), name, channels)
        yield from _unknown_services(here, _mapping(route), services)
    if notify.get("routes") and not channels:
        yield Finding(("notify", "routes"), "there are no channels", "add channels: {ops: {url: …}}", at_key=True)
    for name, channel in _mapping(notify.get("channels")).items():
        yield from _url(("notify", "channels", name, "url"), _mapping(channel).get("url"))
    heartbeat = _mapping(notify.get("heartbeat")).get("url")
    yield from _url(("notify", "heartbeat", "url"), heartbeat)
    if isinstance(heartbeat, str) and not heartbeat.startswith(("http://", "https://", "${")):
        remedy = "write one that begins with http:// or https://"
        yield Finding(("notify", "heartbeat", "url"), "is no address that can be asked", remedy)
    yield from _maintenance(root, services)


def find_noise_missing(root: Mapping[str, Plain], environment: Mapping[str, str]) -> Iterator[Finding]:
    """What this machine lacks: variables, and addresses that nobody can send to."""
    notify = _mapping(root.get("notify"))
    heartbeat = _mapping(notify.get("heartbeat")).get("url")
    yield from _unset(("notify", "heartbeat", "url"), heartbeat, environment)
    for name, channel in _mapping(notify.get("channels")).items():
        here: Path = ("notify", "channels", name, "url")
        url = _mapping(channel).get("url")
        if not isinstance(url, str):
            continue
        unset = list(_unset(here, url, environment))
        yield from unset
        if not unset and all(is_variable_name(reference) for reference in references(url)):
            yield from _unusable(here, expand(url, environment))


def _maintenance(root: Mapping[str, Plain], services: list[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, window in enumerate(_list(root.get("maintenance"))):
        declared = _mapping(window)
        here: Path = ("maintenance", index)
        name = declared.get("name")
        if isinstance(name, str) and name in seen:
            yield Finding(
                (*here, "name"), f"{name[:63]!r} is the name of another window as well", "choose another name"
            )
        seen.add(str(name))
        yield from _unknown_services(here, declared, services)


def _unknown_channel(where: Path, name: str, channels: list[str]) -> Finding:
    close = nearest(name, channels)
    meant = f"did you mean {close}? " if close else ""
    known = f"known: {one_of(channels[:_MOST_NAMED])}" if channels else "declare it under notify.channels"
    return Finding(where, f"there is no channel {name[:63]!r}", meant + known)


def _unknown_services(here: Path, section: Mapping[str, Plain], services: list[str]) -> Iterator[Finding]:
    """A glob that names no service says something that nobody meant."""
    for number, glob in enumerate(_list(section.get("services"))):
        if isinstance(glob, str) and not any(fnmatchcase(name, glob) for name in services):
            close = nearest(glob, services)
            remedy = f"did you mean {close}?" if close else "name a service, or write a pattern such as shop-*"
            yield Finding((*here, "services", number), f"{glob[:63]!r} names no service", remedy)


def _url(where: Path, url: Plain) -> Iterator[Finding]:
    for reference in references(url) if isinstance(url, str) else ():
        if not is_variable_name(reference):
            yield Finding(where, "a ${…} in it names no variable", "write ${NAME}, or $${ for the two signs themselves")


def _unset(where: Path, url: Plain, environment: Mapping[str, str]) -> Iterator[Finding]:
    for reference in references(url) if isinstance(url, str) else ():
        if is_variable_name(reference) and reference not in environment:
            remedy = f"set it where BrainOps is started: export {reference}=…"
            yield Finding(where, f"the variable {reference[:80]} is not set", remedy)


def _unusable(where: Path, url: str) -> Iterator[Finding]:
    """The address is a secret: it is not in the message."""
    if sender(url) is None:
        scheme = url.partition("://")[0] if "://" in url else ""
        named = f"an address {scheme[:20]}://…" if scheme.isalnum() else "it"
        yield Finding(
            where, f"Apprise cannot use {named}", "see https://github.com/caronc/apprise for the form of each service"
        )


def _mapping(value: Plain) -> Mapping[str, Plain]:
    return value if isinstance(value, dict) else {}


def _list(value: Plain) -> list[Plain]:
    return value if isinstance(value, list) else []
