"""Certificates: how many automatic labels of a dataset are wrong at most, by blind checks; signed, so that others can trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from annotriage.service.guarantee.certifying import certify
from annotriage.service.guarantee.signing import ALGORITHM, public_key, signed
from annotriage.service.operations.process import Process
from annotriage.service.readings.certificate import Certificate, certificate_now, certificates_now, facts_of
from annotriage.states import Time
from annotriage.store.datasets import dataset_of_project
from annotriage.store.projects import project_of
from annotriage.web.api.openapi import Asked, Operation, Parameter
from annotriage.web.api.paging import AFTER, LIMIT, next_page, number_after, number_in_path
from annotriage.web.sessions import visitor_name


@dataclass(frozen=True, slots=True)
class CertificateList:
    """Certificates as they stand now, the latest first. next: give it as `after` for the next page; null on the last."""

    certificates: tuple[Certificate, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class SignedCertificate:
    """A certificate and its signature, over the certificate as JSON with sorted keys, no spaces, in ASCII. The key is PEM."""

    certificate: dict[str, Any]
    signature: dict[str, str]


@dataclass(frozen=True, slots=True)
class CertificateKey:
    """The public key, as PEM, that certificates of this service are checked with."""

    algorithm: str
    key: str


def list_certificates(asked: Asked, dataset: int | None, after: str | None, limit: int) -> CertificateList:
    """The project's certificates, as they stand now."""
    rows = certificates_now(asked.connection, asked.project, dataset_id=dataset, after=number_after(after), limit=limit)
    return CertificateList(rows, next_page(rows, limit, lambda row: row.id))


def get_certificate(asked: Asked, certificate: str) -> SignedCertificate:
    """A certificate as it stands now, signed."""
    found = certificate_now(asked.connection, asked.project, number_in_path(certificate, "certificate"))
    return SignedCertificate(**signed(asked.process.store, facts_of(found)))


def make_certificate(process: Process, project: str, dataset: str, until: float | None, wanted: int | None) -> Certificate:
    """Fix the automatic labels of a dataset, draw the checks that are lacking, and say how many are wrong at most."""
    with process.store.reading() as connection:
        found = project_of(connection, project)
        chosen = dataset_of_project(connection, found, number_in_path(dataset, "dataset"))
    id = certify(process, found, chosen, until=until, wanted=wanted, by=visitor_name())
    with process.store.reading() as connection:
        return certificate_now(connection, found, id)


def get_certificate_key(process: Process) -> CertificateKey:
    """The public key of this service's certificates."""
    return CertificateKey(ALGORITHM, public_key(process.store))


DATASET = Parameter("dataset", int, "Only certificates of this dataset, by its number.", low=1)
MADE_OF = (
    Parameter("until", Time, "Of items that came in before.  [now]"),
    Parameter("wanted", int, "Draw so many checks that at most so many labels are wrong, if they find no wrong one.", low=0),
)

OPERATIONS = (
    Operation("GET", "/projects/{project}/certificates", list_certificates, CertificateList, (DATASET, AFTER, LIMIT)),
    Operation("GET", "/projects/{project}/certificates/{certificate}", get_certificate, SignedCertificate),
    Operation("POST", "/projects/{project}/datasets/{dataset}/certificate", make_certificate, Certificate, MADE_OF, status=201),
    Operation("GET", "/certificate-key", get_certificate_key, CertificateKey),
)
