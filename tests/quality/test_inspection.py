import dataclasses
import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from afnet_jax.atomic_files import write_arrays_atomically
from afnet_jax.commands.inspect import main
from afnet_jax.datasets import digests
from afnet_jax.datasets.builder import write_dataset
from afnet_jax.datasets.records import record_of
from afnet_jax.errors import DatasetError
from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.quality.inspection import find_dataset, inspect
from afnet_jax.quality.inspection_page import to_html, write_page
from afnet_jax.quality.thumbnails import TILE, relief, strip
from afnet_jax.scans.databases import DATABASES
from afnet_jax.scans.scan import EXPRESSION_CODES, ScanId

ROUGH, TURNED, SWAPPED, COPY, COPIED = "F0001_AN03WH", "F0001_DI03WH", "M0002_FE03BL", "M0003_SU03BL", "M0002_HA03BL"


def face(subject: str, code: str, ethnicity: str, seed: int) -> FaceMaps:
    """An even face, whose figures vary a little from scan to scan; a surprise has many holes, as its mouth is open."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:224, :224]
    inside = (rows - 112) ** 2 + (cols - 112) ** 2 < 80**2
    texture = np.where(inside[..., None], rng.normal(130, 30, (224, 224, 3)).clip(0, 255), 0).astype(np.uint8)
    return FaceMaps(
        id=ScanId("bu3dfe", subject, code, 3, ethnicity, f"{subject}_{code}03{ethnicity}"),
        texture=texture,
        depth=np.where(inside, 40 - 0.003 * (rows - 112 + rng.normal()) ** 2, np.nan).astype(np.float32),
        valid=inside,
        seen=inside,
        masks={56: np.eye(56, dtype=np.float32), 28: np.eye(28, dtype=np.float32)},
        to_scan=np.eye(4),
        origin=(-117.0, 90.0),
        mm_per_pixel=1.05,
        landmarks={name: at + rng.normal(0, 1, 3) for name, at in TEMPLATE.items()},
        quality={
            "noise": rng.normal(0.3, 0.03),
            "points_removed": rng.normal(0.01, 0.001),
            "filled": (0.2 if code == "SU" else 0.03) + rng.normal(0, 0.002),
            "face": float(inside.mean()),
        },
    )


def planted() -> list[FaceMaps]:
    """Eight people, M0003 without anger, and five faults: each known by what was done to the scan."""
    people = [(f"{'FM'[k % 2]}{k // 2 * 2 + 1 + k % 2:04d}", "WH" if k % 2 == 0 else "BL") for k in range(7)]
    people.append(("M0003", "BL"))
    maps = {}
    for k, (subject, ethnicity) in enumerate(people):
        for code in EXPRESSION_CODES:
            if (subject, code) != ("M0003", "AN"):
                made = face(subject, code, ethnicity, 10 * k + EXPRESSION_CODES.index(code))
                maps[made.id.name] = made
    maps[ROUGH] = dataclasses.replace(maps[ROUGH], quality={**maps[ROUGH].quality, "noise": 1.5})
    turned = np.eye(4)
    turned[:3, :3] = [[np.cos(0.6), 0, np.sin(0.6)], [0, 1, 0], [-np.sin(0.6), 0, np.cos(0.6)]]
    maps[TURNED] = dataclasses.replace(maps[TURNED], to_scan=turned)
    marks = dict(maps[SWAPPED].landmarks)
    marks["nose_tip"] = marks["nose_tip"] + [0, 30, 0]
    maps[SWAPPED] = dataclasses.replace(maps[SWAPPED], landmarks=marks)
    maps[COPY] = dataclasses.replace(maps[COPY], depth=maps[COPIED].depth)
    return list(maps.values())


def write(maps: list[FaceMaps], data_dir: Path, database: str = "bu3dfe") -> Path:
    finished = data_dir / ".finished"
    finished.mkdir(parents=True, exist_ok=True)
    for one in maps:
        write_arrays_atomically(finished / f"{one.id.name}.npz", record_of(one))
    folder = write_dataset(DATABASES[database], finished, data_dir)
    digests.write_digests(folder, "formula")
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write(planted(), folder)
    (folder / "rejected.csv").write_text("scan,file,reason\nF0009_AN03WH,raw/<F0009>.wrl,cut short\n")
    return folder


@pytest.fixture(scope="module")
def inspection(data_dir):
    return inspect(data_dir)


class Page(HTMLParser):
    """What a browser would see of a page: elements, their attributes, and whether they nest."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.words, self._open = [], "", []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words += f" {data}"

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_finds_the_planted_faults_and_no_others(inspection):
    assert set(inspection.oddities) == {ROUGH, TURNED, SWAPPED, COPY}
    reasons = {name: "; ".join(oddity.reason for oddity in why) for name, why in inspection.oddities.items()}
    assert reasons[ROUGH].startswith("roughness 1.50 mm, usually 0.3")
    assert reasons[TURNED].startswith("head turn 34.4°, usually 0.0°")  # 0.6 radians
    assert reasons[SWAPPED].startswith("landmarks ") and ", above all nose tip (" in reasons[SWAPPED]
    assert reasons[COPY] == f"its depth is that of {COPIED}"
    worst = [why[0].score for why in inspection.oddities.values()]
    assert worst == sorted(worst, reverse=True) and np.isinf(worst[0])


def test_few_scans_are_never_odd(tmp_path):
    write([one for one in planted() if one.id.name in (ROUGH, TURNED, SWAPPED)], tmp_path)
    few = inspect(tmp_path)
    assert few.oddities == {} and few.rejected is None
    assert "too few to tell" in to_html(few) and "keeps no rejected.csv" in to_html(few)


def test_page_counts_what_is_there(inspection):
    page = Page(to_html(inspection))
    words = " ".join(page.words.split())
    assert len(inspection.scans) == 47
    assert "scans 47 6 expressions subjects 8 7 with all expressions look odd 4 of these scans rejected 1" in words
    assert "anger 7 disgust 8 fear 8 happiness 8 sadness 8 surprise 8 all 47" in words
    assert "female 4 24 male 4 23" in words and "White 4 24 Black 4 23" in words
    assert "M0003 has no anger" in words
    assert "F0009_AN03WH" in words and "raw/<F0009>.wrl" in words and "cut short" in words
    assert len(page.all("img")) == 47 + len(inspection.oddities)
    assert len(page.all("details")) == 8


def test_page_is_whole_in_itself_and_open_to_all(inspection):
    page = Page(to_html(inspection))
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, attributes[name][:80])
    assert not page.all("script") and "url(" not in to_html(inspection) and "@import" not in to_html(inspection)
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert set(ids.values()) == {1}
    assert {link["href"][1:] for link in page.all("a")} <= set(ids)
    assert all(picture["alt"] for picture in page.all("img"))
    assert all(chart["aria-label"] for chart in page.all("svg"))
    assert len(page.all("h1")) == len(page.all("main")) == 1 and page.all("html") == [{"lang": "en"}]
    assert len(page.all("caption")) == len(page.all("table"))


def test_names_are_text_and_never_html(inspection):
    odd = dataclasses.replace(inspection.scans[0], scan_id='<b>"&', subject="<i>")
    page = to_html(dataclasses.replace(inspection, scans=(odd,), oddities={}, spreads={}))
    assert "<i>" not in page and "&lt;i&gt;" in page
    assert any(attributes.get("id") == 'scan-<b>"&' for attributes in Page(page).all("figure"))


def test_strip_shows_texture_depth_masks_and_landmarks(tmp_path):
    from PIL import Image

    texture = np.full((224, 224, 3), 100, np.uint8)
    mask = np.zeros((56, 56), np.float32)
    mask[:28] = 1
    path = tmp_path / "strip.webp"
    path.write_bytes(strip(texture, np.zeros((224, 224)), mask, np.array([[56.0, 168.0], [np.nan, np.nan]])))
    shown = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert shown.shape == (TILE, 4 * TILE, 3)
    first, second, third, fourth = np.split(shown, 4, axis=1)
    assert abs(first[10:-10, 10:-10] - 100).max() < 12
    assert np.ptp(second[10:-10, 10:-10]) < 12 and second.mean() > 150
    assert abs(third[10:40, 10:-10] - 100).max() < 15 and third[75:100, 10:-10].max() < 55
    brightness = fourth[5:-5, 5:-5].sum(-1)
    row, col = np.unravel_index(brightness.argmax(), brightness.shape)
    assert abs(row + 5 - 84) <= 2 and abs(col + 5 - 28) <= 2  # half of the texture's pixel


def test_relief_is_lit_from_the_upper_left():
    rows, cols = np.mgrid[:20, :20].astype(float)
    towards, away = relief(rows + cols), relief(-rows - cols)  # rising to the lower right: facing the upper left
    assert towards[10, 10, 0] > relief(np.zeros((20, 20)))[10, 10, 0] > away[10, 10, 0]
    assert (relief(np.full((20, 20), np.nan)) == 0).all()


def test_refuses_what_it_cannot_look_at(data_dir, tmp_path):
    with pytest.raises(DatasetError, match="no prepared data set here"):
        find_dataset(tmp_path / "none")
    with pytest.raises(DatasetError, match="no prepared data set 'bosphorus' here; found: bu3dfe"):
        find_dataset(data_dir, "bosphorus")
    with pytest.raises(DatasetError, match=f"give as --data_dir what lies below it: .*{data_dir.name}"):
        find_dataset(data_dir.parent)
    for name in ("bosphorus", "bu3dfe"):
        (tmp_path / name / "1.0.0").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds bosphorus, bu3dfe; choose one with --database=bosphorus"):
        find_dataset(tmp_path)
    assert find_dataset(tmp_path, "bu3dfe") == tmp_path / "bu3dfe" / "1.0.0"


def test_refuses_damage(tmp_path, inspection):
    folder = write(planted()[:2], tmp_path)
    (tmp_path / "rejected.csv").write_text("something,else\n1,2\n")
    with pytest.raises(DatasetError, match=r"rejected.csv: damaged, expected the columns scan, file, reason"):
        inspect(tmp_path)
    path = folder / "features.json"
    path.write_text(json.dumps({}))
    with pytest.raises(DatasetError, match=r"features.json is damaged"):
        inspect(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        write_page(inspection, tmp_path / "file")


def test_command_line(data_dir, call, tmp_path):
    done = call(main, f"--data_dir={data_dir}", f"--out={tmp_path / 'look'}")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == f"47 scans, 4 look odd: {tmp_path / 'look' / 'inspection.html'}\n"
    assert (tmp_path / "look" / "inspection.html").stat().st_size < 47 * 40_000
    done = call(main, f"--data_dir={tmp_path}", f"--out={tmp_path}")
    assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert call(main, "--out=x").returncode == 2
