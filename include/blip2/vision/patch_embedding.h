// What both towers share at their entrance: cutting a picture into patches and fitting the position table to another
// size.
#pragma once

#include <torch/nn/modules/conv.h>

namespace blip2 {

/**
 * The strided convolution of `patch_embedding` as one matrix product: pixels [B, 3, H, W] -> [B, (H / P) (W / P), D],
 * row by row.
 */
at::Tensor embed_patches(const at::Tensor& pixels, const torch::nn::Conv2d& patch_embedding);

/** How the bicubic grid of a resized position table is laid; the towers differ (LAVIS 1.3). */
enum class GridAlignment { kPixelCentres /* EVA, align_corners = false */, kCorners /* CLIP, align_corners = true */ };

/**
 * A position table [1 + g * g, D] for a grid of `rows` x `columns` patches -> [1 + rows * columns, D]. The first row
 * (class token) is kept, the rest resized bicubically (a = -0.75, no antialias). Equal grids return the table
 * unchanged.
 */
at::Tensor interpolate_positions(const at::Tensor& table, std::int64_t rows, std::int64_t columns,
                                 GridAlignment alignment);

}  // namespace blip2
