"""The page of certificates: asked for with a form, shown as they stand, printed, signed; the command says the same."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner
from sqlalchemy import text, update
from web import sign_in

from annotriage.cli import main
from annotriage.errors import DataError, SignatureError
from annotriage.service.guarantee.signing import public_key, verified
from annotriage.store import Store
from annotriage.store.schema import spot_check

AUTH = ("annotriage", "right")
BASE = "/projects/1/certificates"
CHECKS = "SELECT item_id FROM spot_check"


@pytest.fixture
def dashboard(copied, serve_dashboard):
    return serve_dashboard(*copied, password=AUTH[1])


@pytest.fixture
def client(dashboard):
    client = dashboard.app.test_client()
    sign_in(client, AUTH[1])
    return client


@pytest.fixture
def run(dashboard, tmp_path, monkeypatch):
    """The command on the dashboard's database: exit status, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        environment = {"ANNOTRIAGE_LABEL_STUDIO_TOKEN": "unused", "ANNOTRIAGE_DATABASE": dashboard.process.settings.database}
        done = CliRunner().invoke(main, ["certify", *words], env=environment)
        return done.exit_code, done.stdout + done.stderr

    return run


def certify(client, **fields):
    token = re.search(r'name="csrf" value="([^"]+)"', client.get(BASE, headers={"Accept": "text/html"}).text).group(1)
    return client.post(BASE, data={"csrf": token, "dataset": 1, "wanted": "", "until": "", **fields}, follow_redirects=True)


def test_a_certificate_is_asked_for_with_a_form_and_is_the_same_everywhere(client, run):
    assert "No dataset is certified yet" in client.get(BASE, headers={"Accept": "text/html"}).text
    page = certify(client)
    assert page.status_code == 200
    (now,) = client.get(f"{BASE}.json").json["certificates"]
    assert now["sentence"] in page.text
    assert now["labels"] >= now["most"] > 0
    api = client.get("/api/projects/1/certificates", auth=AUTH).json["certificates"]
    assert {**api[0], "as_of": ""} == {**now, "as_of": ""}
    status, said = run("--project", "1", "--dataset", "1")
    assert status == 0
    assert said.startswith(now["sentence"])
    assert "stay as they are" in said
    assert "--anew" in said
    printed = client.get(f"{BASE}/{now['id']}.html").text
    assert now["sentence"] in printed
    assert now["data_hash"] in printed
    assert "<script" not in printed


def test_what_cannot_be_shown_any_more_is_refused_with_what_to_do(client):
    page = certify(client, wanted="3")
    assert page.status_code == 422
    assert "can be checked blind no more" in page.text
    assert client.get(f"{BASE}.json").json["certificates"] == []


def test_nonsense_in_the_form_is_refused(client):
    for fields in ({"dataset": "x"}, {"dataset": 99}, {"wanted": "-1"}, {"wanted": "two"}, {"until": "yesterday"}, {"until": "1980-01-01"}):
        assert certify(client, **fields).status_code in (404, 422), fields
    assert client.get(f"{BASE}/99.html").status_code == 404


def test_whoever_has_the_key_can_tell_that_nothing_was_changed(client, dashboard, run, tmp_path):
    certify(client)
    file, key = tmp_path / "certificate.json", tmp_path / "key.pem"
    assert run("--project", "1", "--dataset", "1", "--out", str(file), "--html", "certificate.html")[0] == 0
    assert run("--export-key", str(key))[0] == 0
    assert key.read_text() == public_key(dashboard.process.store) == client.get(f"{BASE}/key.pem").text
    assert verified(client.get(f"{BASE}/1.signed").text, key.read_text())["id"] == 1
    for words in ((), ("--key", str(key))):
        status, said = run("--verify", str(file), *words)
        assert (status, said.startswith("Unchanged")) == (0, True)
    document = json.loads(file.read_text())
    document["certificate"]["most"] -= 1
    file.write_text(json.dumps(document))
    status, said = run("--verify", str(file), "--key", str(key))
    assert (status, "changed" in said) == (1, True)
    of_nobody = '{"certificate": %s, "signature": {"value": "", "key": "", "algorithm": "Ed25519"}}'
    deep = (f'{{"a": {"[" * depth}1{"]" * depth}}}' for depth in (500, 900, 3000))  # more than is read, or could be written again
    facts = ("1", '{"n": Infinity}', '{"n": [NaN]}', *deep)
    for nonsense in ("", "{}", "[1]", "nonsense", "[" * 3000, *(of_nobody % one for one in facts)):
        with pytest.raises((DataError, SignatureError)):
            verified(nonsense, key.read_text())
    other_kind = key.read_text().replace("MCowBQYDK2Vw", "MCowBQYDYDVw")  # by its number a key for something that nobody knows
    for nonsense in ("no key", "\ud800", other_kind, ""):
        with pytest.raises(DataError, match="no Ed25519 public key"):
            verified(json.dumps(document), nonsense)


def test_another_service_did_not_sign_it(client, dashboard, tmp_path):
    certify(client)
    other = Store(f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(SignatureError, match="another key"):
        verified(client.get(f"{BASE}/1.signed").text, public_key(other))
    other.close()


def test_what_the_model_says_of_an_open_check_is_in_no_certificate(client, dashboard):
    with dashboard.process.store.writing() as connection:
        connection.execute(update(spot_check).values(state="open", labels=None))
        connection.execute(text(f"UPDATE verdict SET label = 'quagga', labels = '[\"quagga\"]' WHERE item_id IN ({CHECKS})"))
    page = certify(client).text
    answers = [page, *(client.get(f"{BASE}{end}").text for end in (".json", "/1.html", "/1.signed"))]
    assert not any("quagga" in answer for answer in answers)


def test_the_api_certifies_too(client):
    made = client.post("/api/projects/1/datasets/1/certificate", auth=AUTH)
    assert made.status_code == 201, made.text
    signed = client.get(f"/api/projects/1/certificates/{made.json['id']}", auth=AUTH).json
    key = client.get("/api/certificate-key", auth=AUTH).json["key"]
    assert verified(json.dumps(signed), key)["most"] == made.json["most"]
    assert client.post("/api/projects/1/datasets/1/certificate?wanted=-2", auth=AUTH).status_code == 422


def test_the_command_says_what_it_lacks(run):
    assert run()[0] == 2
    assert run("--project", "9", "--dataset", "all")[0] == 1
    status, said = run("--project", "1", "--dataset", "nowhere")
    assert (status, "there are" in said) == (1, True)
    assert run("--project", "1", "--dataset", "all", "--until", "soon")[0] == 1
    assert run("--verify", "missing.json", "--key", "missing.pem")[0] == 1
