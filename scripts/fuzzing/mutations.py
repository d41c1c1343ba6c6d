"""Changes of a file: of its bytes, and of what its format is made of, with lengths and checksums made right again."""

import io
import json
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import yaml

# Numbers at which counts and sizes turn over, or nearly do.
_EDGES = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1)
_ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        3,
        2**31,
        2**63,
        10**400,
        0.5,
        -0.5,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "x",
        "a\nb",
    ),
    *("x" * 5000, "../../x", "/etc/passwd", "\u202eabc", "\ud800", "\x00", "\x1b[2J", "8/255", "1e9999", "1/0", "=1+1"),
    *([], [1], ["x"], [[]], {}, {"a": 1}, [0] * 300, "<script>alert(1)</script>", "$\\input{x}$", "${x}", "{{x}}"),
)
_WORDS = (
    *(b"\xff" * 8, b"\x00" * 8, b"%n", b"9" * 5000, b"1e99999999", b"NaN", b"-Infinity", b"[" * 2000, b'{"a":' * 500),
    *(
        b"&a [*a, *a]",
        b"*a",
        b"!!python/object/apply:os.system [x]",
        b"<<: *a",
        b"? [a]: b",
        b"2001-99-99",
        b"0b_",
        b"..;",
    ),
    *(b"0-99999999", b" step ", b"1" * 400, b"cos\nsystem\n", b"\x80\x04", b"R", b"(", b"t", b"h\x00", b"2", b"\x94"),
    *(b"\x8d" + b"\xff" * 8, b"\x96\x00\x00\x00\x00\x02\x00\x00\x00", b"\x8b\xff\xff\xff\x7f", b"e" * 50, b"u" * 50),
    *(b"../../../x", b"\r\n", b"\x1b]0;x\x07", "\u00b2".encode(), b"\xed\xa0\x80", b"\xe2\x80\xae"),
)

Mutator = Callable[[bytes, random.Random], bytes]


def of_bytes(raw: bytes, draw: random.Random) -> bytes:
    """One to eight changes at random places: bits, bytes, numbers, words, cuts, and pieces that come again."""
    changed = bytearray(raw)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        _change(changed, draw)
    return bytes(changed)


def _change(raw: bytearray, draw: random.Random) -> None:
    size = len(raw)
    # Headers come first, and decide most.
    place = draw.randrange(min(size, draw.choice((64, 512, size or 1))) or 1)
    match draw.randrange(9):
        case 0 if size:
            raw[place] ^= 1 << draw.randrange(8)
        case 1 if size:
            raw[place] = draw.randrange(256)
        case 2:
            raw[place : place + draw.choice((1, 2, 4, 8))] = _number(draw)
        case 3:
            raw[place:place] = draw.choice(_WORDS)
        case 4:
            word = draw.choice(_WORDS)
            raw[place : place + len(word)] = word
        case 5:
            del raw[place : place + draw.choice((1, 4, 64, 1024))]
        case 6:
            del raw[draw.randrange(size + 1) :]
        case 7:
            start = draw.randrange(size or 1)
            raw[place:place] = raw[start : start + draw.choice((1, 8, 64, 1024))] * draw.choice((1, 1, 2, 50))
        case _:
            raw[place:place] = draw.randbytes(draw.choice((1, 8, 64)))


def _number(draw: random.Random) -> bytes:
    value, width = draw.choice(_EDGES), draw.choice((1, 2, 4, 8))
    return (value % 256**width).to_bytes(width, draw.choice(("little", "big")))  # type: ignore[arg-type]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from _places(inner, (*path, key))


def _with_change(value: Any, draw: random.Random) -> Any:
    path = draw.choice(list(_places(value)))
    if not path:
        return draw.choice(_ODD)
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    kind = draw.randrange(6)
    if kind == 0:
        del inside[path[-1]]
    elif kind == 1 and isinstance(inside, dict):
        inside[draw.choice(("x", "", "schema", "name", "__class__", "\x1b[2J"))] = draw.choice(_ODD)
    elif kind == 2:
        nested: Any = inside[path[-1]]
        for _ in range(draw.choice((1, 30, 400))):
            nested = draw.choice(([nested], {"a": nested}))
        inside[path[-1]] = nested
    else:
        inside[path[-1]] = draw.choice(_ODD)
    return value


def of_json(raw: bytes, draw: random.Random) -> bytes:
    """Values changed, removed, added or nested; sometimes a key twice, or bytes."""
    if draw.randrange(5) == 0:
        return of_bytes(raw, draw)
    try:
        value = json.loads(raw)
        # With the checksum of what it was, every other change would be refused for that alone.
        if isinstance(value, dict) and draw.randrange(10):
            value.pop("sha256", None)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            value = _with_change(value, draw)
        text = json.dumps(value)
    except (ValueError, RecursionError, KeyError, IndexError, TypeError):
        return of_bytes(raw, draw)
    if draw.randrange(12) == 0:
        text = text.replace("{", '{"schema": 1, "name": "twice", ', draw.choice((1, 3)))
    return text.encode("utf-8", "surrogatepass")


def of_yaml(raw: bytes, draw: random.Random) -> bytes:
    """The same of YAML, with anchors that hold themselves or each other many times over."""
    if draw.randrange(3) == 0:
        return of_bytes(raw, draw)
    try:
        text = of_json(json.dumps(yaml.safe_load(raw)).encode(), draw).decode("utf-8", "replace")
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return of_bytes(raw, draw)
    if draw.randrange(3) == 0:
        bombs = ["&a [x, x]", *(f"&{new} [*{old}, *{old}]" for old, new in pairwise("abcdefghijklmnopqrstuvwxyz"))]
        places = [
            place for place, sign in enumerate(text) if sign in ":,[" and text[place - 1 : place] in ('"', "]", "}")
        ]
        at = draw.choice(places or [0]) + 1
        bomb = draw.choice(
            (f"[{', '.join(bombs)}]", "&a {x: *a}", "&a [*a]", "!!binary x", "0b_", "2001-99-99", "1:1:1:1")
        )
        text = f"{text[:at]} {bomb}, {text[at:]}"
    return text.encode("utf-8", "replace")


def of_lines(raw: bytes, draw: random.Random) -> bytes:
    """One line of JSON changed, doubled, or removed."""
    lines = raw.splitlines()
    if not lines or draw.randrange(6) == 0:
        return of_bytes(raw, draw)
    place = draw.randrange(len(lines))
    lines[place : place + 1] = draw.choice(([], [lines[place]] * 2, *[[of_json(lines[place], draw)]] * 4))
    return b"\n".join(lines) + b"\n"


def of_weights(raw: bytes, draw: random.Random) -> bytes:
    """safetensors: its header as JSON, with the length that belongs to it, mostly."""
    if draw.randrange(3) == 0 or len(raw) < 8:
        return of_bytes(raw, draw)
    (size,) = struct.unpack("<Q", raw[:8])
    header, data = raw[8 : 8 + min(size, len(raw))], raw[8 + min(size, len(raw)) :]
    try:
        facts = json.loads(header)
        inner = json.loads(facts["__metadata__"]["advdpnp"])
        if draw.randrange(2):
            facts["__metadata__"]["advdpnp"] = of_json(json.dumps(inner).encode(), draw).decode("utf-8", "replace")
            header = json.dumps(facts).encode()
        else:
            header = of_json(header, draw)
    except (ValueError, KeyError, TypeError, RecursionError):
        header = of_json(header, draw)
    length = draw.choice((*[len(header)] * 8, *_EDGES)) % 2**64
    return struct.pack("<Q", length) + header + (of_bytes(data, draw) if draw.randrange(4) == 0 else data)


def in_zip(inner: Mutator) -> Mutator:
    """Parts of an archive changed by `inner` and packed again, so that their checksums are right; or bytes."""

    def change(raw: bytes, draw: random.Random) -> bytes:
        if draw.randrange(3) == 0:
            return of_bytes(raw, draw)
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as old:
                parts = [(info.filename, old.read(info), info.compress_type) for info in old.infolist()[:64]]
        except Exception:
            return of_bytes(raw, draw)
        if parts:
            place = draw.randrange(len(parts))
            name, content, kind = parts[place]
            changed = (draw.choice((name, name, name, "../../" + name, "x")), inner(content, draw), kind)
            parts[place : place + 1] = draw.choice(([changed], [changed], [changed], [], [changed, changed]))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as new:
            for name, content, kind in parts:
                new.writestr(name, content, draw.choice((kind, kind, kind, zipfile.ZIP_DEFLATED)))
        return out.getvalue()

    return change


def of_array(raw: bytes, draw: random.Random) -> bytes:
    """npy: its header, a text, with the length that belongs to it, mostly."""
    if draw.randrange(3) == 0 or not raw.startswith(b"\x93NUMPY\x01"):
        return of_bytes(raw, draw)
    size = struct.unpack("<H", raw[8:10])[0]
    header, data = raw[10 : 10 + size], raw[10 + size :]
    old, new = draw.choice((
        (b"(", b"(10000000000, "), (b"(", b"(-1, "), (b"(", b"(True, "), (b"|u1", b"|O"), (b"<f4", b"<U1000000000"),
        (b"<i8", b"|V1"), (b"False", b"True"), (b"{", b"{'x': 1, "),
        (b"(", b"((((((("), (b"<f4", b"<f8"), (b"|u1", b"<M8[s]"),
        (b"<U", b"|S"), (b"(", b"(0, "),
    ))  # fmt: skip
    header = of_bytes(header, draw) if draw.randrange(3) == 0 else header.replace(old, new, 1)
    return raw[:8] + struct.pack("<H", len(header) % 65536) + header + data


def of_tar(raw: bytes, draw: random.Random) -> bytes:
    """An entry of another kind, name or size, packed again."""
    if draw.randrange(3) == 0:
        return of_bytes(raw, draw)
    out = io.BytesIO()
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
            for member in old:
                content = old.extractfile(member)
                body = b"" if content is None else content.read()
                if draw.randrange(3) == 0:
                    body = _changed_member(member, body, draw)
                new.addfile(member, io.BytesIO(body))
    except Exception:
        return of_bytes(raw, draw)
    return out.getvalue()


def _changed_member(member: tarfile.TarInfo, body: bytes, draw: random.Random) -> bytes:
    match draw.randrange(5):
        case 0:
            member.type = draw.choice((b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"x", b"g", b"L"))
            member.linkname = "/etc/passwd"
        case 1:
            member.name = draw.choice(("../x", "/x", "a/../../x", "x" * 300, "\x00", "..\\x", "\udcff"))
        case 2:
            member.pax_headers = {"size": draw.choice(("-1", "9" * 5000, "x", "0")), "GNU.sparse.map": "0,1,x"}
        case 3:
            body = of_bytes(body, draw)
            member.size = len(body)
        case _:
            member.mode, member.mtime = draw.choice((0, 0o7777)), draw.choice((0, 2**33))
    return body


def of_picture(raw: bytes, draw: random.Random) -> bytes:
    """png: its chunks, with the checksums that belong to them; other pictures by their bytes."""
    if draw.randrange(3) == 0 or not raw.startswith(b"\x89PNG"):
        return of_bytes(raw, draw)
    chunks, place = [], 8
    while place + 8 <= len(raw) and len(chunks) < 200:
        size = struct.unpack(">I", raw[place : place + 4])[0]
        chunks.append((raw[place + 4 : place + 8], raw[place + 8 : place + 8 + size]))
        place += 12 + size
    if chunks:
        at = draw.randrange(len(chunks))
        name, body = chunks[at]
        bomb = zlib.compress(bytes(draw.choice((10, 10**6, 10**7))))
        extra = draw.choice((
            (b"iCCP", b"x\0\0" + bomb), (b"zTXt", b"x\0\0" + bomb), (b"iTXt", b"x\0\1\0\0\0" + bomb),
            (b"acTL", bytes(8)),
            (b"eXIf", draw.randbytes(64)), (b"tRNS", draw.randbytes(3)), (b"PLTE", draw.randbytes(9)), (b"IDAT", bomb),
        ))  # fmt: skip
        chunks[at : at + 1] = draw.choice(([(name, of_bytes(body, draw))], [(name, body), extra], [extra], []))
    packed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return raw[:8] + b"".join(packed)
