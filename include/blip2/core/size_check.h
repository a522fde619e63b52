// Sizes come from files that anyone may have written: a model of 2^40 layers must be a sentence, not a full memory.
#pragma once

#include <cstdint>
#include <string>

namespace blip2 {

/** Enough for every model that exists, and small enough that no product of two sizes overflows. */
inline constexpr std::int64_t kLargestSize = std::int64_t{1} << 24;
inline constexpr std::int64_t kMostLayers = 1024;

/** Throws UserError "SECTION: NAME SIZE must lie between 1 and LARGEST" unless it does. */
void check_size(const std::string& section, const std::string& name, std::int64_t size,
                std::int64_t largest = kLargestSize);

/** Throws UserError "SECTION: NAME must be a finite number of at least 0, found VALUE" unless it is: an eps, a
 * deviation. */
void check_not_negative(const std::string& section, const std::string& name, double value);

/**
 * Throws UserError "SECTION: NAME ID must lie in the vocabulary of VOCABULARY" unless it does; -1, which says that
 * there is no such token, passes too.
 */
void check_token_id(const std::string& section, const std::string& name, std::int64_t id, std::int64_t vocabulary);

}  // namespace blip2
