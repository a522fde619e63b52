// Shears, translations and rotations of a picture as OpenCV 4's warpAffine computes them: bilinear interpolation on a
// grid of 1/32 of a pixel, in integers. Written out since OpenCV 5 interpolates without that grid, up to six grey
// levels apart, and training pictures should not depend on the installed version.
#pragma once

#include "blip2/image/image.h"

namespace blip2 {

/** x, y go to x_from_x * x + x_from_y * y + x_shift, y_from_x * x + y_from_y * y + y_shift (pixels, y downwards). */
struct AffineMap {
  double x_from_x = 1, x_from_y = 0, x_shift = 0;
  double y_from_x = 0, y_from_y = 1, y_shift = 0;
};

/** Turns counter-clockwise about the point. */
AffineMap rotation(double center_x, double center_y, double degrees);

/** Moves every pixel by the map, which must have an inverse; what comes from outside the picture is grey 128. */
Image warp(const Image& image, const AffineMap& map);

}  // namespace blip2
