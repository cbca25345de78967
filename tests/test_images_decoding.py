"""What image files become, which are refused, and how decoded images are kept."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import malformed
import numpy as np
import pytest
from pictures import picture
from PIL import Image, ImageOps

from pairbench import StoreError
from pairbench.plugin.notify import heard_by
from pairbench_images import pool as pools
from pairbench_images.decoding import Decoder, Decoding, guarded
from pairbench_images.files import UnusableError, contents

RGB = Decoding((3, 4, 4), "stretch", 1_000_000)
GRAY = Decoding((1, 4, 4), "stretch", 1_000_000)


def decoded(file: Path, how: Decoding = RGB) -> np.ndarray[Any, Any]:
    with guarded(how):
        return Decoder(how)(str(file))


def reason(file: Path, how: Decoding = RGB) -> str:
    """Why a file cannot be used, in one line."""
    with pytest.raises(UnusableError) as caught:
        decoded(file, how)
    assert str(caught.value).isprintable()
    return str(caught.value)


def saved(file: Path, image: Image.Image, **options: Any) -> Path:
    image.save(file, **options)
    return file


def flat(color: Any, mode: str = "RGB", size: tuple[int, int] = (4, 4)) -> Image.Image:
    return Image.new(mode, size, color)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "gif", "tif", "ppm"])
def test_every_format_gives_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    image = flat((250, 20, 30))
    file = saved(tmp_path / f"a.{suffix}", image, **({"lossless": True} if suffix == "webp" else {}))
    assert decoded(file).tolist() == [[[value] * 4] * 4 for value in (250, 20, 30)]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (flat(40, "L"), (40, 40, 40)),
        (flat(1, "1"), (255, 255, 255)),
        (flat((10, 20, 30, 0), "RGBA"), (255, 255, 255)),
        (flat((10, 20, 30, 255), "RGBA"), (10, 20, 30)),
        (flat((0, 128), "LA"), (127, 127, 127)),
        (flat((10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE), (10, 20, 30)),
        (Image.fromarray(np.full((4, 4), 0x80FF, dtype=np.uint16)), (128, 128, 128)),
    ],
    ids=["gray", "one bit", "transparent is white", "opaque", "half", "palette", "16 bits"],
)
def test_every_colour_becomes_rgb(tmp_path: Path, image: Image.Image, expected: tuple[int, ...]) -> None:
    found = decoded(saved(tmp_path / "a.png", image))
    assert np.abs(found[:, 0, 0].astype(int) - expected).max() <= 1
    assert (found == found[:, :1, :1]).all()


def test_cmyk_and_colour_become_what_is_asked_for(tmp_path: Path) -> None:
    assert decoded(saved(tmp_path / "a.jpg", flat((0, 0, 0, 0), "CMYK"), quality=95)).min() > 250
    assert decoded(saved(tmp_path / "b.png", flat((255, 255, 255))), GRAY).tolist() == [[[255] * 4] * 4]


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.gif", flat((255, 0, 0)), save_all=True, append_images=[flat((0, 0, 255))])
    assert decoded(file)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_picture_stands_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(tmp_path / f"a.{suffix}", image, exif=exif)
    with Image.open(file) as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored)).transpose(2, 0, 1)
    how = Decoding((3, *upright.shape[1:]), "stretch", 1000)
    assert decoded(file, how).tolist() == upright.tolist()


def test_unreadable_notes_about_a_picture_do_not_cost_the_picture(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.jpg", flat((200, 200, 200)), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff junk")
    assert decoded(file).shape == (3, 4, 4)


@pytest.mark.parametrize(("resize", "corner", "middle"), [("stretch", 255, 255), ("crop", 255, 255), ("pad", 0, 255)])
def test_a_wide_picture_is_stretched_cropped_or_padded(tmp_path: Path, resize: Any, corner: int, middle: int) -> None:
    found = decoded(saved(tmp_path / "a.png", flat(255, "L", (80, 40))), Decoding((1, 8, 8), resize, 10_000))
    assert (found[0, 0, 0], found[0, 4, 4]) == (corner, middle)


def test_cropping_keeps_the_middle(tmp_path: Path) -> None:
    image = flat(0, "L", (30, 10))
    image.paste(255, (10, 0, 20, 10))
    found = decoded(saved(tmp_path / "a.png", image), Decoding((1, 10, 10), "crop", 1000))
    assert found.min() == 255


def test_shrinking_averages(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    found = decoded(saved(tmp_path / "a.png", Image.fromarray(stripes)), GRAY)
    assert 100 < found.min() <= found.max() < 155


def test_an_image_with_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", flat(0, "L", (101, 100)))
    assert reason(file, Decoding((1, 4, 4), "stretch", 10_000)) == "has more than 10000 pixels (dataset.max_pixels)"
    assert decoded(file, Decoding((1, 4, 4), "stretch", 10_100)).shape == (1, 4, 4)


def test_pillows_own_limit_is_as_it_was(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    reason(saved(tmp_path / "a.png", flat(0)), Decoding((1, 4, 4), "stretch", 2))
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_fixed_range_are_refused(tmp_path: Path, mode: str) -> None:
    assert "32 bits" in reason(saved(tmp_path / "a.tif", flat(7, mode)))


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    answers: list[str] = []
    places = [tmp_path / "pipe.png", tmp_path / "folder.png", Path("/dev/zero"), tmp_path / "none.png"]
    asking = threading.Thread(target=lambda: answers.extend(reason(place) for place in places), daemon=True)
    asking.start()
    asking.join(20)
    assert answers == ["is not a regular file", "is a folder", "is not a regular file", "is missing"]


@pytest.mark.parametrize("data", list(malformed.malformed(100)), ids=lambda item: item[0])
def test_a_malformed_image_is_refused_in_words(tmp_path: Path, data: tuple[str, bytes]) -> None:
    file = tmp_path / data[0]
    file.write_bytes(data[1])
    assert reason(file)


@pytest.mark.parametrize("name", malformed.bombs())
def test_a_decompression_bomb_is_refused_before_it_unpacks(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(malformed.bombs()[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason(tmp_path / name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def make_set(folder: Path, count: int = 12) -> list[str]:
    return [str(picture(folder / f"{number}.png", number)) for number in range(count)]


def test_files_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_set(tmp_path / "set")
    first = pools.decoded(paths, contents(paths).digests, RGB)
    monkeypatch.setattr(Decoder, "__call__", None)
    again = pools.decoded(paths, contents(paths).digests, RGB)
    assert again.hashes.tolist() == first.hashes.tolist()


def test_other_options_make_another_pool(tmp_path: Path) -> None:
    digests = contents(make_set(tmp_path / "set")).digests
    others = [RGB, GRAY, Decoding((3, 4, 4), "crop", 1_000_000), Decoding((3, 4, 4), "stretch", 9)]
    assert len({pools.folder_of(digests, how) for how in others} | {pools.folder_of(digests[1:], RGB)}) == 5


def test_progress_is_told_while_images_are_decoded(tmp_path: Path) -> None:
    paths, said = make_set(tmp_path / "set"), []
    with heard_by(progress=lambda done, total, what: said.append((what, done, total))):
        pools.decoded(paths, contents(paths).digests, RGB)
    assert said[-1] == ("decoding images", 12, 12)
    assert ("reading files", 12, 12) in said


def test_every_damage_to_decoded_images_is_seen_and_decoded_anew(tmp_path: Path) -> None:
    paths = make_set(tmp_path / "set")
    digests = contents(paths).digests
    rows = np.array([1, 4, 7])
    sound = np.load(pools.decoded(paths, digests, RGB).view(rows))
    draw = random.Random(0)
    for _ in range(60):
        folder = pools.decoded(paths, digests, RGB).folder
        pools.decoded(paths, digests, RGB).view(rows)
        file = draw.choice([file for file in folder.iterdir() if file.is_file()])
        data = bytearray(file.read_bytes())
        if draw.random() < 0.3:
            del data[draw.randrange(len(data)) :]
        else:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
        pool = pools.decoded(paths, digests, RGB)
        try:
            found = pool.view(rows)
        except pools.DamagedError:
            pools.discard(pool.folder, "damaged")
            found = pools.decoded(paths, digests, RGB).view(rows)
        assert np.load(found).tolist() == sound.tolist()


def test_damage_is_named_in_a_note(tmp_path: Path) -> None:
    paths, notes = make_set(tmp_path / "set"), []
    pool = pools.decoded(paths, contents(paths).digests, RGB)
    (pool.folder / "hashes.npy").write_bytes(b"")
    with heard_by(note=notes.append):
        pools.decoded(paths, contents(paths).digests, RGB)
    assert notes[0].startswith(f"cached images in {pool.folder} were damaged")


def test_a_damaged_file_of_digests_only_costs_time(tmp_path: Path) -> None:
    paths = make_set(tmp_path / "set")
    old = 1_000_000_000
    for path in paths:
        os.utime(path, (old, old))
    expected = contents(paths).digests
    base = tmp_path / "cache" / "pools" / "digests.sqlite"
    for data in (b"", b"no database", base.read_bytes()[:100], bytes(5000)):
        base.write_bytes(data)
        assert contents(paths).digests == expected


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    paths = make_set(tmp_path / "set", 2)
    before = contents(paths).digests
    times = Path(paths[0]).stat()
    picture(Path(paths[0]), 99)
    os.utime(paths[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    after = contents(paths).digests
    assert (after[0] != before[0], after[1]) == (True, before[1])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_not_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    paths = make_set(tmp_path / "set")
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="set PAIRBENCH_CACHE to another folder"):
        pools.decoded(paths, contents(paths).digests, RGB)


def test_a_cache_that_is_a_file_is_told_in_a_line(tmp_path: Path) -> None:
    paths = make_set(tmp_path / "set")
    (tmp_path / "cache").write_text("")
    with pytest.raises(StoreError, match="set PAIRBENCH_CACHE to another folder"):
        pools.decoded(paths, contents(paths).digests, RGB)


PROBE = """
import resource, sys
from pairbench_images.csv_pairs import CsvPairs
dataset = CsvPairs(path=sys.argv[1], image_size=64, on_error="skip")
for split in ("train", "validation", "test"):
    dataset.load(split, rounds=1, seed=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_a_hundred_malformed_images_and_five_bombs_stay_within_memory(tmp_path: Path) -> None:
    """Beside sound images of the largest size that is let in."""
    seed = 1 + int(os.environ.get("PAIRBENCH_ATTACK_SEED", "0"))
    files = dict(malformed.malformed(100, seed=seed)) | malformed.bombs()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for number in range(3):
        large = Image.new("RGBA" if number % 2 else "RGB", (8000, 8000), (number, 90, 200, 120)[: 3 + number % 2])
        large.save(tmp_path / f"large{number}.png", compress_level=1)
    rows = [f"{name},{name},1,train" for name in files]
    for number in range(9):
        picture(tmp_path / f"sound{number}.png", number)
        second = f"large{number // 3}.png" if number % 3 == 0 else f"sound{number}.png"
        rows.append(f"sound{number}.png,{second},1,{('train', 'val', 'test')[number % 3]}")
    (tmp_path / "pairs.csv").write_text("first,second,label,split\n" + "\n".join(rows))
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path / "pairs.csv")], capture_output=True, text=True, check=True
    )
    print(f"peak {done.stdout.strip()} MiB")
    assert int(done.stdout) < 1500
