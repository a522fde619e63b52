# Compiler settings that only our own targets get: warnings, sanitizers, ccache.

find_program(BLIP2_CCACHE ccache)
if(BLIP2_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The precompiled header carries time stamps; without this sloppiness ccache never hits.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${BLIP2_CCACHE})
endif()

add_library(blip2_own_code INTERFACE)
target_compile_options(blip2_own_code INTERFACE -Wall -Wextra -Wshadow=local -Wnon-virtual-dtor -Wno-unknown-pragmas
  # g++ 12 reports overlaps in std::string::operator= that cannot happen.
  -Wno-restrict)
if(BLIP2_WARNINGS_AS_ERRORS)
  target_compile_options(blip2_own_code INTERFACE -Werror)
endif()

if(BLIP2_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=address,undefined)
  # g++ 12 takes the sanitizers' own branches for uses of LibTorch's empty optionals.
  target_compile_options(blip2_own_code INTERFACE -Wno-maybe-uninitialized)
endif()

# One setting for library, programs and tests, so that they share one precompiled header. at::parallel_for is an inline
# function: without OpenMP it silently uses one thread. Clang would bring a second runtime beside LibTorch's.
add_compile_options(-fPIC)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-fopenmp)
endif()
