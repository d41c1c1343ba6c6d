"""The exported folder: files that were checked before the first was written, and export.json, which lists them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from advdpnp.exporting.agreement import ReferenceLogits
from advdpnp.exporting.card import card
from advdpnp.exporting.exported_model import ExportedModel
from advdpnp.exporting.formats import FORMATS, Artifact
from advdpnp.runs import EXPORT_MANIFEST as MANIFEST
from advdpnp.runs import EXPORT_SCHEMA, LOCK, Json, checked, read_json, remove_torn_writes, write_bytes, write_json
from advdpnp.stored_values import check_schema, check_value, differences

# Checksums of all exported files, as the program sha256sum has them.
SUMS = "SHA256SUMS"
# Files that belong to no format: the record behind the model card.
RECORD = "record"

# Two models of different defenses differ in dozens of fields; a message names so many.
_NAMED = 5


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def identity(exported: ExportedModel) -> Json:
    """What makes two exports those of the same model."""
    return {
        "config": exported.stored.config,
        "checkpoint": exported.checkpoint,
        "epoch": exported.epoch,
        "weights": _sha256(exported.weights),
    }


class _File(TypedDict):
    name: str
    format: str
    sha256: str


class _Manifest(TypedDict):
    model: dict[str, Any]
    files: list[_File]


def _checked_manifest(stored: Json) -> Json:
    check_schema(stored, EXPORT_SCHEMA)
    check_value("export.json", stored, _Manifest)
    return stored


def _manifest(out: Path) -> Json | None:
    path = out / MANIFEST
    if not path.is_file():
        return None
    stored = checked(path, f"remove {out}, or choose another --out", lambda: _checked_manifest(read_json(path)))
    inside = out.resolve()
    if not all(_is_inside(file["name"], inside) for file in stored["files"]):
        raise ValueError(f"{path} is damaged (a file outside its folder): remove {out}, or choose another --out")
    return stored


def _is_inside(name: str, folder: Path) -> bool:
    try:
        return (folder / name).resolve().is_relative_to(folder)
    except (ValueError, OSError, RuntimeError):
        # What no path can have, such as half a surrogate pair, or links in a circle.
        return False


def check_folder(out: Path, exported: ExportedModel, force: bool) -> None:
    """Refuse a folder that an export would spoil.

    Args:
        out: folder of the export; new, empty, or an export of the same model.
        exported: what is exported.
        force: an export of another model may be replaced.
    Raises:
        ValueError: it holds other files, the run itself, or an export of another model (what differs is named).
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: give a folder")
    if out.resolve() == exported.stored.folder.resolve():
        raise ValueError(f"--out {out} is the run's own folder: give another one")
    stored = _manifest(out)
    if stored is None:
        if out.is_dir() and any(path.name != LOCK for path in out.iterdir()):
            raise ValueError(f"{out} holds files and no finished export: give a new folder with --out, or remove it")
        return
    found = list(differences(stored.get("model"), identity(exported)))
    if found and not force:
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise ValueError(
            f"{out} holds an export of another model ({'; '.join(found[:_NAMED])}{more}): "
            "choose another --out, or add --force"
        )


def _record(exported: ExportedModel) -> list[Artifact]:
    folder = exported.stored.folder
    files = [("config.json", folder / "config.json", "the experiment; `advdpnp.load` builds the network from it")]
    if (folder / "environment.json").is_file():
        files.append(("environment.json", folder / "environment.json", "what it was trained with"))
    for result in exported.results():
        about = f"evaluation {result.name}, with a verdict for every image"
        files.append((f"eval/{result.path.name}", result.path, about))
    return [Artifact(name, path.read_bytes(), about) for name, path, about in files]


def _entry(artifact: Artifact, group: str) -> Json:
    return {
        "name": artifact.name,
        "format": group,
        "bytes": len(artifact.content),
        "sha256": _sha256(artifact.content),
        "about": artifact.about,
        "checked": artifact.checked,
    }


def _kept(out: Path, stored: Json | None, same_model: bool, replaced: Sequence[str]) -> list[Json]:
    """Files of an earlier export of this model in other formats, where they are as they were written."""
    if stored is None or not same_model:
        return []
    return [
        file
        for file in stored["files"]
        if file["format"] not in replaced
        and (out / file["name"]).is_file()
        and _sha256((out / file["name"]).read_bytes()) == file["sha256"]
    ]


def write_export(
    exported: ExportedModel,
    reference_logits: ReferenceLogits,
    out: Path,
    formats: Sequence[str],
    environment: Json,
    force: bool = False,
) -> Json:
    """Write the files of these formats with config, results and model card; returns the content of export.json.

    Formats that an earlier export of the same model left in the folder stay. Nothing is written if a check fails.

    Args:
        exported: what is exported.
        reference_logits: images with the classifier's answers, which every file must give too.
        out: folder of the export.
        formats: keys of `FORMATS`.
        environment: of this export.
        force: replace an export of another model.
    Raises:
        ValueError: as `check_folder`; or a file would not answer as the classifier does.
    """
    check_folder(out, exported, force)
    groups = {RECORD: _record(exported), **{name: FORMATS[name](exported, reference_logits) for name in formats}}
    stored, model = _manifest(out), identity(exported)
    same_model = stored is not None and stored.get("model") == model
    files = [_entry(artifact, name) for name, artifacts in groups.items() for artifact in artifacts]
    files += _kept(out, stored, same_model, [*groups, "card"])
    text = card(exported, files, environment)
    readme = Artifact("README.md", text.encode(), "the model card")
    files.append(_entry(readme, "card"))
    remove_torn_writes(out, out / "eval")
    if stored is not None:
        # First the list, so that a kill in between leaves no list of files that are gone.
        (out / MANIFEST).unlink()
        for name in {file["name"] for file in stored["files"]} - {file["name"] for file in files}:
            (out / name).unlink(missing_ok=True)
    for artifact in (*(artifact for artifacts in groups.values() for artifact in artifacts), readme):
        write_bytes(out / artifact.name, artifact.content)
    # For other programs' readers: sha256sum -c SHA256SUMS.
    write_bytes(out / SUMS, "".join(f"{file['sha256']}  {file['name']}\n" for file in files).encode())
    manifest = {"schema": EXPORT_SCHEMA, "model": model, "files": files, "environment": environment}
    write_json(out / MANIFEST, manifest)
    return manifest
