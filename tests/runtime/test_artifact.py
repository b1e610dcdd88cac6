# SPDX-License-Identifier: MIT
"""Artifacts: written whole or not at all, and everything damaged is a typed error."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from agreement import assert_agree
from ranvier.errors import ArtifactError
from ranvier.runtime import (
    Artifact,
    ModelInfo,
    Session,
    Specialisation,
    is_artifact,
    key_of,
    machine,
)
from ranvier.runtime.artifact import join_variants
from ranvier.runtime.buffers import ParameterBlob
from ranvier.runtime.dtypes import name_of_dtype
from ranvier.runtime.program import Parameter, Program, TensorSpec
from ranvier.runtime.stages import Following, Result
from ranvier.runtime.weights import (
    StoredTensor,
    content_key,
    load_weights,
    read_weights,
    write_weights,
)
from small_program import W, expected, small_program, target_info

FILES = ["graph-0.ir", "library-0.so", "manifest.json", "program-0.json", "weights.safetensors"]


def everything_left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_holds_what_the_manifest_says(saved: Path) -> None:
    assert everything_left(saved) == FILES
    assert is_artifact(saved)
    assert not is_artifact(saved.parent)


def test_loaded_artifact_is_the_saved_one(saved: Path, specialisation: Specialisation) -> None:
    loaded = Artifact.load(saved)
    loaded.verify()
    found = loaded.find(specialisation.key)
    assert found is not None
    assert loaded.path == saved
    assert (found.program, found.graph) == (specialisation.program, specialisation.graph)
    assert found.library.read_bytes() == specialisation.library.read_bytes()
    np.testing.assert_array_equal(found.weights["w"], W)


def test_unknown_key_is_not_found(artifact: Artifact) -> None:
    assert artifact.find(key_of([np.zeros((5, 3), np.float32)])) is None


def test_following_stage_is_kept(
    model: ModelInfo, specialisation: Specialisation, tmp_path: Path
) -> None:
    staged = replace(specialisation, following=Following("next", ("x",)))
    Artifact(model, target_info(), [staged]).save(tmp_path / "a")
    found = Artifact.load(tmp_path / "a").find(staged.key)
    assert found is not None
    assert found.following == Following("next", ("x",))


def test_saving_again_replaces(artifact: Artifact, saved: Path) -> None:
    artifact.save(saved)
    assert everything_left(saved.parent) == ["model"]
    Artifact.load(saved).verify()


def test_saving_replaces_where_folders_cannot_be_exchanged(
    artifact: Artifact, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranvier.runtime.atomic.ctypes.CDLL", lambda *_, **__: object())
    artifact.save(saved)
    assert everything_left(saved.parent) == ["model"]
    Artifact.load(saved).verify()


def test_a_loaded_artifact_can_be_saved_over_itself(saved: Path, x: Any) -> None:
    Artifact.load(saved).save(saved)
    assert_agree(Session(saved).run(None, {"x": x}), expected(x))


def test_equal_arrays_are_stored_once(
    model: ModelInfo, specialisation: Specialisation, tmp_path: Path
) -> None:
    key = key_of([np.zeros((2, 3), np.float32)], stage="other")
    again = replace(specialisation, key=key, weights={"w": W.copy()})
    Artifact(model, target_info(), [specialisation, again]).save(tmp_path / "a")
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())["manifest"]
    assert len(manifest["entries"]) == 2
    assert len(manifest["tensors"]) == 1


def test_empty_artifact_is_not_saved(model: ModelInfo, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no compiled shapes yet"):
        Artifact(model, target_info()).save(tmp_path / "a")
    assert everything_left(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_not_an_artifact_is_not_replaced(
    artifact: Artifact, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "taken"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
        (path / "mine").touch()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="choose another name"):
        artifact.save(path)
    assert everything_left(tmp_path) == ["taken"]


# Failures while writing


def test_missing_library_leaves_nothing(
    model: ModelInfo, specialisation: Specialisation, tmp_path: Path
) -> None:
    lost = replace(specialisation, library=tmp_path / "lost.so")
    with pytest.raises(ArtifactError, match="cannot write artifact"):
        Artifact(model, target_info(), [lost]).save(tmp_path / "a")
    assert everything_left(tmp_path) == []


LIMITED = """
import resource, signal, sys
from ranvier.errors import ArtifactError
from ranvier.runtime import Artifact
artifact = Artifact.load(sys.argv[1])
artifact.specialisations()
# Like a full disk: writing beyond this size fails with an error.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    artifact.save(sys.argv[2])
except ArtifactError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [10, 500, 2000])
@pytest.mark.parametrize("over", [True, False], ids=["replacing", "new"])
def test_full_disk_leaves_the_old_artifact_or_nothing(saved: Path, limit: int, over: bool) -> None:
    before = {f: (saved / f).read_bytes() for f in FILES}
    target = saved if over else saved.parent / "new"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(saved), str(target), str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot write artifact" in done.stdout
    assert everything_left(saved.parent) == ["model"]
    assert before == {f: (saved / f).read_bytes() for f in FILES}


def test_place_that_cannot_be_written_is_a_typed_error(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot write artifact"):
        artifact.save(tmp_path / "file" / "a")


# Damage


def use(path: Path) -> None:
    """Open an artifact and read everything in it."""
    artifact = Artifact.load(path)
    artifact.specialisations()
    artifact.verify()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer", "flipped"])
def test_damaged_file_is_a_typed_error(saved: Path, name: str, damage: str) -> None:
    path = saved / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    changed = {
        "missing": None,
        "empty": b"",
        "truncated": path.read_bytes()[:-1],
        "longer": path.read_bytes() + b"0",
        "flipped": bytes(data),
    }[damage]
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    if (name, damage) == ("manifest.json", "truncated"):
        return  # only the final newline is lost
    with pytest.raises(ArtifactError, match=str(saved)):
        use(saved)


def test_every_flipped_bit_of_a_manifest_is_found(saved: Path) -> None:
    path = saved / "manifest.json"
    data = path.read_bytes()
    original = json.loads(data)
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            Artifact.load(saved)
        except ArtifactError:
            continue
        assert json.loads(changed) == original, f"byte {position} was changed unnoticed"


def edited(saved: Path, **changes: Any) -> None:
    """Change fields of the manifest and give it the right checksum."""
    from ranvier.runtime.manifest import _checksum

    path = saved / "manifest.json"
    body = json.loads(path.read_text())["manifest"]
    body.update(changes)
    path.write_text(json.dumps({"checksum": _checksum(body), "manifest": body}))


@pytest.mark.parametrize(
    "name", ["../model/program-0.json", "/etc/passwd", "a/b", "..", ".hidden", "", "a\x00b"]
)
def test_files_outside_the_folder_are_refused(saved: Path, name: str) -> None:
    body = json.loads((saved / "manifest.json").read_text())["manifest"]
    files = body["files"]
    files[0]["name"] = name
    edited(saved, files=files)
    with pytest.raises(ArtifactError, match="not a plain file name"):
        Artifact.load(saved)


def test_linked_files_are_refused(saved: Path) -> None:
    library = saved / "library-0.so"
    library.rename(saved.parent / "elsewhere.so")
    library.symlink_to(saved.parent / "elsewhere.so")
    with pytest.raises(ArtifactError, match="not a plain file"):
        Artifact.load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "artifact format is 1, this release of ranvier reads 2"),
        ({"format": "1"}, "artifact format is '1'"),
        ({"files": []}, "is used but not listed"),
        ({"tensors": []}, "tensor '[0-9a-f]*' is used but not listed"),
        ({"model": None}, "expected an object of kind ModelInfo"),
        ({"surprise": 1}, "unknown key 'surprise'"),
    ],
)
def test_odd_manifests_are_refused(saved: Path, changes: dict[str, Any], message: str) -> None:
    edited(saved, **changes)
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(saved)


def test_a_folder_without_manifest_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not an artifact"):
        Artifact.load(tmp_path)
    with pytest.raises(ArtifactError, match="is not an artifact"):
        Artifact.load(tmp_path / "nowhere")


def test_wrong_checksum_of_the_manifest_says_damaged(saved: Path) -> None:
    path = saved / "manifest.json"
    path.write_text(path.read_text().replace('"small"', '"smalk"'))
    with pytest.raises(ArtifactError, match="checksum does not match"):
        Artifact.load(saved)


# Machines


@pytest.fixture
def another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_features", lambda: frozenset({"avx2"}))
    monkeypatch.setattr(machine, "this_arch", lambda: "x86_64")
    monkeypatch.setattr(machine, "this_os", lambda: "linux")


@pytest.mark.usefixtures("another_machine")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ("avx2", "avx512f", "amx_tile")}, "features amx_tile, avx512f, which"),
        ({"arch": "aarch64"}, "for linux on aarch64, this machine is linux on x86_64"),
        ({"os": "darwin"}, "for darwin on x86_64"),
    ],
)
def test_artifact_of_another_machine_is_refused_but_can_be_inspected(
    model: ModelInfo,
    specialisation: Specialisation,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    target = target_info(**{"os": "linux", "arch": "x86_64", **changes})
    Artifact(model, target, [specialisation]).save(tmp_path / "a")
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(tmp_path / "a")
    assert Artifact.load(tmp_path / "a", any_machine=True).target == target


# Variants


LEVELS: dict[str, tuple[str, ...]] = {
    "old": (),
    "middle": ("avx2",),
    "new": ("avx2", "avx512f"),
}


def with_variants(model: ModelInfo, specialisation: Specialisation, folder: Path) -> Path:
    """Save code for three levels of a processor; return the folder."""
    artifacts = [
        Artifact(model, target_info(name=n, os="linux", arch="x86_64", features=f), [s])
        for n, f in LEVELS.items()
        for s in (replace(specialisation, graph=n, weights={"w": W.copy()}),)
    ]
    join_variants(artifacts, any_machine=True).save(folder)
    return folder


@pytest.mark.usefixtures("another_machine")
@pytest.mark.parametrize(
    ("features", "best"), [((), "old"), (("avx2",), "middle"), (("avx2", "avx512f"), "new")]
)
def test_the_best_variant_that_can_run_is_loaded(
    model: ModelInfo,
    specialisation: Specialisation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    features: tuple[str, ...],
    best: str,
) -> None:
    folder = with_variants(model, specialisation, tmp_path / "a")
    monkeypatch.setattr(machine, "cpu_features", lambda: frozenset(features))
    loaded = Artifact.load(folder)
    found = loaded.find(specialisation.key)
    assert found is not None
    assert (loaded.target.name, found.graph) == (best, best)
    assert {v.target.name for v in loaded.variants} == LEVELS.keys() - {best}


def test_variants_share_equal_weights_and_outlive_another_save(
    model: ModelInfo, specialisation: Specialisation, tmp_path: Path
) -> None:
    folder = with_variants(model, specialisation, tmp_path / "a")
    Artifact.load(folder, any_machine=True).save(tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())["manifest"]
    assert len(manifest["entries"]) == len(manifest["targets"]) == 3
    assert len(manifest["tensors"]) == 1


@pytest.mark.usefixtures("another_machine")
def test_variants_of_which_none_can_run_say_why(
    model: ModelInfo, specialisation: Specialisation, tmp_path: Path
) -> None:
    targets = [target_info(name=a, os="linux", arch=a) for a in ("aarch64", "riscv64")]
    artifacts = [Artifact(model, t, [specialisation]) for t in targets]
    with pytest.raises(ArtifactError, match=r"linux on aarch64.*; .*linux on riscv64"):
        join_variants(artifacts)
    join_variants(artifacts, any_machine=True).save(tmp_path / "a")
    with pytest.raises(ArtifactError, match=r"linux on aarch64.*; .*linux on riscv64"):
        Artifact.load(tmp_path / "a")


def test_variants_must_be_of_one_model_and_all_be_compiled(
    model: ModelInfo, artifact: Artifact, tmp_path: Path
) -> None:
    other = Artifact(replace(model, name="other"), artifact.target)
    with pytest.raises(ArtifactError, match="must be of one model"):
        join_variants([artifact, other])
    joined = join_variants([artifact, Artifact(model, artifact.target)])
    with pytest.raises(ArtifactError, match="no compiled shapes yet"):
        joined.save(tmp_path / "a")


def test_cpu_features_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = tmp_path / "cpuinfo"
    text.write_text("processor : 0\nFeatures : fp asimd\n\nprocessor : 1\nFeatures : fp\n")
    monkeypatch.setattr(machine, "_CPUINFO", text)
    machine.cpu_features.cache_clear()
    try:
        assert machine.cpu_features() == {"fp", "asimd"}
        monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "none")
        machine.cpu_features.cache_clear()
        assert machine.cpu_features() == frozenset()
    finally:
        machine.cpu_features.cache_clear()


# Weights


ARRAYS: dict[str, Any] = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(3, np.int64),
    "empty": np.zeros((0, 4), np.float64),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j], np.complex64),
    "bfloat16": np.array([1.5, -2], ml_dtypes.bfloat16),
    "float8": np.array([[1.5], [-2]], ml_dtypes.float8_e4m3fn),
    "int4": np.array([1, -2, 7], ml_dtypes.int4),
    "strided": np.arange(6, dtype=np.int8)[::2],
}


def stored(arrays: dict[str, Any]) -> list[StoredTensor]:
    return [StoredTensor(k, name_of_dtype(a.dtype), a.shape) for k, a in arrays.items()]


def save(path: Path) -> None:
    with path.open("wb") as file:
        write_weights(file, ARRAYS)


@pytest.mark.parametrize("listed", [True, False])
def test_weights_of_every_kind_come_back(tmp_path: Path, listed: bool) -> None:
    save(tmp_path / "w")
    loaded = read_weights(tmp_path / "w", stored(ARRAYS) if listed else None)
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def loaded_aligned(path: Path) -> dict[str, Any]:
    """Save the arrays aligned and load them."""
    with path.open("wb") as file:
        write_weights(file, ARRAYS, aligned=True)
    data = path.read_bytes()
    return load_weights(path, len(data), hashlib.sha256(data).hexdigest(), stored(ARRAYS))


def test_aligned_weights_are_loaded_as_they_lie(tmp_path: Path) -> None:
    loaded = loaded_aligned(tmp_path / "w")
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].ctypes.data % 64 == 0
        assert not loaded[name].flags.writeable


@pytest.mark.parametrize("size", [0, 10, -1])
def test_weights_that_are_not_those_of_the_checksum_are_damaged(tmp_path: Path, size: int) -> None:
    save(tmp_path / "w")
    data = (tmp_path / "w").read_bytes()
    (tmp_path / "w").write_bytes(data[:size])
    with pytest.raises(ArtifactError, match="checksum does not match"):
        load_weights(tmp_path / "w", len(data), hashlib.sha256(data).hexdigest(), stored(ARRAYS))


def test_a_program_runs_on_loaded_weights_without_a_copy(tmp_path: Path) -> None:
    loaded = loaded_aligned(tmp_path / "w")
    offsets = np.cumsum([0] + [-(-a.nbytes // 64) * 64 for a in ARRAYS.values()]).tolist()
    parameters = tuple(
        Parameter(k, at, TensorSpec(k, name_of_dtype(a.dtype), a.shape))
        for at, (k, a) in zip(offsets, ARRAYS.items(), strict=False)
    )
    program = Program((), (), parameters, offsets[-1], 0, (), ())
    blob = ParameterBlob.of(program, loaded)
    assert blob.block.address == loaded["float32"].ctypes.data
    # Writable arrays may change, and other places are other places: both are copied.
    for arrays in (ARRAYS, dict(loaded, scalar=loaded["scalar"].copy())):
        copied = ParameterBlob.of(program, arrays)
        assert copied.block.address != blob.block.address
        assert copied.block.array[:24].tobytes() == blob.block.array[:24].tobytes()


def test_the_safetensors_library_reads_the_file(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    save(tmp_path / "w")
    loaded = load_file(tmp_path / "w")
    np.testing.assert_array_equal(loaded["float32"], ARRAYS["float32"])
    assert loaded.keys() == ARRAYS.keys()


@pytest.mark.parametrize("length", [0, 3, 8, 40, -1])
def test_truncated_weights_are_a_typed_error(tmp_path: Path, length: int) -> None:
    save(tmp_path / "w")
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:length])
    with pytest.raises(ArtifactError, match="cannot read the weights"):
        read_weights(tmp_path / "w", stored(ARRAYS))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (StoredTensor("other", "float32", (2, 3)), "lacks tensor other"),
        (StoredTensor("float32", "float32", (3, 2)), r"the manifest says float32\[3, 2\]"),
        (StoredTensor("float32", "int32", (2, 3)), "the manifest says int32"),
        (StoredTensor("bfloat16", "bfloat16", (3,)), "the manifest says bfloat16"),
        (StoredTensor("bfloat16", "string", (2,)), "has no place among the weights"),
    ],
)
def test_weights_that_differ_from_the_manifest_are_refused(
    tmp_path: Path, tensor: StoredTensor, message: str
) -> None:
    save(tmp_path / "w")
    with pytest.raises(ArtifactError, match=message):
        read_weights(tmp_path / "w", [tensor])


def test_content_keys_tell_types_and_shapes_apart() -> None:
    a = np.zeros(4, np.float32)
    others = [a.reshape(2, 2), a.view(np.int32), a + 1]
    assert content_key(a) == content_key(a.copy())
    assert len({content_key(x) for x in [a, *others]}) == 4


# Processes


RUN = """
import sys
import numpy as np
from ranvier.runtime import Session
x = np.arange(6, dtype=np.float32).reshape(2, 3)
print(Session(sys.argv[1]).run(["z"], {"x": x})[0].tolist())
print(*sys.modules)
"""


def test_running_loads_neither_compiler_nor_onnx(saved: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(saved)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    result, modules = done.stdout.splitlines()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(json.loads(result), expected(x)[1], 1e-6)
    loaded = {m.partition(".")[0] for m in modules.split()}
    assert not loaded & {"tvm", "onnx", "google", "click", "rich", "onnxruntime"}
    layers = {m.split(".")[1] for m in modules.split() if m.startswith("ranvier.")}
    assert layers <= {"runtime", "ir", "errors"}


def test_without_host_steps_the_ir_stays_unloaded(
    model: ModelInfo, specialisation: Specialisation, tmp_path: Path
) -> None:
    program = small_program()
    # Output `e` comes from a host step in the small program: drop it with the host steps.
    bare = replace(
        program,
        outputs=program.outputs[1:],
        output_slots=(),
        checks=(),
        steps=(program.steps[0],),
    )
    outputs = (model.outputs[1],)
    artifact = Artifact(
        replace(model, outputs=outputs),
        target_info(),
        [
            replace(
                specialisation,
                program=replace(bare, outputs=bare.outputs[:1]),
                results=(Result("z"),),
            )
        ],
    )
    artifact.save(tmp_path / "bare")
    code = f"import sys; from ranvier.runtime import Session; Session({str(tmp_path / 'bare')!r})"
    code += "; print('ranvier.ir' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_moved_folder_still_runs(saved: Path, x: Any) -> None:
    moved = saved.parent / "moved"
    shutil.move(saved, moved)
    assert_agree(Session(moved).run(None, {"x": x}), expected(x))


def test_parameter_without_weights_is_refused(saved: Path) -> None:
    body = json.loads((saved / "manifest.json").read_text())["manifest"]
    entries = body["entries"]
    entries[0]["weights"] = []
    edited(saved, entries=entries)
    with pytest.raises(ArtifactError, match="parameter 'w' has no weights"):
        Artifact.load(saved).specialisations()


def test_extended_types_survive(
    model: ModelInfo, specialisation: Specialisation, tmp_path: Path
) -> None:
    array = np.array([1.5, -2, 3], ml_dtypes.bfloat16)
    parameter = Parameter("w", 64, TensorSpec("w", "bfloat16", (3,)))
    program = replace(specialisation.program, parameters=(parameter,))
    changed = replace(specialisation, program=program, weights={"w": array})
    Artifact(model, target_info(), [changed]).save(tmp_path / "a")
    found = Artifact.load(tmp_path / "a").find(changed.key)
    assert found is not None
    np.testing.assert_array_equal(found.weights["w"], array)
