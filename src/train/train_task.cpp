#include "blip2/train/train_task.h"

#include <torch/torch.h>

#include "blip2/nn/autocast.h"

namespace blip2 {

StepLosses differentiated(StepLosses losses, double scale) {
  differentiate(losses.total * scale);
  losses.total = losses.total.detach();
  for (auto& part : losses.parts) part.second = part.second.detach();
  return losses;
}

}  // namespace blip2
