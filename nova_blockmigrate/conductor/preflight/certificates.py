"""Which certificates a migration over TLS needs, and what is wrong with them (pure): the source's as a client, the
destination's as a server, and whether each trusts the other's authority."""

from __future__ import annotations

import dataclasses

from nova_blockmigrate.survey import Certificate, CertificateRole, HostSurvey, TlsUser

EXPIRES_SOON_S = 14 * 86400.0


@dataclasses.dataclass(frozen=True)
class End:
    """One of the two hosts."""

    name: str
    survey: HostSurvey


@dataclasses.dataclass(frozen=True)
class Needed:
    """A certificate that is used, and by which host."""

    host: str
    certificate: Certificate

    def __str__(self) -> str:
        return f"{self.host}: {self.certificate.path}"


def needed(source: End, destination: End) -> list[Needed]:
    """What a guest on its way from `source` uses. The source's settings decide who encrypts, the destination's who is asked."""
    return [one for user in source.survey.tls_for for one in _of(user, source, destination)]


def _of(user: TlsUser, source: End, destination: End) -> list[Needed]:
    theirs = [one for one in destination.survey.certificates if one.user is user]
    servers = [one for one in theirs if one.role is CertificateRole.SERVER]
    roles = {CertificateRole.AUTHORITY}
    if any(one.asks_clients for one in servers):
        roles.add(CertificateRole.CLIENT)
    own = [one for one in source.survey.certificates if one.user is user and one.role in roles]
    used = [one for one in theirs if one.role is not CertificateRole.CLIENT]
    return [*(Needed(source.name, one) for one in own), *(Needed(destination.name, one) for one in used)]


def problems(used: list[Needed], destination: str, now_s: float) -> list[str]:
    """What QEMU or libvirt would refuse, in words; `destination` is the name in live_migration_uri."""
    wrong = [f"{one}: {reason}" for one in used if (reason := why_invalid(one.certificate, destination, now_s))]
    return wrong + [f"{one}: {other} does not know the authority that signed it" for one, other in _strangers(used)]


def why_invalid(one: Certificate, destination: str, now_s: float) -> str:
    """Why a certificate will not do, in words."""
    if one.problem:
        return one.problem
    if now_s > one.not_after_s:
        return f"it expired {(now_s - one.not_after_s) / 86400:.0f} days ago"
    if now_s < one.not_before_s:
        return "it is not valid yet"
    if one.role is CertificateRole.SERVER and not any(_covers(pattern, destination) for pattern in one.names):
        return f"it is good for {', '.join(one.names) or 'no name'}, not for {destination}"
    return ""


def _strangers(used: list[Needed]) -> list[tuple[Needed, str]]:
    """Certificates that are shown to a host which does not know their authority, and that host."""
    trusted = {
        (one.host, one.certificate.user): one.certificate for one in used if one.certificate.role is CertificateRole.AUTHORITY
    }
    found = []
    for one in used:
        for (host, user), authority in trusted.items():
            shown = host != one.host and user is one.certificate.user and authority.authorities and one.certificate.signer
            if shown and one.certificate.signer not in authority.authorities:
                found.append((one, host))
    return found


def expiring(used: list[Needed], now_s: float) -> list[str]:
    """Those that will not do any more in some days."""
    left = [(one, one.certificate.not_after_s - now_s) for one in used]
    return [f"{one} expires in {seconds / 86400:.0f} days" for one, seconds in left if seconds < EXPIRES_SOON_S]


def _covers(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        return name.partition(".")[2].lower() == pattern[2:].lower()
    return pattern.lower() == name.lower()
