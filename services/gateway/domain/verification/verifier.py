"""The proofs that a source accepts, compiled once for each configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from schemas.verification import Scheme, Signature, StandardWebhooks
from services.gateway.domain.verification.request import SignedRequest, Verdict, Verification
from services.gateway.domain.verification.shared_secret import shared_secret
from services.gateway.domain.verification.signature import header_signature
from services.gateway.domain.verification.standard import standard_signature


@dataclass(frozen=True)
class Verifier:
    """Several proofs, of which one must hold. `first_secrets`: the index of the first secret of each, among all."""

    proofs: tuple[Verification, ...]
    first_secrets: tuple[int, ...]

    def check(self, request: SignedRequest, now: datetime) -> Verdict:
        """Return the verdict of the proof that holds, otherwise the fault of each."""
        faults: list[str] = []
        for proof, first in zip(self.proofs, self.first_secrets, strict=True):
            verdict = proof.check(request, now)
            if verdict.holds:
                return msgspec.structs.replace(verdict, secret=first + verdict.secret) if first else verdict
            faults.append(verdict.fault)
        return Verdict("; ".join(dict.fromkeys(faults)))


def verification(scheme: Scheme, secrets: Sequence[str]) -> Verification:
    """Return the check of a scheme. The secrets were examined: each is a key of the scheme."""
    if isinstance(scheme, StandardWebhooks):
        return standard_signature(secrets, scheme.tolerance, scheme.header_prefix)
    if isinstance(scheme, Signature):
        return header_signature(scheme, secrets)
    return shared_secret(scheme, secrets)
