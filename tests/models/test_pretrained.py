"""Published weights: read whole, refused when anything is amiss, and never run as code."""

import contextlib
import logging
import pickle
import runpy
import struct
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from afnet_jax.errors import WeightsError
from afnet_jax.models import pretrained
from afnet_jax.models.pretrained import load_pretrained, save_ported
from afnet_jax.models.weight_files import read_weights
from afnet_jax.sha256 import digest_of_file
from tests.support.torchvision_weights import torchvision_tensors

PORT = Path(__file__).parents[2] / "tools" / "port_imagenet.py"


def to_transformers(name: str) -> str:
    """torchvision's name -> transformers', by the table of FORMATS rather than by the code under test."""
    kinds = {"conv": "convolution", "bn": "normalization"}
    parts = name.split(".")
    if parts[0] == "fc":
        return f"classifier.1.{parts[1]}"
    if parts[0] in ("conv1", "bn1"):
        return f"resnet.embedder.embedder.{kinds[parts[0][:-1]]}.{parts[1]}"
    stage, block, inner, *rest = int(parts[0][-1]) - 1, parts[1], *parts[2:]
    stem = f"resnet.encoder.stages.{stage}.layers.{block}"
    if inner == "downsample":
        return f"{stem}.shortcut.{('convolution', 'normalization')[int(rest[0])]}.{rest[1]}"
    return f"{stem}.layer.{int(inner[-1]) - 1}.{kinds[inner[:-1]]}.{rest[0]}"


@pytest.fixture(scope="module")
def published() -> dict[str, np.ndarray]:
    return torchvision_tensors()


@pytest.fixture
def safetensors_file(published, tmp_path) -> Path:
    safetensors.numpy.save_file(published, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def assert_is_published(tensors, published):
    np.testing.assert_array_equal(tensors["conv1.kernel"], published["conv1.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(
        tensors["layer3.0.downsample_conv.kernel"], published["layer3.0.downsample.0.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(tensors["layer3.0.downsample_bn.var"], published["layer3.0.downsample.1.running_var"])
    np.testing.assert_array_equal(tensors["layer4.1.bn2.scale"], published["layer4.1.bn2.weight"])
    assert len(tensors) == len(published) - 2
    assert sum(t.size for t in tensors.values()) == sum(t.size for n, t in published.items() if "fc." not in n)


def test_safetensors_under_torchvisions_and_timms_names(published, safetensors_file):
    assert_is_published(read_weights(safetensors_file), published)


def test_safetensors_under_transformers_names(published, tmp_path):
    renamed = {to_transformers(name): tensor for name, tensor in published.items()}
    safetensors.numpy.save_file(renamed, tmp_path / "model.safetensors")
    assert_is_published(read_weights(tmp_path / "model.safetensors"), published)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pytorchs_files(published, tmp_path, zipped):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(tensor.copy()) for name, tensor in published.items()}
    tensors["bn1.num_batches_tracked"] = torch.tensor(0)
    torch.save(tensors, tmp_path / "resnet18.pth", _use_new_zipfile_serialization=zipped)
    assert_is_published(read_weights(tmp_path / "resnet18.pth"), published)


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as refused:
        load_pretrained(path)
    message = str(refused.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("layer2.0.bn1.weight"), "layer2.0.bn1.scale: expected (128,) as in ResNet18, found none"),
        (
            lambda t: t.update({"layer1.0.conv1.weight": np.zeros((64, 64, 1, 1), np.float32)}),  # ResNet50's
            "layer1.0.conv1.kernel: expected (3, 3, 64, 64) as in ResNet18, found (1, 1, 64, 64)",
        ),
        (lambda t: t.update({"layer1.0.conv3.weight": np.zeros((9, 9, 1, 1), np.float32)}), "layer1.0.conv3"),
        (lambda t: t.update({"bn1.bias": np.full(64, np.nan, np.float32)}), "expected finite values, found 64"),
        (lambda t: t.update({"bn1.running_var": np.full(64, -1, np.float32)}), "expected variances, found -1"),
        (lambda t: t.update({"bn1.bias": np.zeros(64, np.int32)}), "floating-point numbers, found int32"),
    ],
    ids=["missing", "ResNet50", "surplus", "NaN", "negative variance", "integers"],
)
def test_tensors_of_another_network_are_refused(published, tmp_path, change, says):
    tensors = dict(published)
    change(tensors)
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    assert says in refusal(tmp_path / "model.safetensors")


def test_files_that_are_no_weights_are_refused(safetensors_file, tmp_path):
    whole = safetensors_file.read_bytes()
    safetensors_file.write_bytes(whole[: len(whole) // 2])
    assert "expected a whole safetensors file" in refusal(safetensors_file)
    safetensors_file.write_bytes(struct.pack("<Q", 2**60) + b"{")
    assert "expected a whole safetensors file" in refusal(safetensors_file)
    assert "found none" in refusal(tmp_path / "nowhere.pth")
    (tmp_path / "resnet18-f37072fd.pth").write_bytes(b"not what was published")
    assert "SHA-256 that begins with f37072fd" in refusal(tmp_path / "resnet18-f37072fd.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_truncated_pickles_are_refused(published, tmp_path, zipped):
    torch = pytest.importorskip("torch")
    path = tmp_path / "resnet18.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:-500])
    assert "expected a whole file of PyTorch tensors" in refusal(path)


class Payload:
    """What an attacker would pickle: on loading it writes a file."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return (Path.write_text, (self.trace, "ran"))


@pytest.mark.parametrize("kind", ["bare", "zip", "legacy"])
def test_a_payload_in_a_pickle_is_refused_and_does_not_run(tmp_path, kind):
    torch = pytest.importorskip("torch")
    trace, path = tmp_path / "trace", tmp_path / "resnet18.pth"
    if kind == "bare":
        path.write_bytes(pickle.dumps(Payload(trace)))
    else:
        torch.save({"conv1.weight": Payload(trace)}, path, _use_new_zipfile_serialization=kind == "zip")
    assert "expected a whole file of PyTorch tensors alone" in refusal(path)
    assert not trace.exists()
    with contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
    assert trace.exists(), "the payload is real: an unguarded load runs it"


def test_a_pickle_that_unfolds_is_refused_before_it_does(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "bomb.pth"
    torch.save({"conv1.weight": torch.zeros(1000, 1000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(WeightsError, match=r"bomb.pth: expected .*, found one that unfolds to 4,0"):
        read_weights(path)
    torch.save({"conv1.weight": torch.zeros(1, dtype=torch.float16).expand(2**40)}, path)
    with pytest.raises(WeightsError, match=r"conv1.weight: expected plain numbers that the file holds"):
        read_weights(path)


def test_without_pytorch_the_way_out_is_named(tmp_path, monkeypatch):
    (tmp_path / "resnet18.pth").write_bytes(b"\x80\x02 a pickle, going by its first bytes")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install torch, or take the same weights as .safetensors" in refusal(tmp_path / "resnet18.pth")


def test_ported_folder_gives_the_same_weights(published, safetensors_file, tmp_path, capsys):
    out = tmp_path / "ported"
    assert run_tool(f"--weights={safetensors_file}", f"--out={out}") == 0
    assert "100 tensors, 11,186,112 values" in capsys.readouterr().out
    assert_is_published(load_pretrained(out).tensors, published)
    assert run_tool(f"--weights={safetensors_file}", f"--out={out}") == 1
    error = capsys.readouterr().err
    assert "expected a new or empty folder" in error
    assert error.count("\n") == 1


def run_tool(*arguments: str) -> int:
    main = runpy.run_path(str(PORT))["main"]
    return main(list(arguments))


def test_ported_weights_want_their_space(safetensors_file, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(WeightsError, match=r"no space left on the disk for \d+ MB"):
        save_ported(safetensors_file, tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


def test_a_damaged_ported_folder_is_refused(safetensors_file, tmp_path):
    out = tmp_path / "ported"
    save_ported(safetensors_file, out)
    digests = out / "digests.json"
    stated = digests.read_text()
    digests.write_text(stated.replace('"bn1.bias": "', '"bn1.bias": "0'))
    assert "tensor bn1.bias: expected SHA-256" in refusal(out)
    digests.write_text(stated[:100])
    assert "expected a folder written by afnet port-imagenet" in refusal(out)
    digests.write_text(stated)
    for shard in (out / "weights").rglob("d/*"):
        shard.write_bytes(b"")
    assert "expected a whole checkpoint" in refusal(out)


@pytest.mark.slow
def test_trunks_start_from_the_weights(published, safetensors_file, blank_model):
    weights = load_pretrained(safetensors_file)
    model = blank_model("afnet")
    weights.apply(model)
    for trunk in model.trunks.values():
        np.testing.assert_array_equal(trunk.conv1.kernel[...], published["conv1.weight"].transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(trunk.layer4[1].bn2.var[...], published["layer4.1.bn2.running_var"])
    np.testing.assert_array_equal(model.head.hidden["texture"][0].kernel[...], 0)


@pytest.mark.slow
def test_the_stacked_stem_sees_two_equal_images_as_the_original_sees_one(safetensors_file, blank_model):
    weights = load_pretrained(safetensors_file)
    model = blank_model("s1")
    weights.apply(model)
    image = jnp.asarray(np.random.RandomState(0).randn(1, 32, 32, 3), jnp.float32)
    single = blank_model("texture_no_ma")
    weights.apply(single)
    np.testing.assert_allclose(
        model.trunks["stacked"].conv1(jnp.concatenate([image, image], -1)),
        single.trunks["texture"].conv1(image),
        rtol=1e-4,
        atol=1e-3,
    )


@pytest.fixture
def nothing_cached(monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: None)


@pytest.mark.usefixtures("nothing_cached")
def test_imagenet_is_downloaded_checked_and_refused_when_altered(published, safetensors_file, monkeypatch, tmp_path):
    blob = tmp_path / "blobs" / digest_of_file(safetensors_file)
    blob.parent.mkdir()
    safetensors_file.rename(blob)
    cached = tmp_path / "snapshots" / "model.safetensors"
    cached.parent.mkdir()
    cached.symlink_to(blob)
    asked = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *names: asked.append(names) or str(cached))
    assert_is_published(load_pretrained("imagenet").tensors, published)
    assert asked == [("timm/resnet18.tv_in1k", "model.safetensors")]
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(WeightsError, match="expected the published SHA-256"):
        load_pretrained("imagenet")


def test_what_is_cached_is_used_without_a_network(published, safetensors_file, monkeypatch, tmp_path, capsys):
    blob = tmp_path / digest_of_file(safetensors_file)
    safetensors_file.rename(blob)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: str(blob))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *names: pytest.fail("the network was tried"))
    assert_is_published(load_pretrained("imagenet").tensors, published)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("nothing_cached")
def test_where_the_cache_keeps_no_digest_the_hub_is_asked(published, safetensors_file, monkeypatch):
    class Metadata:
        etag = digest_of_file(safetensors_file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *names: str(safetensors_file))
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: Metadata)
    assert_is_published(load_pretrained("imagenet").tensors, published)


@pytest.mark.usefixtures("nothing_cached")
def test_offline_the_error_says_which_file_to_fetch(monkeypatch, capsys):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*names):
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 8s [Retry 5/5].")
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(WeightsError) as refused:
        load_pretrained("imagenet")
    for word in ("model.safetensors", pretrained.IMAGENET_REPO, "resnet18-f37072fd.pth", "config.model.pretrained"):
        assert word in str(refused.value)
    assert capsys.readouterr().err == "downloading model.safetensors of timm/resnet18.tv_in1k, 47 MB, once …\n"
    assert logging.getLogger("huggingface_hub").level != logging.ERROR


def test_none_is_none():
    assert load_pretrained("none") is None
