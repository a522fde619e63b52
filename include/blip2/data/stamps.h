// Tux Paint's stamps as a source of named pictures: `NAME.png` beside `NAME.txt`, whose first line is an English
// caption. Most captions are plain noun phrases ("A red apple."); advice, jokes and sentences are left out. The demo
// uses a hand-picked list of them (configs/demo/stamps.json), ordered so that a shorter prefix is easier to tell apart.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "blip2/image/image.h"

namespace blip2 {

struct Stamp {
  /** Path below the stamps folder, without extension: `animals/mammals/cats/tiger`. */
  std::string name;
  /** Lower case with its article: `a tiger`. */
  std::string caption;
  std::filesystem::path file;
};

/** A stamp's picture, cut to the part that is not transparent. */
struct StampPicture {
  std::string caption;
  ImageRgba image;
};

/**
 * A noun phrase that reads well in a list, from a caption line: trimmed, without the final period, lower case, with
 * "a", "an" or "some" where it had no article. Empty when the line is a sentence, an exclamation, a proper name or
 * longer than six words.
 */
std::optional<std::string> clean_caption(const std::string& line);

/**
 * All usable stamps below `folder`, by name. Left out: pictures without text, drawings that exist only as SVG, symbols,
 * flags and military ones, captions that clean_caption refuses, and all but one of equal captions (photographs are
 * preferred to cartoons). Throws UserError when the folder is missing or has none.
 */
std::vector<Stamp> find_stamps(const std::filesystem::path& folder);

/**
 * The stamps that a list file names, in its order: a JSON list of names, or of `{"name": ..., "caption": ...}` where
 * the caption replaces the file's. Throws UserError when one is missing or has no usable caption, or when a caption is
 * equal to or contained in another.
 */
std::vector<Stamp> read_stamp_list(const std::filesystem::path& list, const std::filesystem::path& folder);

/**
 * Reads the picture, cuts it to its visible part and shrinks it so that its longer side has at most `longest_side`
 * pixels. Throws UserError when it cannot be read or is wholly transparent.
 */
StampPicture load_stamp(const Stamp& stamp, std::int64_t longest_side = 96);

/** The smallest rectangle that holds every pixel with alpha above 8 (of 255); empty when there is none. */
ImageRgba trim_to_alpha(const ImageRgba& image);

/** Area-averaged to [height, width, 4]; colours are weighted by alpha, so transparent pixels do not bleed in. */
ImageRgba resize_area(const ImageRgba& image, std::int64_t height, std::int64_t width);

}  // namespace blip2
