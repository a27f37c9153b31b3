"""nginx takes every combination of the files that are shipped for its places."""

import re
import shutil
from pathlib import Path

import pytest
import trustme
from tests.deploy.proxy import SOURCE, judged, lay_out

LISTEN = sorted(file.name for file in (SOURCE / "listen").glob("*.conf"))
UPSTREAM = sorted(file.name for file in (SOURCE / "upstream").glob("*.conf"))


@pytest.mark.parametrize("upstream", UPSTREAM)
@pytest.mark.parametrize("listen", LISTEN)
@pytest.mark.parametrize("commented", [False, True], ids=["", "with what is commented out"])
def test_they_are_taken(tmp_path: Path, listen: str, upstream: str, *, commented: bool) -> None:
    folder = tmp_path / "etc"
    lay_out(folder, {})
    text = (SOURCE / "listen" / listen).read_text(encoding="utf-8").replace("/var/log/nginx", str(folder))
    if commented:
        text = re.sub(r"^# (?=(listen|include) )", "", text, flags=re.MULTILINE)
    (folder / "sightline/listen.conf").write_text(text, encoding="utf-8")
    # Only compose and Kubernetes know the gateways by name.
    servers = re.sub(r"server [a-z][\w.-]*:", "server 127.0.0.1:", (SOURCE / "upstream" / upstream).read_text(encoding="utf-8"))
    (folder / "sightline/upstream.conf").write_text(servers, encoding="utf-8")
    (folder / "certs").mkdir()
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_pem.write_to_path(folder / "certs/tls.key")
    shutil.copy(_chain(certificate, tmp_path), folder / "certs/tls.crt")

    ended = judged(folder)

    assert ended.returncode == 0, ended.stderr
    assert "[warn]" not in ended.stderr


def _chain(certificate: trustme.LeafCert, folder: Path) -> Path:
    file = folder / "chain.pem"
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(file, append=True)
    return file
