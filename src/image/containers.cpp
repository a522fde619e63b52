#include "image/containers.h"

#include <zlib.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "blip2/core/error.h"
#include "blip2/image/image.h"

namespace blip2 {
namespace {

using Bytes = std::span<const std::uint8_t>;

bool has(Bytes bytes, std::size_t offset, std::string_view text) {
  return bytes.size() >= offset + text.size() && std::memcmp(bytes.data() + offset, text.data(), text.size()) == 0;
}
bool is_png(Bytes bytes) {
  return has(bytes, 0, "\x89PNG\r\n\x1a\n");
}
bool is_webp(Bytes bytes) {
  return has(bytes, 0, "RIFF") && has(bytes, 8, "WEBP");
}
bool is_bmp(Bytes bytes) {
  return has(bytes, 0, "BM");
}
bool is_tiff(Bytes bytes) {
  return has(bytes, 0, {"II*\0", 4}) || has(bytes, 0, {"MM\0*", 4});
}

std::int64_t big_endian(Bytes bytes, std::size_t offset, std::size_t count = 4) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = value << 8 | bytes[offset + i];
  return value;
}
std::int64_t little_endian(Bytes bytes, std::size_t offset, std::size_t count) {
  std::int64_t value = 0;
  for (std::size_t i = count; i-- > 0;) value = value << 8 | bytes[offset + i];
  return value;
}

void append(std::vector<std::uint8_t>& to, Bytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// Of the other chunks none changes a pixel, and libpng would print what it thinks of many a colour profile.
bool decides_pixels(Bytes chunk) {
  return has(chunk, 4, "IHDR") || has(chunk, 4, "PLTE") || has(chunk, 4, "tRNS") || has(chunk, 4, "IDAT") ||
         has(chunk, 4, "IEND");
}

/** The chunks that decide the pixels, each whole. */
std::vector<std::uint8_t> reduced_png(Bytes bytes, const std::string& name) {
  const UserError cut_short("'" + name + "' is a PNG that was cut short or is damaged: its chunks do not reach IEND");
  if (!has(bytes, 12, "IHDR") || bytes.size() < 24) throw cut_short;
  check_image_size(big_endian(bytes, 20), big_endian(bytes, 16), name);
  constexpr std::size_t kSignature = 8, kAround = 12;  // length, type and checksum of a chunk
  std::vector<std::uint8_t> reduced(bytes.begin(), bytes.begin() + kSignature);
  for (std::size_t offset = kSignature; bytes.size() - offset >= kAround;) {
    const auto length = static_cast<std::size_t>(big_endian(bytes, offset));
    if (length > bytes.size() - offset - kAround) break;
    const Bytes chunk = bytes.subspan(offset, length + kAround);
    if (decides_pixels(chunk)) {
      const auto sum = crc32_z(0, chunk.data() + 4, length + 4);
      if (static_cast<std::int64_t>(sum) != big_endian(chunk, length + 8)) {
        throw UserError("'" + name + "' is a damaged PNG: the checksum of a chunk is wrong");
      }
      append(reduced, chunk);
    }
    if (has(chunk, 4, "IEND")) return reduced;
    offset += chunk.size();
  }
  throw cut_short;
}

// RIFF length and picture size of the three kinds of first chunk.
void check_webp(Bytes bytes, const std::string& name) {
  if (bytes.size() < 30 || little_endian(bytes, 4, 4) + 8 > static_cast<std::int64_t>(bytes.size())) {
    throw UserError("'" + name + "' is a WebP that was cut short");
  }
  if (has(bytes, 12, "VP8X")) {
    check_image_size(little_endian(bytes, 27, 3) + 1, little_endian(bytes, 24, 3) + 1, name);
  } else if (has(bytes, 12, "VP8L")) {
    const std::int64_t sizes = little_endian(bytes, 21, 4);
    check_image_size((sizes >> 14 & 0x3fff) + 1, (sizes & 0x3fff) + 1, name);
  } else {
    check_image_size(little_endian(bytes, 28, 2) & 0x3fff, little_endian(bytes, 26, 2) & 0x3fff, name);
  }
}

/** Calls `visit(name, chunk)` for the chunks of RIFF, headers included; the last may be cut. */
template <typename Visit>
void for_each_riff_chunk(Bytes chunks, Visit visit) {
  while (chunks.size() >= 8) {
    const auto length = static_cast<std::size_t>(little_endian(chunks, 4, 4));
    const std::size_t whole = std::min(chunks.size(), 8 + length + length % 2);
    visit(std::string(chunks.begin(), chunks.begin() + 4), chunks.first(whole));
    chunks = chunks.subspan(whole);
  }
}

/** The first frame of an animation as a picture of its own, which is what Pillow shows. */
std::vector<std::uint8_t> first_frame(Bytes bytes, const std::string& name) {
  constexpr std::size_t kFirstChunk = 12, kFrameHeader = 8 + 16, kSizes = 6;
  Bytes frame;
  for_each_riff_chunk(bytes.subspan(kFirstChunk), [&](const std::string& type, Bytes chunk) {
    if (type == "ANMF" && frame.empty()) frame = chunk;
  });
  if (frame.size() < kFrameHeader) throw UserError("'" + name + "' is a damaged WebP: an animation without a frame");
  // Offsets, then width and height as the canvas of VP8X has them.
  const bool fills = little_endian(frame, 8, 6) == 0 && std::memcmp(&frame[14], &bytes[24], kSizes) == 0;
  if (!fills) {
    throw UserError("'" + name + "' is an animated WebP whose first frame does not fill the picture; save the frame " +
                    "that is meant as a picture of its own");
  }
  std::vector<std::uint8_t> header(bytes.begin(), bytes.begin() + 30), pixels;
  bool has_alpha = false;
  for_each_riff_chunk(frame.subspan(kFrameHeader), [&](const std::string& type, Bytes chunk) {
    if (type != "ALPH" && type != "VP8 " && type != "VP8L") return;
    has_alpha = has_alpha || type != "VP8 ";
    append(pixels, chunk);
  });
  header[20] = has_alpha ? 0x10 : 0;
  append(header, pixels);
  const auto length = static_cast<std::uint32_t>(header.size() - 8);
  for (std::size_t i = 0; i < 4; ++i) header[4 + i] = static_cast<std::uint8_t>(length >> 8 * i);
  return header;
}

bool is_animated(Bytes webp) {
  return has(webp, 12, "VP8X") && (webp[20] & 0x02) != 0;
}

// A negative height says that the rows stand from above; OS/2's header, of 12 bytes, has short sizes.
void check_bmp(Bytes bytes, const std::string& name) {
  if (bytes.size() < 26) throw UserError("'" + name + "' is a BMP that was cut short");
  const bool is_short = little_endian(bytes, 14, 4) == 12;
  const auto width = static_cast<std::int32_t>(little_endian(bytes, 18, is_short ? 2 : 4));
  const auto height = static_cast<std::int32_t>(little_endian(bytes, is_short ? 20 : 22, is_short ? 2 : 4));
  check_image_size(std::abs(std::int64_t{height}), width, name);
}

// OpenCV multiplies colours with alpha and converts the other kinds with roundings of its own.
void check_tiff_colours(std::int64_t colours, std::int64_t samples, const std::string& name) {
  constexpr std::int64_t kWhiteIsZero = 0, kBlackIsZero = 1, kRgb = 2, kPalette = 3, kCmyk = 5, kYCbCr = 6, kLab = 8;
  const bool is_grey = colours == kWhiteIsZero || colours == kBlackIsZero || colours == kPalette;
  if ((is_grey && samples == 1) || (colours == kRgb && samples == 3)) return;
  const std::string kind = is_grey || colours == kRgb ? "with alpha or other samples beside the colours"
                           : colours == kCmyk         ? "in CMYK"
                           : colours == kYCbCr        ? "in YCbCr"
                           : colours == kLab          ? "in CIELAB"
                                                      : "in colours of an unusual kind";
  throw UserError("'" + name + "' is a TIFF " + kind + ", which Pillow would read otherwise: save it as PNG");
}

// Width, height and colours are entries of the first directory, wherever in the file that lies.
void check_tiff(Bytes bytes, const std::string& name) {
  const UserError cut_short("'" + name +
                            "' is a TIFF that was cut short or is damaged: its first directory is not whole");
  const bool is_little = has(bytes, 0, "II");
  const auto number = [&](std::size_t offset, std::size_t count) {
    if (offset > bytes.size() || bytes.size() - offset < count) throw cut_short;
    return is_little ? little_endian(bytes, offset, count) : big_endian(bytes, offset, count);
  };
  constexpr std::int64_t kWidth = 256, kHeight = 257, kColours = 262, kSamples = 277, kShort = 3;
  std::int64_t width = 0, height = 0, colours = -1, samples = 1;
  const auto directory = static_cast<std::size_t>(number(4, 4));
  const std::int64_t entries = number(directory, 2);
  for (std::int64_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + static_cast<std::size_t>(i) * 12;
    const std::int64_t tag = number(entry, 2);
    for (const auto& [known, value] : {std::pair(kWidth, &width), std::pair(kHeight, &height),
                                       std::pair(kColours, &colours), std::pair(kSamples, &samples)}) {
      if (tag == known) *value = number(entry + 8, number(entry + 2, 2) == kShort ? 2 : 4);
    }
  }
  check_image_size(height, width, name);
  check_tiff_colours(colours, samples, name);
}

}  // namespace

void check_image_size(std::int64_t height, std::int64_t width, const std::string& name) {
  if (height < 1 || width < 1 || height > kMaxImagePixels / width) {
    throw UserError("'" + name + "' claims to be " + std::to_string(width) + " x " + std::to_string(height) +
                    " pixels; pictures of 1 to " + std::to_string(kMaxImagePixels) + " pixels are read");
  }
}

Container open_container(Bytes bytes, const std::string& name) {
  Container container{"", {}, bytes};
  if (is_png(bytes)) {
    container.kind = "PNG";
    container.rewritten = reduced_png(bytes, name);
  } else if (is_webp(bytes)) {
    container.kind = "WebP";
    check_webp(bytes, name);
    if (is_animated(bytes)) container.rewritten = first_frame(bytes, name);
  } else if (is_bmp(bytes)) {
    container.kind = "BMP";
    check_bmp(bytes, name);
  } else if (is_tiff(bytes)) {
    container.kind = "TIFF";
    check_tiff(bytes, name);
  } else {  // OpenCV may know it, but nobody has compared what it gives with Pillow
    throw UserError("'" + name + "' is not a picture that can be read (JPEG, PNG, WebP, BMP or TIFF)");
  }
  if (!container.rewritten.empty()) container.bytes = container.rewritten;
  return container;
}

}  // namespace blip2
