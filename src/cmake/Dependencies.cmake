# Everything the library links. The imported target `blip2_torch` hides where LibTorch came from.

set(CMAKE_THREAD_PREFER_PTHREAD TRUE)
find_package(Threads REQUIRED)
find_package(OpenCV REQUIRED COMPONENTS core imgproc imgcodecs)
find_package(JPEG REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc i18n)
find_package(PkgConfig REQUIRED)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)

# What scripts/setup.sh --libtorch recorded for this checkout, otherwise the wheel that it fetched.
set(_blip2_record "${PROJECT_SOURCE_DIR}/.cache/libtorch")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_blip2_record}")
if(EXISTS "${_blip2_record}")
  file(STRINGS "${_blip2_record}" BLIP2_LIBTORCH_DEFAULT LIMIT_COUNT 1)
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(BLIP2_LIBTORCH_DEFAULT "$ENV{XDG_CACHE_HOME}/blip2/libtorch-2.15.0/torch")
else()
  set(BLIP2_LIBTORCH_DEFAULT "$ENV{HOME}/.cache/blip2/libtorch-2.15.0/torch")
endif()
include(Blip2Torch)
