# Installs a build into a fresh folder, builds the consumer project beside it against that, and runs it.
#   cmake -DBUILD=... -DWORK=... -DCXX=... -P install_test.cmake
file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")

# must_run(COMMAND...): stops with the output when the command fails.
function(must_run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT code EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "'${command}' ended with ${code}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

must_run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/prefix")
must_run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}" -B "${WORK}/consumer" -G Ninja -DCMAKE_BUILD_TYPE=Release
  "-DCMAKE_CXX_COMPILER=${CXX}" "-DCMAKE_PREFIX_PATH=${WORK}/prefix")
must_run("${CMAKE_COMMAND}" --build "${WORK}/consumer")
file(WRITE "${WORK}/config.json" [[{"name": "installed", "seed": 1}]])
must_run("${WORK}/consumer/consumer" "${WORK}/config.json")
if(NOT output STREQUAL "installed 7 1\n")
  message(FATAL_ERROR "the consumer should print 'installed 7 1' and printed '${output}'")
endif()
file(REMOVE_RECURSE "${WORK}")
