"""The one table of settings: the file, the environment, the command line and the documentation are made from it.

A setting is a field of `Settings` (the engine) or of `ServiceSettings` (the running service): its type, its default and a help
sentence that says when to change it. Both are read from the same places, later ones winning: the defaults, a TOML file,
`ANNOTRIAGE_<NAME>` variables, given values.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from annotriage.errors import SettingError

Numbers = tuple[tuple[str, float], ...]  # a table of named numbers, in the order in which they were given

ENVIRONMENT_PREFIX = "ANNOTRIAGE_"
SQLITE = "sqlite:///"
ROLES = ("look", "decide", "administer")  # states.Role


def _setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    run: bool = False,
    secret: bool = False,
    fault: Callable[[Any], str] | None = None,
    later: bool = False,
) -> Any:
    """A field of a table.

    run: it concerns a run and may differ from what a reference was fitted with. secret: never shown, in no error either.
    fault: what keeps a text from working, in words; "" if nothing does. later: older references lack it.
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "choices": tuple(choices),
        "run": run,
        "secret": secret,
        "fault": fault,
        "later": later,
    }
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def _line_fault(text: str) -> str:
    return "has a line break or another control character in it; write it in one line" if _CONTROL.search(text) else ""


def _credential_fault(text: str) -> str:
    """Label Studio sends names and passwords in Latin-1, browsers in UTF-8: what both write alike is ASCII."""
    beyond = "" if text.isascii() else "has letters beyond ASCII, which Label Studio sends in another way; leave them out"
    return _line_fault(text) or beyond


def _user_fault(text: str) -> str:
    if not text or ":" in text:
        return "is no user name; it has at least one letter, and no colon (HTTP Basic ends the name at one)"
    return _credential_fault(text)


def _token_fault(text: str) -> str:
    return _credential_fault(text) or ("has a space in it; copy the token as it is shown" if " " in text else "")


def _host_fault(text: str) -> str:
    wrong = not text or _CONTROL.search(text) or any(sign in text for sign in " /@")
    return "is no address to listen on; give one, as 127.0.0.1, or 0.0.0.0 for all of this machine's" if wrong else ""


def _ip_fault(text: str) -> str:
    if not text:
        return ""
    try:
        usual = str(ipaddress.ip_address(text))
    except ValueError:
        return "is no IP address; give the one that the proxy's requests come from, as 10.0.0.7"
    return "" if text == usual else f"is compared letter by letter; write it as {usual}"


def _url_fault(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "is no address; give one as http://annotriage.example.com:9090"
    plain = text.isascii() and not _CONTROL.search(text) and " " not in text
    if not plain or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "is no http(s) address; give one as http://annotriage.example.com:9090"
    if parts.username is not None or parts.query or parts.fragment:
        return "has more than scheme, host, port and path; leave out names, passwords and what follows ? or #"
    return ""


def is_safe_provider(address: str) -> bool:
    """Whether nobody on the way can read or change what an identity provider says at an address: https, or this machine."""
    try:
        parts = urlsplit(address)
        whole = bool(parts.hostname) and parts.port != 0 and parts.username is None and not parts.fragment
    except ValueError:
        return False
    here = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    return whole and (parts.scheme == "https" or here) and address.isascii() and " " not in address and not _CONTROL.search(address)


def _issuer_fault(text: str) -> str:
    wrong = not is_safe_provider(text) or "?" in text
    return "is no https address of an identity provider; give it as https://accounts.example.com" if text and wrong else ""


def _scopes_fault(names: Sequence[str]) -> str:
    return "" if "openid" in names and not any(" " in name for name in names) else "lacks openid, or has spaces where commas belong"


def _name_fault(text: str) -> str:
    return _line_fault(text) if text else "names no claim; email is the usual one"


def _roles_fault(pairs: Sequence[str]) -> str:
    wrong = next((pair for pair in pairs if not pair.rpartition("=")[0].strip() or pair.rpartition("=")[2] not in ROLES), None)
    return "" if wrong is None else f"has {wrong[:60]!r}, which is no GROUP=ROLE with a role of {', '.join(ROLES)}"


def _own_url_fault(text: str) -> str:
    return _url_fault(text) if text else ""


def _hook_fault(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    wrong = not whole or not text.isascii() or " " in text or _CONTROL.search(text)
    return "is no http(s) address; give one as https://chat.example.com/hooks/..." if text and wrong else ""


def _mail_fault(addresses: Sequence[str]) -> str:
    return next((wrong for address in addresses if (wrong := _sender_fault(address))), "")


def _sender_fault(text: str) -> str:
    name, _, host = text.partition("@")
    wrong = not name or not host or "@" in host or not text.isascii() or _CONTROL.search(text) or any(sign in text for sign in ' <>,;"')
    return f"has {text[:60]!r}, which is no mail address; give it as ann@example.com" if text and wrong else ""


def _mail_server_fault(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    wrong = not whole or parts.path.strip("/") or parts.query or parts.fragment or " " in text or _CONTROL.search(text)
    return "is no mail server; give it as smtp://USER:PASSWORD@HOST:587" if text and wrong else ""


def _joint_fault(text: str) -> str:
    """The published method's embeddings, which no item can be placed in by itself."""
    if not text.endswith("-joint"):
        return ""
    return "embeds all items anew with each that comes in, so it decides nothing; `annotriage compare` tries it on whole sets, offline"


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class _Table:
    """What both tables share: values are checked when made."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name), f"setting {field.name}"))


@dataclass(frozen=True)
class Settings(_Table):
    """Every setting of the engine with its default; immutable, checked when made. Raises SettingError on a value out of range."""

    # what is guaranteed
    alpha: float = _setting(
        0.05,
        "Share of normal items that may be called strange. Raise it to see more strange items, at the price of more false alarms.",
        low=1e-6,
        high=0.5,
    )
    max_error: float = _setting(
        0.02, "Largest share of wrong labels among automatic ones. Lower it and fewer items are automatic.", low=1e-6, high=0.5
    )
    confidence: float = _setting(
        0.95,
        "How sure the guarantee is: at 95% it fails in 1 project of 20. Raise it where that is costly.",
        low=0.5,
        high=0.9999,
    )
    max_error_per: str = _setting(
        "all",
        "Whether max_error holds over all automatic labels or for each predicted class by itself. `class` needs far more held-out items.",
        choices=("all", "class"),
    )
    never_auto: tuple[str, ...] = _setting((), "Classes that always go to a person, comma-separated.")
    class_limits: tuple[tuple[str, float], ...] = _setting(
        (),
        "Limits in place of max_error for the labels of some classes: `fracture = 0.005, cyst | tumour = 0.01` (the second holds for both"
        " together); a table [class_limits] in the file. Each is tested by itself, and needs held-out items of its own.",
        low=1e-6,
        high=0.5,
        later=True,
    )
    costs: tuple[tuple[str, float], ...] = _setting(
        (),
        "What errors cost where they are unlike: `fracture > healthy = 10` is a fracture called healthy, `* > healthy = 10` anything called"
        " so, strange items included; a table [costs.fracture] in the file. All others cost 1, and max_error limits the expected cost of an"
        " automatic label.",
        low=0.0,
        high=1e6,
        later=True,
    )
    # what is compared
    score: str = _setting(
        "two-axes",
        "The outlier score that decides. Change it when `annotriage compare` shows a better one on your own data.",
        choices=("two-axes", "combined", "mahalanobis", "relative-mahalanobis", "knn", "vim", "energy", "mean-sigma"),
    )
    members: tuple[str, ...] = _setting(
        ("relative-mahalanobis", "energy", "knn", "mahalanobis"),
        "The scores that `combined` adds up, comma-separated; further layers add one `mahalanobis` each.",
    )
    threshold: str = _setting(
        "conformal",
        "What makes an item strange: `conformal` keeps alpha on held-out items; `mean-sigma` flags beyond mean + k_sigma deviations.",
        choices=("conformal", "mean-sigma"),
    )
    k_sigma: float = _setting(
        2.0, "Deviations above a cluster's mean at which the `mean-sigma` threshold lies. Raise it to flag less.", low=0.0, high=100.0
    )
    compression: str = _setting(
        "pca",
        "Space in which `knn` and `mean-sigma` measure distances. `umap` and `tsne` are for comparison: they hide what is strange.",
        choices=("pca", "none", "umap", "tsne"),
        fault=_joint_fault,
    )
    score_dimensions: int = _setting(
        256, "Values kept of each layer for the Mahalanobis scores (all, if it has fewer). Lower it for very small training sets.", low=2
    )
    neighbour_dimensions: int = _setting(50, "Values kept for knn, mean-sigma, groups and the map.", low=2)
    neighbours: int = _setting(10, "Neighbours that `knn` looks at. Raise it when training labels or images are noisy.", low=1)
    # the advice
    train_above: float = _setting(
        0.05, "Excess of strange items above which training further on the data is advised.", low=0.0, high=1.0, run=True
    )
    deploy_below: float = _setting(
        0.05, "Excess of strange items below which deploying the model where the data comes from is advised.", low=0.0, high=1.0, run=True
    )
    augmentation_above: float = _setting(
        0.05, "Excess of strange items above which augmented data adds something new.", low=0.0, high=1.0, run=True
    )
    augmentation_below: float = _setting(
        0.50,
        "Excess of strange items above which an augmentation damages the data, and incoming data needs a person first.",
        low=0.0,
        high=1.0,
        run=True,
    )
    # how it runs
    seed: int = _setting(0, "Seed of every random choice: samples, splits, maps. The same seed makes the same choices.", low=0, run=True)
    batch_size: int = _setting(
        0,
        "Items per run of the model; 0 means 32 (fewer where inputs are large), and on a GPU as many as make it faster, up to 1,024. What"
        " does not fit into memory is halved by itself. Set it where memory is shared with others, and on a GPU where runs must agree to"
        " the last digit, which may depend on the size.",
        low=0,
        high=65536,
        run=True,
    )
    device: str = _setting(
        "auto",
        "Where the model runs. `auto` takes CUDA where the runtime offers it, else the CPU.",
        choices=("auto", "cpu", "cuda"),
        run=True,
    )
    threads: int = _setting(0, "Threads that decode images while the model runs; 0 means one per core.", low=0, high=256, run=True)
    max_pixels: int = _setting(
        100_000_000,
        "Largest image that is decoded, in pixels: a guard against decompression bombs. Raise it for larger scans.",
        low=1,
        run=True,
    )
    # what is drawn
    map: str = _setting(
        "umap",
        "How the map is made. With `-3d` the report can also draw it in space, which takes as long again; `none` leaves it out and saves"
        " its time.",
        choices=("umap", "tsne", "pca", "umap-3d", "pca-3d", "none"),
        run=True,
    )
    map_sample: int = _setting(
        10_000,
        "Most points drawn of the training set, and again of the incoming data; most items of an atlas. Beyond 100,000 for atlases"
        " alone: maps and reports of that many take hours.",
        low=10,
        high=1_000_000,
        run=True,
    )
    group_sample: int = _setting(20_000, "Most strange items that are searched for groups.", low=10, high=200_000, run=True)
    thumbnail: int = _setting(64, "Longest side of the pictures in the report, in pixels.", low=16, high=512, run=True)

    @classmethod
    def load(
        cls,
        file: Path | None = None,
        environment: Mapping[str, str] | None = None,
        given: Mapping[str, Any] | None = None,
        fitted: Settings | None = None,
    ) -> Settings:
        """Settings from a TOML file, then `ANNOTRIAGE_*` variables, then `given` values (those that are not None).

        fitted: the settings of a reference; then only those that concern a run can still change, the others stay as fitted.
        Raises SettingError naming the file, variable or option, the value and what is allowed.
        """
        values = _read(cls, file, environment, given)
        return cls(**(values if fitted is None else {**fitted.as_dict(), **_of_a_run(values)}))

    def fixed_against(self, fitted: Settings) -> list[str]:
        """Sentences on settings that differ from those that a reference was fitted with, and that a run cannot change."""
        return [
            f"Setting {field.name} is {getattr(self, field.name)!r} here, but stays {getattr(fitted, field.name)!r}:"
            " it was fixed when the reference was fitted. Fit again to change it."
            for field in SETTINGS
            if not field.metadata["run"] and getattr(self, field.name) not in (field.default, getattr(fitted, field.name))
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `Settings(**settings.as_dict())` gives the same settings."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class ServiceSettings(_Table):
    """Every setting of the running service; what a project is triaged with lies in its reference. Raises SettingError."""

    # Label Studio
    label_studio_url: str = _setting("http://127.0.0.1:8080", "Address of Label Studio, as this machine reaches it.", fault=_url_fault)
    label_studio_token: str = _setting(
        "",
        "Token of the account that annotriage works as; give it a service account of its own. A personal access token, or a legacy token.",
        secret=True,
        fault=_token_fault,
    )
    # where the service runs
    host: str = _setting("127.0.0.1", "Address to listen on. 0.0.0.0 where Label Studio runs on another machine.", fault=_host_fault)
    port: int = _setting(9090, "Port to listen on; 0 takes a free one, which no Label Studio will find.", low=0, high=65535)
    service_url: str = _setting(
        "", "Address of this service as Label Studio reaches it, if it is not http://HOST:PORT.", fault=_own_url_fault
    )
    public_url: str = _setting(
        "",
        "Address at which people reach the dashboard: Label Studio links to it, in triage_link of queued tasks and in a line of the"
        " project's description. An identity provider must know ADDRESS/sign-in/provider/back as a place to send people back to. Left"
        " empty, nothing links there, and people come back to service_url.",
        fault=_own_url_fault,
    )
    database: str = _setting(
        "sqlite:///annotriage.db",
        "Where the state lives: a file (sqlite:///PATH, relative to the settings file), or postgresql://USER:PASSWORD@HOST/NAME when"
        " several replicas share the work.",
        secret=True,
        fault=_line_fault,
    )
    user: str = _setting("annotriage", "User name for the service's own interfaces (API, ML backend).", fault=_user_fault)
    password: str = _setting(
        "",
        "Password for it. Left empty, one is made at the first start; `annotriage password` shows it.",
        secret=True,
        fault=_credential_fault,
    )
    trusted_proxy: str = _setting(
        "",
        "Address of a proxy in front that signs people in: its headers X-Forwarded-User and X-Forwarded-For are believed,"
        " anybody else's are not. Empty without one.",
        fault=_ip_fault,
    )
    # an identity provider
    oidc_issuer: str = _setting(
        "",
        "Address of an OpenID Connect provider at which people sign in, as https://accounts.example.com. Empty without one; needs the"
        " extra oidc.",
        fault=_issuer_fault,
    )
    oidc_client: str = _setting("", "Id of this service at the provider.", fault=_line_fault)
    oidc_secret: str = _setting("", "Secret of this service at the provider; empty for a public client.", secret=True, fault=_line_fault)
    oidc_scopes: tuple[str, ...] = _setting(
        ("openid", "email"), "What the provider is asked for, comma-separated. Add what the claims below need.", fault=_scopes_fault
    )
    oidc_name: str = _setting(
        "email",
        "Claim of the ID token that is a person's name here. Take one that people cannot choose themselves at the provider.",
        fault=_name_fault,
    )
    oidc_groups: str = _setting("groups", "Claim of the ID token with a person's groups; a.b for one within another.", fault=_name_fault)
    oidc_roles: tuple[str, ...] = _setting(
        (), "What members of a group may do, comma-separated, as label-admins=administer, staff=look.", fault=_roles_fault
    )
    oidc_role: str = _setting(
        "none",
        "What anybody from the provider may do who has no account here and is in none of those groups.",
        choices=("none", *ROLES),
    )
    # limits
    max_request_mb: int = _setting(512, "Largest request body in MB. Raise it when tasks carry large pictures in themselves.", low=1)
    calls: str = _setting(
        "on",
        "Whether Label Studio calls this service (webhook, ML backend). `off` where it refuses private addresses: everything is polled, and"
        " a task that is opened before it is triaged shows no prediction. Taken over by `annotriage connect`.",
        choices=("on", "off"),
    )
    control: tuple[str, ...] = _setting(
        (),
        "Names of the Choices controls that models answer, comma-separated, for labeling configs with several. Left empty, it is the one"
        " with the model's classes.",
    )
    # media
    media_hosts: tuple[str, ...] = _setting(
        (),
        "Hosts besides Label Studio's that media may be fetched from, comma-separated; *.example.com takes all below it, s3://bucket"
        " lets manifests name files in that bucket.",
    )
    media_seconds: float = _setting(30.0, "Longest time for one file. Raise it for large scans on slow storage.", low=0.1, high=3600)
    media_mb: int = _setting(64, "Largest file that is fetched, in MB. Raise it for large scans.", low=1, high=4096)
    media_connections: int = _setting(
        8, "Files fetched at the same time. More than Label Studio can serve slows its pages.", low=1, high=64
    )
    show_people: str = _setting(
        "on",
        "Whether pages name who answered: how much (Overview), how well (People), and what in an item's history; off: people are numbered,"
        " called person A, person B, or not named.",
        choices=("on", "off"),
    )
    # how often
    poll_seconds: float = _setting(3.0, "How often Label Studio is asked for what no webhook told.", low=0.2, high=3600)
    sweep_seconds: float = _setting(
        900.0, "How often all tasks of a project are compared with the store, one page at a time.", low=5, high=7 * 86400
    )
    predict_seconds: float = _setting(
        10.0, "How long Label Studio may wait for predictions that are still missing; afterwards they are delivered.", low=0.0, high=90
    )
    # how long things are kept
    keep_inbox_days: float = _setting(
        30.0,
        "Days for which webhooks that could not be read are kept for people to look at, the latest 1,000 at most. What they told came by"
        " the polls.",
        low=0.0,
        high=36_500,
    )
    keep_thumbnails_days: float = _setting(
        0.0,
        "Days after which the thumbnails of items go that no longer wait for a person; pages then show the file itself. 0 keeps them.",
        low=0.0,
        high=36_500,
    )
    # who is told
    notice_webhook: str = _setting(
        "",
        "Address that is told by POST, in JSON, when an alarm, a person or trouble stops something, and when it goes on. Chats take it as"
        " an incoming webhook.",
        secret=True,
        fault=_hook_fault,
    )
    notice_mail: tuple[str, ...] = _setting(
        (), "Mail addresses that are told the same, comma-separated; needs mail_server.", fault=_mail_fault
    )
    mail_server: str = _setting(
        "",
        "The mail server: smtp://USER:PASSWORD@HOST:PORT, or smtps:// for TLS from the start. A password is never sent without TLS, but"
        " to this machine.",
        secret=True,
        fault=_mail_server_fault,
    )
    mail_from: str = _setting("", "Sender of the mails; left empty, annotriage at the mail server's host.", fault=_sender_fault)
    # triage of a project (taken over by `annotriage connect`)
    dataset_fields: tuple[str, ...] = _setting(
        (), "Fields of a task's data whose values each make a dataset of their own, comma-separated, as scanner, source."
    )
    item_fields: str = _setting(
        "on",
        "Whether queued tasks get fields that say why they wait: triage_route, triage_reason, triage_outlier_score, triage_diversity of"
        " strange ones, triage_link where public_url is set, and triage_spot_check, by which spot checks have a tab of their own.",
        choices=("on", "off"),
    )
    sample_share: float = _setting(
        0.02, "Share of all items that people answer blind, drawn before they are judged: new held-out items.", low=0.0, high=1.0
    )
    audit_share: float = _setting(
        0.05,
        "Least share of automatic labels that people check blind, and at least 20 a week: many of the first ones. Raise it to find a rising"
        " error sooner.",
        low=0.0,
        high=1.0,
    )
    checks_handed_out: float = _setting(
        0.25,
        "Share of spot checks among the tasks that the Label button hands out, as long as some of them are open.",
        low=0.01,
        high=1.0,
    )
    gold_share: float = _setting(
        0.0,
        "Share of tasks with a known answer among those that people are handed, to learn how often people are wrong; 0: none. They look"
        " like spot checks. Known answers are kept on the People page. 0.02 to 0.05 is usual.",
        low=0.0,
        high=0.5,
    )
    compare_incoming: str = _setting(
        "off",
        "Whether a recalibration compares half of the sample's answers with what came in lately, so that strange items that look like a"
        " known class are automatic less often. The other half carries the guarantee. Worth it where many come in.",
        choices=("on", "off"),
    )
    training_data: str = _setting(
        "",
        "The data that the model was trained on, labelled: what the dashboard's Training page learns beside people's answers. A path on the"
        " machine of the service; a relative one in a settings file is taken from its folder. Empty: training is left to the command line.",
    )
    start_training: str = _setting(
        "recalibrate",
        "What Label Studio's Start training does: `recalibrate` renews the guarantee, `train` makes a new model.",
        choices=("recalibrate", "train"),
    )
    take_over: str = _setting(
        "ask",
        "When a new model takes over: `ask` leaves it to a click on the Training page, `better` lets it once the comparison shows that it"
        " is better on fresh random items and not worse on the old classes.",
        choices=("ask", "better"),
    )
    accept: str = _setting(
        "suggest",
        "What becomes of automatic labels: `suggest` leaves each to a person who submits it, `annotate` makes annotations of them"
        " once their dataset has passed its probation.",
        choices=("suggest", "annotate"),
    )
    group_error: float = _setting(
        0.05,
        "Share of a group of look-alikes that may have another label where people answered some of it and the rest is labelled at once."
        " Lower it and more must be answered.",
        low=0.001,
        high=0.5,
    )
    inherit_answers: str = _setting(
        "off",
        "Whether a near duplicate of an answered item gets its answer as a prediction of its own version. It can be undone, and never"
        " counts as a person's answer.",
        choices=("on", "off"),
    )

    @classmethod
    def load(
        cls, file: Path | None = None, environment: Mapping[str, str] | None = None, given: Mapping[str, Any] | None = None
    ) -> ServiceSettings:
        """Settings of the service from the same file, variables and given values as `Settings.load`. Raises SettingError."""
        return cls(**_read(cls, file, environment, given))


def _read(table: type[_Table], file: Path | None, environment: Mapping[str, str] | None, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values that the sources give for one table. A name that belongs to no table is refused, one of another is left to it."""
    values = {} if file is None else _from_file(file)
    for variable, text in (os.environ if environment is None else environment).items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            if name not in _FIELDS:
                raise SettingError(f"environment variable {variable}: {_unknown(name)}")
            values[name] = _checked(_FIELDS[name], text, f"environment variable {variable}")
    values |= {name: value for name, value in (given or {}).items() if value is not None}
    others = set(_FIELDS) - {field.name for field in dataclasses.fields(table)}
    return {name: value for name, value in values.items() if name not in others}


def _from_file(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise SettingError(f"{file}: cannot be read ({error.strerror}); check the path given to --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingError(f"{file}: not valid TOML: {error}") from error
    unknown = sorted(set(table) - set(_FIELDS))
    if unknown:
        raise SettingError(f"{file}{_line(text, unknown[0])}: {_unknown(unknown[0])}")
    values = {"database": _FIELDS["database"].default, **table}
    values = {name: _checked(_FIELDS[name], value, f"{file}{_line(text, name)}: setting {name}") for name, value in values.items()}
    folder = file.absolute().parent.resolve()
    beside = {"training_data": data_from(folder, values["training_data"])} if "training_data" in values else {}
    return values | {"database": _beside(file, values["database"])} | beside


def data_from(folder: Path, data: str) -> str:
    """DATA whose relative path is taken from a folder. What a labeling tool reads, as label-studio:3, is no path."""
    return data if not data or re.match(r"[\w-]{2,}:", data) else str(folder / data)


def _beside(file: Path, database: str) -> str:
    """A database's address with its relative path taken from the settings file, so that it is the same one from every folder."""
    path = database.removeprefix(SQLITE)
    if path in (database, "", ":memory:") or Path(path).is_absolute():
        return database
    return f"{SQLITE}{file.absolute().parent.resolve() / path}"


def _line(text: str, name: str) -> str:
    """Where a file sets a name, as ", line 3"; "" if it is written in an unusual way."""
    found = re.search(rf"""^\s*(["']?){re.escape(name)}\1\s*[=.\]]""", text.replace("[", " "), re.MULTILINE)
    return "" if found is None else f", line {text.count(chr(10), 0, found.end()) + 1}"


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _FIELDS, n=1)
    return f"no setting is called {name!r}; {f'did you mean {near[0]}?' if near else 'the settings are ' + ', '.join(sorted(_FIELDS))}"


def _of_a_run(values: Mapping[str, Any]) -> dict[str, Any]:
    run = {field.name for field in SETTINGS if field.metadata["run"]}
    return {name: value for name, value in values.items() if name in run}


def _checked(field: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """The value in the field's type (text is parsed), within its limits."""
    kind = _TYPES[field.name]
    try:
        if kind in (int, float) and isinstance(value, bool):
            raise ValueError
        if kind is int:
            value = int(value) if isinstance(value, str) else _whole(value)
        elif kind is float:
            value = float(value)
        elif kind is str and not isinstance(value, str):
            raise ValueError
        elif kind == Numbers:
            value = _named_numbers(value)
        elif kind not in (int, float, str):
            parts = value.split(",") if isinstance(value, str) else list(value)
            value = tuple(str(part).strip() for part in parts if str(part).strip())
    except (TypeError, ValueError, OverflowError):
        wanted = _WANTED.get(kind, "a comma-separated list")
        raise SettingError(f"{where}: {_shown(field, value)} is not {wanted}") from None
    low, high, choices, fault = (field.metadata[key] for key in ("low", "high", "choices", "fault"))
    if fault is not None and (wrong := fault(value)):
        raise SettingError(f"{where}: {_shown(field, value)} {wrong}")
    if choices and value not in choices:
        raise SettingError(f"{where}: {value!r} is none of {', '.join(choices)}")
    if kind == Numbers:
        for name, number in value:
            if not low <= number <= high:
                raise SettingError(f"{where}: {name} = {number:g} is out of range; it must be between {low:g} and {high:g}")
    if kind in (int, float) and not ((low is None or value >= low) and (high is None or value <= high)):
        limits = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise SettingError(f"{where}: {value} is out of range; it must be {limits}")
    return value


def _shown(field: dataclasses.Field[Any], value: Any) -> str:
    return "what it is set to" if field.metadata["secret"] else repr(value)


def _named_numbers(value: Any, within: str = "") -> Numbers:
    """A table of numbers; a table in a table joins both names with " > ". Text is `name = number, name = number`."""
    if isinstance(value, str):
        parts = [part.rpartition("=") for part in value.split(",") if part.strip()]
        value = [(name, float(number)) for name, _, number in parts]
    pairs: list[tuple[str, float]] = []
    for name, number in value.items() if isinstance(value, Mapping) else value:
        if not isinstance(name, str) or isinstance(number, bool | str) or not name.strip():
            raise TypeError
        called = f"{within} > {name.strip()}" if within else name.strip()
        pairs += _named_numbers(number, called) if isinstance(number, Mapping) else [(called, float(number))]
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError
    return tuple(pairs)


def _whole(value: Any) -> int:
    if int(value) != value:
        raise ValueError
    return int(value)


_WANTED: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a word",
    Numbers: "a table of numbers, as `name = 0.5, other = 2`",
}
_TYPES = get_type_hints(Settings) | get_type_hints(ServiceSettings)
SETTINGS = dataclasses.fields(Settings)
SERVICE_SETTINGS = dataclasses.fields(ServiceSettings)
_FIELDS = {field.name: field for field in (*SETTINGS, *SERVICE_SETTINGS)}


def settings_table(fields: Sequence[dataclasses.Field[Any]] = SETTINGS) -> str:
    """The table of settings as docs/settings.md has it, in Markdown."""
    rows = ["| setting | default | what it is for |", "| --- | --- | --- |"]
    for field in fields:
        default = ", ".join(field.default) if isinstance(field.default, tuple) else str(field.default)
        choices = f" One of {', '.join(field.metadata['choices'])}." if field.metadata["choices"] else ""
        help = field.metadata["help"].replace("|", "\\|")
        rows.append(f"| `{field.name}`{'*' if field.metadata['run'] else ''} | {default or 'none'} | {help}{choices} |")
    return "\n".join(rows)
