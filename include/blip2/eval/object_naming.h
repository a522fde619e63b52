// How often captions name what a picture shows: an object counts when its exact name stands in the caption as whole
// words.
#pragma once

#include <string>
#include <vector>

namespace blip2 {

struct NamingScores {
  double both_objects = 0;         // share of pictures with every object named
  double at_least_one_object = 0;  // share with at least one named
};

/** Whether `name` stands in `caption` as whole words ("a cat" is not in "a catfish"). */
bool names_object(const std::string& caption, const std::string& name);

/** `captions` and `objects` per picture. Throws (TORCH_CHECK) when their numbers differ or there are none. */
NamingScores naming_scores(const std::vector<std::string>& captions,
                           const std::vector<std::vector<std::string>>& objects);

}  // namespace blip2
