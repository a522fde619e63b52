# Finds LibTorch and makes the target `blip2_torch`. Also installed: the package config of blip2 includes it.
#
# Two sources. An official LibTorch or any folder that find_package(Torch) accepts (CMAKE_PREFIX_PATH or Torch_DIR), and
# the folder that scripts/setup.sh made from the torch wheel (BLIP2_LIBTORCH). The wheel's own TorchConfig.cmake stops
# with an error where there is no CUDA toolkit, so for a CPU build its libraries are named here.

if(DEFINED ENV{XDG_CACHE_HOME})
  set(_blip2_cache "$ENV{XDG_CACHE_HOME}/blip2")
else()
  set(_blip2_cache "$ENV{HOME}/.cache/blip2")
endif()
set(BLIP2_LIBTORCH "${_blip2_cache}/libtorch-2.15.0/torch" CACHE PATH "LibTorch folder (holds include/ and lib/)")

add_library(blip2_torch INTERFACE IMPORTED)
if(BLIP2_CUDA OR Torch_DIR OR CMAKE_PREFIX_PATH MATCHES "[Tt]orch")
  list(APPEND CMAKE_PREFIX_PATH "${BLIP2_LIBTORCH}")
  find_package(Torch REQUIRED)
  target_link_libraries(blip2_torch INTERFACE torch)
  target_link_options(blip2_torch INTERFACE -Wl,--allow-shlib-undefined)
elseif(EXISTS "${BLIP2_LIBTORCH}/lib/libtorch_cpu.so")
  target_include_directories(blip2_torch SYSTEM INTERFACE
    "${BLIP2_LIBTORCH}/include" "${BLIP2_LIBTORCH}/include/torch/csrc/api/include")
  target_link_libraries(blip2_torch INTERFACE "${BLIP2_LIBTORCH}/lib/libtorch_cpu.so" "${BLIP2_LIBTORCH}/lib/libc10.so")
  target_link_options(blip2_torch INTERFACE -Wl,--allow-shlib-undefined "-Wl,-rpath,${BLIP2_LIBTORCH}/lib")
else()
  message(FATAL_ERROR "LibTorch not found: neither CMAKE_PREFIX_PATH/Torch_DIR points to one nor does "
    "'${BLIP2_LIBTORCH}' hold lib/libtorch_cpu.so. Run scripts/setup.sh, or pass -DBLIP2_LIBTORCH=PATH.")
endif()
