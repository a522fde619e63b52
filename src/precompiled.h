// Headers that are expensive to parse and used nearly everywhere inside the library (never included by name).
#pragma once

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>
