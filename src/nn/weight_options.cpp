#include "blip2/nn/weight_options.h"

namespace blip2 {
namespace {

thread_local bool skip_initialization = false;

}  // namespace

SkipInitialization::SkipInitialization() : before_(skip_initialization) {
  skip_initialization = true;
}

SkipInitialization::~SkipInitialization() {
  skip_initialization = before_;
}

bool SkipInitialization::active() {
  return skip_initialization;
}

}  // namespace blip2
