"""The fixtures in crates/data/tests/images, with Pillow."""
import struct
import zlib
from pathlib import Path

from PIL import Image
out = str(Path(__file__).parent) + "/"
base = Image.new("RGB", (20, 10), (200, 60, 30))
base.paste((20, 160, 90), (10, 0, 20, 10))
base.convert("CMYK").save(out + "cmyk.jpg", quality=95)
base.quantize(4).save(out + "palette.png")
exif = Image.Exif(); exif[0x0112] = 6
base.save(out + "exif-rotated.jpg", quality=95, exif=exif)
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
open(out + "bomb.png", "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
# A square moves over a picture of two colors, so that all frames but the first store only what changed.
def frame(left):
    picture = base.copy()
    picture.paste((250, 250, 10), (left, 2, left + 4, 6))
    return picture
first, *others = [frame(left) for left in (0, 6, 12)]
durations = [40, 80, 120]
first.save(out + "animated.webp", save_all=True, append_images=others, duration=durations, lossless=True)
first.save(out + "animated-rotated.webp", save_all=True, append_images=others, duration=durations, lossless=True, exif=exif)
first.save(out + "animated.png", save_all=True, append_images=others, duration=durations)
first.save(out + "animated.gif", save_all=True, append_images=others, duration=durations)
