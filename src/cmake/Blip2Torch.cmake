# Makes the target `blip2_torch` from a LibTorch folder. Installed too: the package config of blip2 includes this file.
#
# The folder is, in this order: BLIP2_LIBTORCH; the one that Torch_DIR or CMAKE_PREFIX_PATH leads to;
# BLIP2_LIBTORCH_DEFAULT, which whoever includes this file sets. A CPU build names the two libraries itself, because the
# TorchConfig.cmake of a CUDA build of LibTorch stops with an error where there is no CUDA toolkit.

if(TARGET blip2_torch)
  return()
endif()
set(BLIP2_LIBTORCH "" CACHE PATH "LibTorch folder (holds include/ and lib/); empty: the one that is found")

set(BLIP2_LIBTORCH_FOUND "${BLIP2_LIBTORCH}")
set(_blip2_prefixes ${CMAKE_PREFIX_PATH})
if(Torch_DIR)
  list(PREPEND _blip2_prefixes "${Torch_DIR}/../../..")
endif()
foreach(_blip2_prefix IN LISTS _blip2_prefixes BLIP2_LIBTORCH_DEFAULT)
  if(NOT BLIP2_LIBTORCH_FOUND AND (EXISTS "${_blip2_prefix}/lib/libtorch_cpu.so" OR
      EXISTS "${_blip2_prefix}/share/cmake/Torch/TorchConfig.cmake"))
    get_filename_component(BLIP2_LIBTORCH_FOUND "${_blip2_prefix}" ABSOLUTE)
  endif()
endforeach()
if(NOT EXISTS "${BLIP2_LIBTORCH_FOUND}/lib/libtorch_cpu.so")
  set(_blip2_tried "${BLIP2_LIBTORCH_FOUND}")
  if(NOT _blip2_tried)
    set(_blip2_tried "${BLIP2_LIBTORCH_DEFAULT}")
  endif()
  message(FATAL_ERROR "LibTorch not found: '${_blip2_tried}' holds no lib/libtorch_cpu.so and CMAKE_PREFIX_PATH leads to "
    "no LibTorch; run scripts/setup.sh, or pass -DBLIP2_LIBTORCH=PATH.")
endif()
message(STATUS "LibTorch: ${BLIP2_LIBTORCH_FOUND}")

add_library(blip2_torch INTERFACE IMPORTED)
# LibTorch brings its own OpenMP runtime. A second one would keep a second set of threads busy.
file(GLOB _blip2_openmp "${BLIP2_LIBTORCH_FOUND}/lib/libgomp*.so*")
if(_blip2_openmp)
  list(GET _blip2_openmp 0 _blip2_openmp)
  target_link_libraries(blip2_torch INTERFACE "${_blip2_openmp}")
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_link_libraries(blip2_torch INTERFACE gomp)
endif()
# What LibTorch's libraries need themselves (CUDA, NCCL) is found when a program starts, through their own run paths.
target_link_options(blip2_torch INTERFACE -Wl,--allow-shlib-undefined)
if(BLIP2_CUDA)
  set(TORCH_CUDA_ARCH_LIST "8.0;9.0" CACHE STRING "CUDA architectures")
  if(NOT EXISTS "${BLIP2_LIBTORCH_FOUND}/share/cmake/Torch/TorchConfig.cmake")
    message(FATAL_ERROR "BLIP2_CUDA needs LibTorch's CMake package, and '${BLIP2_LIBTORCH_FOUND}' holds no "
      "share/cmake/Torch/TorchConfig.cmake; name another LibTorch, or build with -DBLIP2_CUDA=OFF.")
  endif()
  find_package(Torch REQUIRED PATHS "${BLIP2_LIBTORCH_FOUND}" NO_DEFAULT_PATH)
  target_link_libraries(blip2_torch INTERFACE torch)
  # The wheel's NCCL lies beside it (scripts/setup.sh --cuda); c10d's NCCL header asks for its nccl.h.
  find_path(BLIP2_NCCL_INCLUDE nccl.h HINTS "${BLIP2_LIBTORCH_FOUND}/../nvidia/nccl/include")
  if(BLIP2_NCCL_INCLUDE)
    target_include_directories(blip2_torch SYSTEM INTERFACE "${BLIP2_NCCL_INCLUDE}")
    target_compile_definitions(blip2_torch INTERFACE USE_C10D_NCCL)
  else()
    message(STATUS "No nccl.h: several GPUs cannot work together; run scripts/setup.sh --cuda")
  endif()
else()
  target_include_directories(blip2_torch SYSTEM INTERFACE
    "${BLIP2_LIBTORCH_FOUND}/include" "${BLIP2_LIBTORCH_FOUND}/include/torch/csrc/api/include")
  target_link_libraries(blip2_torch INTERFACE
    "${BLIP2_LIBTORCH_FOUND}/lib/libtorch_cpu.so" "${BLIP2_LIBTORCH_FOUND}/lib/libc10.so")
endif()
