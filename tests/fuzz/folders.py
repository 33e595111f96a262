"""Mutated small data folders: each is read, or answered in one line; no file of one is lost without a word.

`python -m tests.fuzz.folders --count 2000 --seed 0` runs at length and prints figures; a case is its number alone, so
that `--count 1 --seed N` makes the folder of a failure again. `--keep FOLDER` leaves it there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from trials.data import DataConfig, DataError, SceneConfig, load_data, load_scenes
from trials.data.checking import check_folder
from trials.data.findings import sentences
from trials.data.readers import READERS

_LONGEST_S = 60  # of one case: beyond, it hangs
_ENDINGS = (
    ".JPG", ".jfif", ".gif", ".avif", ".jp2", ".webp", ".heic", ".txt", "", ".jpeg", ".tif", ".bmp", ".svg", ".npy",
)  # fmt: skip
_MODES = ("L", "P", "RGBA", "LA", "1", "I;16", "CMYK", "F", "I", "PA")
_SIZES = ((1, 1), (7, 7), (300, 1), (31, 33), (48, 36), (64, 64))
_ODD_NAMES = (
    "with space", "brackets [1]", "(copy)", "line\nbreak", b"not utf\xff".decode(errors="surrogateescape"),
    "Zu\u0308rich", "Zürich", "emoji 🐈", "per%20cent", "back\\slash", "-dash", "quote's \"",
    "x" * 200, "tab\t", "1.2.3",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, "", "8", "64.0", 8.0, 8.5, -1, 0, 1, True, False, 2**70, float("nan"), float("inf"), [], {}, [1, 2], "True",
    "Unspecified", "../x.png", "/etc/passwd", "a\x00b", "https://[/1.png?d=2.png", "file:", "C:", "/",
)  # fmt: skip


@dataclass
class Case:
    """A folder that is being mutated: `form` as in `READERS`, its files below `root`, what was done to it."""

    number: int
    form: str
    root: Path
    rng: random.Random
    done: list[str] = field(default_factory=list)

    def images(self) -> list[Path]:
        return [path for path in self.files() if path.suffix.lower() in (".png", ".jpg", ".tif")]

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())

    def folders(self) -> list[Path]:
        return [self.root, *sorted(path for path in self.root.rglob("*") if path.is_dir() and not path.is_symlink())]

    def image(self) -> Path:
        return self.rng.choice(self.images() or [self.root / "none.png"])

    def folder(self) -> Path:
        return self.rng.choice(self.folders())


# ---- folders that are in order


def picture(path: Path, rng: random.Random, size: tuple[int, int] = (40, 36)) -> None:
    """A file of noise; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _classes(root: Path, rng: random.Random) -> None:
    tops = rng.choice([("",), ("train",), ("train", "val"), ("Training", "valid", "test"), ("train", "validation")])
    for top in tops:
        for name in ("cat", "dog"):
            for number in range(4):
                picture(root / top / name / f"{number}.{rng.choice(('png', 'jpg'))}", rng, (12, 12))


def _coco(root: Path, rng: random.Random) -> None:
    for split in rng.choice([("train",), ("train", "val"), ("train", "valid", "test")]):
        document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
        document["categories"].append({"id": 90, "name": "b"})
        for number in range(1, 6):
            name = f"{split}{number}.{rng.choice(('png', 'jpg'))}"
            picture(root / "images" / name, rng)
            document["images"].append({"id": number, "file_name": name, "width": 40, "height": 36})
            for place in range(rng.randrange(3)):
                x, y = rng.randrange(20), rng.randrange(16)
                document["annotations"].append({
                    "id": number * 10 + place, "image_id": number, "category_id": rng.choice((1, 90)),
                    "bbox": [x, y, 12, 9], "area": 108, "iscrowd": 0,
                    "segmentation": [[x, y, x + 12, y, x + 12, y + 9, x, y + 9]],
                })  # fmt: skip
        path = root / "annotations" / f"{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")


def _voc(root: Path, rng: random.Random) -> None:
    names = [f"v{number}" for number in range(6)]
    split = rng.random() < 0.5
    layout = rng.choice(("kit", "kit", "beside", "annotations"))
    for place, name in enumerate(names):
        ending = rng.choice(("png", "jpg"))
        top = "" if layout == "kit" or not split else "valid/" if place > 3 else "train/"
        images, annotations = {
            "kit": ("JPEGImages", "Annotations"),
            "beside": (top, top),
            "annotations": (f"{top}images", f"{top}annotations"),
        }[layout]
        picture(root / images / f"{name}.{ending}", rng)
        objects = "".join(
            f"<object><name>{rng.choice('ab')}</name><difficult>0</difficult><bndbox><xmin>3</xmin><ymin>4</ymin>"
            f"<xmax>{rng.randrange(8, 40)}</xmax><ymax>20</ymax></bndbox></object>"
            for _ in range(rng.randrange(3))
        )
        size = "<size><width>40</width><height>36</height></size>"
        text = f"<annotation><filename>{name}.{ending}</filename>{size}{objects}</annotation>"
        (root / annotations).mkdir(exist_ok=True)
        (root / annotations / f"{name}.xml").write_text(text, encoding="utf-8")
    if layout == "kit" and split:
        (root / "ImageSets/Main").mkdir(parents=True)
        for split, part in (("train", names[:4]), ("val", names[4:])):
            (root / f"ImageSets/Main/{split}.txt").write_text("\n".join(part), encoding="utf-8")


def _masks(root: Path, rng: random.Random) -> None:
    for top in rng.choice([("",), ("train", "val"), ("training", "test")]):
        for number in range(5):
            picture(root / top / "images" / f"{number}.{rng.choice(('png', 'jpg'))}", rng)
            values = np.random.default_rng(rng.getrandbits(32)).integers(0, 3, (36, 40), dtype=np.uint8)
            path = root / top / "masks" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)


_FORMS: dict[str, Callable[[Path, random.Random], None]] = {
    "folder": _classes, "coco": _coco, "voc": _voc, "masks": _masks
}  # fmt: skip


# ---- mutations of any folder


def _other_ending(case: Case) -> None:
    path = case.image()
    path.rename(path.with_suffix(case.rng.choice(_ENDINGS)))


def _odd_name(case: Case) -> None:
    path = case.rng.choice([*case.files(), *case.folders()[1:]])
    path.rename(path.with_name(case.rng.choice(_ODD_NAMES) + path.suffix))


def _dropping(case: Case) -> None:
    name = case.rng.choice((".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/._a.png", "@eaDir/t.jpg"))
    for path in (case.folder() / name, case.image().with_name(f"._{case.image().name}")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\x16\7")


def _hidden(case: Case) -> None:
    picture(
        case.folder() / case.rng.choice((".hidden.png", ".cache/a.png", ".git/objects/a")).replace("a", "a.png"),
        case.rng,
    )


def _nested(case: Case) -> None:
    path = case.image()
    target = path.parent / "more" / case.rng.choice(("", "deep/er")) / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)


def _link_of_file(case: Case) -> None:
    path = case.image()
    elsewhere = case.root.parent / f"outside{case.number}.png"
    picture(elsewhere, case.rng)
    target = case.rng.choice((case.image(), elsewhere, Path("gone.png"), path, case.root, Path("/dev/null")))
    path.unlink()
    path.symlink_to(target)


def _link_of_folder(case: Case) -> None:
    outside = case.root.parent / "elsewhere"
    picture(outside / "o.png", case.rng)
    target = case.rng.choice((case.root, case.folder(), case.folder(), outside, Path("gone"), Path(), Path("..")))
    (case.folder() / case.rng.choice(("loop", "zlink", "a link"))).symlink_to(target)


def _moved_behind_link(case: Case) -> None:
    folder = case.rng.choice(case.folders()[1:])
    moved = case.root / case.rng.choice((".store", "store"))
    folder.rename(moved)
    folder.symlink_to(moved)


def _damage(case: Case) -> None:
    path = case.rng.choice(case.files())
    raw = path.read_bytes()
    cut = case.rng.randrange(len(raw) + 1)
    spoilt = bytearray(raw)
    for _ in range(case.rng.randrange(1, 6)):
        spoilt[case.rng.randrange(len(raw))] = case.rng.randrange(256)
    path.write_bytes(case.rng.choice((raw[:cut], b"", b"text", bytes(spoilt), b"\0" * len(raw), raw[cut:])))


def _turned(case: Case) -> None:
    path = case.image()
    exif = Image.Exif()
    exif[0x0112] = case.rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 77))
    raw = case.rng.choice((exif.tobytes(), b"Exif\0\0broken", exif.tobytes()[:-3]))
    with Image.open(path) as image:
        image.save(path, exif=raw)


def _another_mode(case: Case) -> None:
    path, mode = case.image(), case.rng.choice(_MODES)
    with Image.open(path) as image:
        changed = (
            image.convert("L").convert("I;16") if mode == "I;16" else image.convert("LA" if mode == "PA" else mode)
        )
    target = path.with_suffix(".tif" if mode in ("F", "CMYK") else ".png")
    changed.save(target)
    if target != path:
        path.unlink()


def _another_size(case: Case) -> None:
    path = case.image()
    with Image.open(path) as image:
        image.resize(case.rng.choice(_SIZES)).save(path)


def _special(case: Case) -> None:
    os.mkfifo(case.folder() / case.rng.choice(("pipe.png", "pipe")))


def _folder_called_as_a_file(case: Case) -> None:
    (case.folder() / case.rng.choice(("f.png", "f.json", "f.xml", "train.txt"))).mkdir()


def _run_inside(case: Case) -> None:
    run = case.folder() / case.rng.choice(("run", "runs/first"))
    run.mkdir(parents=True)
    (run / "study.db").write_bytes(b"SQLite format 3\0")
    picture(run / "pictures/p.png", case.rng)


def _loose(case: Case) -> None:
    picture(case.folder() / "loose.png", case.rng)


def _renamed_split(case: Case) -> None:
    folder = case.rng.choice(case.folders()[1:])
    folder.rename(folder.with_name(case.rng.choice(("train", "Valid", "val", "validation", "test_set", "test", "x"))))


def _flat_test(case: Case) -> None:
    for number in range(2):
        picture(case.root / "test" / f"{number}.png", case.rng)


def _empty_folder(case: Case) -> None:
    (case.folder() / case.rng.choice(("empty", "test", "val", "emu"))).mkdir()


def _removed(case: Case) -> None:
    path = case.rng.choice([*case.files(), *case.folders()[1:]])
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _copied(case: Case) -> None:
    folder = case.rng.choice(case.folders()[1:])
    shutil.copytree(folder, folder.with_name(case.rng.choice(("copy", "val", "test"))), symlinks=True)


_ANY = (
    _other_ending, _odd_name, _dropping, _hidden, _nested, _link_of_file, _link_of_folder, _moved_behind_link, _damage,
    _damage, _turned, _turned, _another_mode, _another_size, _special, _folder_called_as_a_file, _run_inside, _loose,
    _renamed_split, _flat_test, _empty_folder, _removed, _copied,
)  # fmt: skip


# ---- mutations of annotations


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON document with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _json_value(case: Case) -> None:
    path = case.rng.choice([path for path in case.files() if path.suffix == ".json"])
    document = json.loads(path.read_bytes())
    for _ in range(case.rng.randrange(1, 4)):
        inside, key = case.rng.choice(list(_places(document)))
        match case.rng.randrange(4):
            case 0:
                del inside[key]
            case 1 if isinstance(inside, list):
                inside.append(inside[key])
            case _:
                inside[key] = case.rng.choice(_VALUES)
    path.write_text(json.dumps(document), encoding="utf-8")


def _json_all(case: Case) -> None:
    """One field of all entries, as exporters that know no better write it."""
    path = case.rng.choice([path for path in case.files() if path.suffix == ".json"])
    document = json.loads(path.read_bytes())
    name = case.rng.choice(("images", "annotations"))
    key = case.rng.choice(sorted(document[name][0])) if document[name] else "id"
    value = case.rng.choice((*_VALUES, "text of it", "path of it", "other ending", "place of it", "address of it"))
    for entry in document[name]:
        known = entry[key]
        said = {
            "text of it": str(known), "path of it": f"images\\{known}",
            "other ending": str(known).replace(".png", ".jpeg"), "place of it": f"/home/ann/images/{known}",
            "address of it": f"https://example.org/{case.rng.choice(('a', 'b'))}/{known}?token=1",
        }  # fmt: skip
        entry[key] = said.get(value, value) if isinstance(value, str) else value
    path.write_text(json.dumps(document), encoding="utf-8")


def _many_categories(case: Case) -> None:
    path = case.rng.choice([path for path in case.files() if path.suffix == ".json"])
    document = json.loads(path.read_bytes())
    document["categories"] += [{"id": 1000 + 7 * number, "name": f"c{number}"} for number in range(300)]
    path.write_text(json.dumps(document), encoding="utf-8")


def _text_encoding(case: Case) -> None:
    path = case.rng.choice([path for path in case.files() if path.suffix in (".json", ".xml", ".txt")])
    text = path.read_text(encoding="utf-8")
    encoding = case.rng.choice(("utf-8-sig", "utf-16", "latin-1", "utf-16-be"))
    lead = case.rng.choice(("", "\n ", '<?xml version="1.0" encoding="GBK"?>')) if path.suffix == ".xml" else ""
    path.write_bytes((lead + text).encode(encoding))


def _xml_text(case: Case) -> None:
    path = case.rng.choice([path for path in case.files() if path.suffix == ".xml"])
    text = path.read_text(encoding="utf-8")
    for _ in range(case.rng.randrange(1, 3)):
        tag = case.rng.choice(("width", "height", "xmin", "xmax", "ymax", "difficult", "name", "filename", "object"))
        before, opening, rest = text.partition(f"<{tag}>")
        _, closing, after = rest.partition(f"</{tag}>")
        value = str(case.rng.choice(_VALUES)).replace("\0", "")
        text = before if not opening else before + case.rng.choice((f"{opening}{value}{closing}", "")) + after
    path.write_text(text, encoding="utf-8")


def _list_lines(case: Case) -> None:
    path = case.root / "ImageSets/Main" / case.rng.choice(("train.txt", "val.txt", "test.txt", "trainval.txt"))
    path.parent.mkdir(parents=True, exist_ok=True)
    names = case.rng.sample([f"v{number}" for number in range(8)], 3)
    path.write_text("\n".join(f"{name}{case.rng.choice(('', ' 1', '.jpg', '  -1', ' x y'))}" for name in names))


def _map_values(case: Case) -> None:
    maps = [path for path in case.files() if path.parent.name == "masks" and path.suffix == ".png"]
    for path in maps if case.rng.random() < 0.5 else [case.rng.choice(maps)]:
        values = case.rng.choice(
            ((0,), (0, 255), (0, 128, 255), (255,), (0, 1), (3, 254), (0, 2), (0, 1, 65_535), (0, 300))
        )
        with Image.open(path) as image:
            shape = np.asarray(image).shape[:2]
        drawn = np.random.default_rng(case.rng.getrandbits(32)).choice(np.array(values, dtype=np.uint16), shape)
        drawn = drawn.astype(np.uint8 if max(values) < 256 and case.rng.random() < 0.5 else np.uint16)
        Image.fromarray(drawn).save(path)


def _class_names(case: Case) -> None:
    text = case.rng.choice(("a\nb\nc\n", "a\n", "a\na\n", "\ufeffa\nb\nc", "", "a\nb\n" * 200, "a\nb\nc\nd"))
    (case.root / "classes.txt").write_text(text, encoding=case.rng.choice(("utf-8", "utf-16")))


_OF_FORM: dict[str, tuple[Callable[[Case], None], ...]] = {
    "folder": (),
    "coco": (_json_value, _json_value, _json_all, _json_all, _many_categories, _text_encoding),
    "voc": (_xml_text, _xml_text, _xml_text, _list_lines, _text_encoding),
    "masks": (_map_values, _map_values, _class_names),
}


# ---- a case


def make(number: int, folder: Path) -> Case:
    """The folder of a case below `folder`, which is empty."""
    rng = random.Random(number)
    form = rng.choice(tuple(_FORMS))
    case = Case(number, form, folder / "data", rng)
    _FORMS[form](case.root, rng)
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        own = _OF_FORM[form]
        mutation = rng.choice(own) if own and rng.random() < 0.5 else rng.choice(_ANY)
        try:
            mutation(case)
        except Exception as error:  # what came before left it nothing to work on
            case.done.append(f"({mutation.__name__}: {type(error).__name__})")
        else:
            case.done.append(mutation.__name__)
    return case


def examine(case: Case) -> str:
    """How a folder is answered: "read" or "refused". Raises AssertionError for what must not be, and passes on
    whatever is no DataError."""
    drop = case.rng.random() < 0.6
    try:
        return _examine_classes(case, drop) if case.form == "folder" else _examine_scenes(case, drop)
    except DataError as error:
        said = str(error)
        assert said.isprintable(), f"not one line: {said!r}"
        said.encode()
        return "refused"


def _examine_classes(case: Case, drop: bool) -> str:
    config = DataConfig(f"folder:{case.root}", drop_unreadable=drop, val_fraction=0.4)
    data = load_data(config)
    found = READERS["folder"].load().find(config, lambda line: None)
    listed = [file for listing in found.splits.values() for file in listing.files]
    images = sum(len(split) for split in (data.train, data.val, data.test) if split is not None)
    assert images + data.findings.unreadable.images == len(listed), "images of the listing are neither read nor said"
    _say(data.findings.to_json())
    _all_there(case.root, {*listed, *(file for files in found.aside.values() for file in files)})
    assert load_data(config).fingerprint == data.fingerprint, "the cache gives other data"
    return "read"


def _examine_scenes(case: Case, drop: bool) -> str:
    targets = "semantic" if case.form == "masks" or (case.form == "coco" and case.rng.random() < 0.4) else "boxes"
    config = SceneConfig(
        f"{case.form}:{case.root}", targets=targets, image_size=32, data_errors="drop" if drop else "refuse"
    )  # type: ignore[arg-type]
    checked = check_folder(config, lambda line: None)
    data = load_scenes(config)
    noted, problems = checked.noted, [str(problem) for problem in checked.problems]
    read = {file for table in checked.splits.values() for file in (*table.files, *(table.map_files or ()))}
    named = {*read, *noted.left_out, *(problem.file for problem in checked.problems)}
    for file in noted.used:
        stem = PurePosixPath(file).stem.encode("ascii", "backslashreplace").decode()
        is_said = file in named or any(stem in problem or repr(stem)[1:-1] in problem for problem in problems)
        is_said = is_said or not file.lower().endswith((".png", ".jpg"))
        assert is_said, f"{file} is meant, but neither read nor said: {problems}"
    _say(data.description()["findings"])
    _all_there(case.root, {*named, *noted.used, *(file for files in checked.aside.values() for file in files)})
    if not problems and case.form == "coco":
        _all_objects(case.root, noted.used, sum(len(table.labels) for table in checked.splits.values()))
    assert load_scenes(config).fingerprint == data.fingerprint, "the cache gives other data"
    return "read"


def _say(findings: dict[str, Any]) -> None:
    for sentence in sentences(json.loads(json.dumps(findings))):
        assert sentence.isprintable(), f"not one line: {sentence!r}"


def _all_there(root: Path, known: set[str]) -> None:
    """Every file below `root` is among `known`, under its own name or that of a link to it."""
    real = {os.path.realpath(root / file) for file in known}
    start = len(str(root)) + 1
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*files, *links):
            path = Path(folder, name)
            file = str(path)[start:]
            below = any(other.startswith(f"{file}/") for other in known)
            # A link to a folder within is no file: what it leads to is there under its own name.
            inside = path.is_dir() and path.is_symlink() and path.resolve().is_relative_to(root)
            said = file in known or below or inside or os.path.realpath(path) in real
            hidden = any(f"{root}/{parent}" in real for parent in PurePosixPath(file).parents)
            assert said or hidden, f"{file!r} is lost without a word"


def _all_objects(root: Path, used: list[str], read: int) -> None:
    documents = [json.loads((root / file).read_bytes()) for file in used if file.lower().endswith(".json")]
    assert read == sum(len(document.get("annotations", [])) for document in documents), "objects are lost"


def _hangs(*_: object) -> None:
    raise TimeoutError(f"not done after {_LONGEST_S} s")


def run(numbers: Iterator[int] | range, seconds: float | None = None, keep: Path | None = None) -> Counter[str]:
    """Examine these cases, for at most so long; how each ended, and `failed`, of which each is printed."""
    ended: Counter[str] = Counter()
    begun = time.monotonic()
    handler = signal.signal(signal.SIGALRM, _hangs)
    try:
        for number in numbers:
            if seconds is not None and time.monotonic() - begun > seconds:
                break
            ended[_run_one(number, keep)] += 1
    finally:
        signal.signal(signal.SIGALRM, handler)
    return ended


def _run_one(number: int, keep: Path | None) -> str:
    with tempfile.TemporaryDirectory() as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's, of damaged files
        folder = Path(made).resolve()
        os.environ["FUSION_NAS_CACHE"] = str(folder / "cache")
        case = make(number, folder)
        signal.alarm(_LONGEST_S)
        try:
            return examine(case)
        except Exception:
            print(f"case {number} ({case.form}; {', '.join(case.done)}) failed:", file=sys.stderr)
            traceback.print_exc()
            return "failed"
        finally:
            signal.alarm(0)
            if keep is not None:
                shutil.copytree(case.root, keep, symlinks=True, dirs_exist_ok=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="the number of the first case")
    parser.add_argument("--keep", type=Path, help="leave the folder of the last case there")
    options = parser.parse_args()
    begun = time.monotonic()
    ended = run(range(options.seed, options.seed + options.count), keep=options.keep)
    seconds = time.monotonic() - begun
    figures = ", ".join(f"{count:,} {how}" for how, count in ended.most_common())
    print(f"{ended.total():,} folders in {seconds:.0f} s: {figures}; {ended['failed']:,} failed")
    sys.exit(1 if ended["failed"] else 0)


if __name__ == "__main__":
    main()
