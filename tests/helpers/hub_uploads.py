"""A model hub on loopback that takes uploads from the real `huggingface_hub` client, as far as the hub's own protocol goes:

creating a repository, checking a card's head, asking how a file is to be sent, Git LFS for large ones, and the commit.
A client has to run with HF_HUB_DISABLE_XET=1: the store that it would otherwise send large files to is not HTTP alone.

Example: `with HubUploads() as hub: environ["HF_ENDPOINT"] = hub.url`; then `hub.repositories["me/bard"].files["README.md"]`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from tests.helpers.hub_server import COMMIT, HubServer

TOKEN, READER = "hf_" + "w" * 30, "hf_" + "r" * 30  # may write, may only read
LFS_BYTES = 100_000  # larger files, and weights, go by Git LFS


@dataclass
class Repository:
    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)


class HubUploads(HubServer):
    """`repositories` holds what was made, by ORG/NAME; `fails` is the path of a request that is answered with 500."""

    def __init__(self, fails: str = ""):
        super().__init__([{"unused": 1}])
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.fails = fails

    def answer(self, path: str, body: bytes, asked: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
        if path.startswith("/lfs/"):  # a signed address: the client sends no login there
            assert hashlib.sha256(body).hexdigest() == path[5:] and "Authorization" not in asked
            self.objects[path[5:]] = body
            return 200, b"", {}
        login = (asked.get("Authorization") or "").removeprefix("Bearer ")
        if login not in (TOKEN, READER):
            return self._refuse(401, "Invalid username or password.")
        if login == READER and not path.startswith("/api/models/"):
            return self._refuse(403, "You don't have the rights to create a model under this namespace")
        if self.fails and path.endswith(self.fails):
            return self._refuse(500, "Internal Error")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        name = re.search(r"^(?:/api/models)?/([^/]+/[^/.]+(?:\.[^/.]+)*?)(?:\.git)?(?:/|$)", path)[1]
        if name not in self.repositories:
            return self._refuse(404, "Repository not found", "RepoNotFound")
        repository = self.repositories[name]
        if path == f"/api/models/{name}":
            names = [{"rfilename": file} for file in (".gitattributes", *repository.files)]
            return self._say({"id": name, "_id": "1", "sha": COMMIT, "private": repository.private, "siblings": names})
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = {
                file["path"]: "lfs" if file["size"] > LFS_BYTES or file["path"].endswith(".safetensors") else "regular" for file in files
            }
            return self._say({"files": [{"path": file, "uploadMode": mode, "shouldIgnore": False} for file, mode in modes.items()]})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [file | {"actions": {"upload": {"href": f"{self.url}/lfs/{file['oid']}"}}} for file in json.loads(body)["objects"]]
            return self._say({"transfer": "basic", "objects": objects}, "application/vnd.git-lfs+json")
        assert path == f"/api/models/{name}/commit/main", path
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.objects[value["oid"]]
        return self._say({"success": True, "commitOid": COMMIT, "commitUrl": f"{self.url}/{name}/commit/{COMMIT}"})

    def _create(self, asked: dict) -> tuple[int, bytes, dict[str, str]]:
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else f"me/{asked['name']}"
        if name in self.repositories:
            return self._say({"error": "You already created this model repo", "url": f"{self.url}/{name}"}, status=409)
        self.repositories[name] = Repository(private=asked.get("visibility") == "private" or bool(asked.get("private")))
        return self._say({"url": f"{self.url}/{name}"})

    def _validate(self, card: str) -> tuple[int, bytes, dict[str, str]]:
        """What the hub refuses in the head of a card: a base model that is no name on the hub, a licence that is no identifier."""
        head = yaml.safe_load(card.split("---")[1])
        wrong = [key for key in ("base_model", "license") if key in head and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", head[key])]
        errors = [{"message": f'"{key}" is not valid'} for key in wrong]
        return self._say({"errors": errors, "warnings": []}, status=400 if errors else 200)

    def _say(self, value: dict, kind: str = "application/json", status: int = 200) -> tuple[int, bytes, dict[str, str]]:
        return status, json.dumps(value).encode(), {"Content-Type": kind}

    def _refuse(self, status: int, reason: str, code: str = "") -> tuple[int, bytes, dict[str, str]]:
        return status, json.dumps({"error": reason}).encode(), {"X-Error-Message": reason, **({"X-Error-Code": code} if code else {})}
