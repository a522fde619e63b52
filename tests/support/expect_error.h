// EXPECT_USER_ERROR(expression, text): the expression throws UserError and its sentence contains the text.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/core/error.h"

#define BLIP2_EXPECT_ERROR(type, expression, text)                                        \
  do {                                                                                    \
    try {                                                                                 \
      (void)(expression);                                                                 \
      ADD_FAILURE() << #expression " did not throw";                                      \
    } catch (const type& error) {                                                         \
      EXPECT_THAT(std::string(error.what()), ::testing::HasSubstr(text));                 \
      EXPECT_THAT(std::string(error.what()), ::testing::Not(::testing::HasSubstr("\n"))); \
    }                                                                                     \
  } while (false)

#define EXPECT_USER_ERROR(expression, text) BLIP2_EXPECT_ERROR(::blip2::UserError, expression, text)
#define EXPECT_WORLD_ERROR(expression, text) BLIP2_EXPECT_ERROR(::blip2::WorldError, expression, text)
