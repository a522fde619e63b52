// Scenes for the demo: one stamp, or two side by side, on a muted background, with a caption that lists the objects
// in alphabetical order ("a red apple and a tiger"). A model that has seen every object, but never a certain pair, must
// look to name that pair.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "blip2/core/field_visitor.h"
#include "blip2/core/random.h"
#include "blip2/data/stamps.h"
#include "blip2/image/image.h"

namespace blip2 {

struct SceneOptions {
  /** Side of the square picture in pixels. */
  std::int64_t image_size = 64;
  /** Range of a stamp's longer side as a share of the picture's side. */
  std::vector<double> stamp_scale = {0.42, 0.62};
  /** Kinds to choose from: plain, gradient, stripes, checks, noise. */
  std::vector<std::string> backgrounds = {"plain", "gradient", "stripes", "checks", "noise"};
  /** Probability that a stamp is mirrored. */
  double flip = 0.5;
};

void visit_fields(FieldVisitor& visitor, SceneOptions& options);

/** Throws UserError naming the first field whose value makes no sense. */
void validate(const SceneOptions& options);

struct Scene {
  /** [image_size, image_size, 3]. */
  Image image;
  std::string caption;
  /** Captions of the objects, left to right. */
  std::vector<std::string> objects;
};

/**
 * Names objects, each with its article, in alphabetical order of what follows it: "a red apple and a tiger". Where they
 * stand is not told: what a picture shows decides the caption, and its layout is one thing less to learn.
 */
std::string list_objects(std::vector<std::string> objects);

/**
 * Puts one or two stamps, given left to right, at random places and sizes on a random background; two may overlap by a
 * few pixels. TORCH_CHECKs the number of stamps; options as validate() accepts them.
 */
Scene compose_scene(std::span<const StampPicture* const> stamps, const SceneOptions& options, Random& random);

/** Draws `stamp` over `image` with its upper left corner at (top, left): `a*s + (1-a)*b`, rounded; what is outside is
 * cut. */
void draw_over(Image& image, const ImageRgba& stamp, std::int64_t top, std::int64_t left);

}  // namespace blip2
