// The demo's data set: scenes with one stamp, scenes with two, and held-out scenes whose pairs of stamps never occur in
// training. The plan (which stamps stand in which scene) is apart from the drawing, so that its promises can be tested.
// Every picture has its own random stream (seed, split, index): the result does not depend on the number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "blip2/core/field_visitor.h"
#include "blip2/data/scene.h"
#include "blip2/data/stamps.h"

namespace blip2 {

struct DemoSetOptions {
  std::int64_t seed = 1;
  /** How many stamps of the list, from its start. */
  std::int64_t stamps = 48;
  /** Numbers of scenes with one stamp, with two, and with two that are held out. */
  std::int64_t single = 6000;
  std::int64_t train = 24000;
  std::int64_t held_out = 500;
  /** Permutes the captions of `single` and `train` among their pictures: a control that nothing can be learnt from. */
  bool shuffle_captions = false;
  SceneOptions scene;
};

void visit_fields(FieldVisitor& visitor, DemoSetOptions& options);

/** Throws UserError naming what makes no sense, e.g. more held-out pairs than half of all pairs. */
void validate(const DemoSetOptions& options);

/** Indices into the list of stamps, left to right, for every scene. */
struct DemoPlan {
  std::vector<std::vector<std::int64_t>> single;
  std::vector<std::vector<std::int64_t>> train;
  std::vector<std::vector<std::int64_t>> held_out;
};

/**
 * Held-out scenes each have another unordered pair, spread evenly over the stamps; training scenes go round all other
 * pairs, so no held-out pair is among them; single scenes go round all stamps. Throws UserError like validate().
 */
DemoPlan plan_demo_set(const DemoSetOptions& options);

/** Called after each split with its name and number of pictures. */
using DemoProgress = std::function<void(const std::string& split, std::int64_t pictures)>;

/**
 * Writes `SPLIT/00000.png`, and `SPLIT.json` (a list of {"image", "caption", "image_id", "objects"}; objects are what
 * the picture shows, left to right) for single, train and held_out, `captions.txt` (one training caption a line) and,
 * at last, `summary.json`. Returns false when the folder already holds the same set complete. Throws UserError when
 * there are fewer stamps than options.stamps, WorldError when the disk refuses.
 */
bool write_demo_set(const std::vector<Stamp>& stamps, const DemoSetOptions& options,
                    const std::filesystem::path& folder, std::int64_t threads, const DemoProgress& progress);

}  // namespace blip2
