// The list of a data set: a JSON array, or JSON lines, of
//   {"image": "a/b.jpg", "caption": "..." or ["...", ...], "image_id": 7 or "coco_7", "objects": ["..."]}
// with the picture's path relative to the file; image_id and objects may be left out, other keys are passed over. The
// files of LAVIS have this form. A file is read record by record, so its size in memory is that of what is kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace blip2 {

/** One picture with what is said about it. */
struct Annotation {
  std::filesystem::path image;
  std::vector<std::string> captions;
  std::int64_t image_id = 0;
  /** Names of what the picture shows; empty where the file does not say. */
  std::vector<std::string> objects;
};

/**
 * Reads a list. `image_id` is the file's where every record has an integer one; otherwise records with equal ids, or
 * without one and with equal pictures, are numbered from 0 in order of appearance. `image_root` stands for the file's
 * folder where it is given. Throws UserError naming file and record for everything that is not as described above.
 */
std::vector<Annotation> load_annotations(const std::filesystem::path& file,
                                         const std::filesystem::path& image_root = {});

/** One caption of one picture. */
struct CaptionPair {
  std::int64_t annotation = 0;
  std::int64_t caption = 0;
};

/** All pairs in order of the list; a picture with five captions gives five, as in LAVIS's files for training. */
std::vector<CaptionPair> caption_pairs(const std::vector<Annotation>& annotations);

}  // namespace blip2
