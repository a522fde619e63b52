# `cmake --install`: headers, library, programs (examples/CMakeLists.txt) and the CMake package blip2.

include(CMakePackageConfigHelpers)
set(_blip2_package "${CMAKE_INSTALL_LIBDIR}/cmake/blip2")

install(TARGETS blip2 EXPORT blip2Targets)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/blip2" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT blip2Targets NAMESPACE blip2:: DESTINATION "${_blip2_package}")

configure_package_config_file("${PROJECT_SOURCE_DIR}/src/cmake/blip2Config.cmake.in" blip2Config.cmake
  INSTALL_DESTINATION "${_blip2_package}")
write_basic_package_version_file(blip2ConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/blip2Config.cmake" "${CMAKE_CURRENT_BINARY_DIR}/blip2ConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/src/cmake/Blip2Torch.cmake" DESTINATION "${_blip2_package}")
