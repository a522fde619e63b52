// Keys of a published config.json that have had other names.
#pragma once

#include <nlohmann/json.hpp>

namespace blip2 {

/** Earlier spellings of a key give way to the present one. */
nlohmann::json with_present_names(nlohmann::json config);

}  // namespace blip2
