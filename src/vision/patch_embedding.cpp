#include "blip2/vision/patch_embedding.h"

#include <torch/torch.h>

namespace blip2 {

at::Tensor embed_patches(const at::Tensor& pixels, const torch::nn::Conv2d& patch_embedding) {
  const at::Tensor& weight = patch_embedding->weight;  // [D, 3, P, P]
  const std::int64_t patch = weight.size(2), rows = pixels.size(2) / patch, columns = pixels.size(3) / patch;
  const at::Tensor patches = pixels.to(weight.scalar_type())
                                 .narrow(2, 0, rows * patch)
                                 .narrow(3, 0, columns * patch)
                                 .reshape({pixels.size(0), 3, rows, patch, columns, patch})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({pixels.size(0), rows * columns, 3 * patch * patch});
  return torch::linear(patches, weight.flatten(1), patch_embedding->bias);
}

at::Tensor interpolate_positions(const at::Tensor& table, std::int64_t rows, std::int64_t columns,
                                 GridAlignment alignment) {
  const std::int64_t patches = table.size(0) - 1, width = table.size(1);
  const auto grid = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(patches))));
  TORCH_CHECK(grid * grid == patches, "interpolate_positions: expected a square grid of positions, got ", patches);
  if (rows == grid && columns == grid) return table;
  const at::Tensor image = table.slice(0, 1).view({1, grid, grid, width}).permute({0, 3, 1, 2});
  const at::Tensor resized =
      at::upsample_bicubic2d(image, {rows, columns}, alignment == GridAlignment::kCorners, std::nullopt, std::nullopt);
  return torch::cat({table.slice(0, 0, 1), resized.permute({0, 2, 3, 1}).reshape({rows * columns, width})});
}

}  // namespace blip2
