# cmake -DSOURCE_DIR=... -DBUILD_DIR=... [-DSECONDS=60] -P RunFuzzers.cmake
# Runs every fuzz target for a while. It starts from fuzz/corpus/<target without fuzz_>; what it finds stays in the
# build folder.
if(NOT SECONDS)
    set(SECONDS 60)
endif()
file(GLOB programs LIST_DIRECTORIES false "${BUILD_DIR}/fuzz/fuzz_*")
list(FILTER programs EXCLUDE REGEX "/fuzz_replay_")
if(NOT programs)
    message(FATAL_ERROR "no fuzz targets in ${BUILD_DIR}/fuzz")
endif()
foreach(program IN LISTS programs)
    cmake_path(GET program FILENAME name)
    string(REGEX REPLACE "^fuzz_" "" name "${name}")
    set(found "${BUILD_DIR}/fuzz/found/${name}")
    file(MAKE_DIRECTORY "${found}")
    set(corpus "${found}")
    if(IS_DIRECTORY "${SOURCE_DIR}/fuzz/corpus/${name}")
        list(APPEND corpus "${SOURCE_DIR}/fuzz/corpus/${name}")
    endif()
    message("== ${program}, ${SECONDS} s")
    execute_process(
        COMMAND "${program}" -max_total_time=${SECONDS} -rss_limit_mb=1024 -print_final_stats=1
            "-artifact_prefix=${found}/" ${corpus}
        COMMAND_ERROR_IS_FATAL ANY)
endforeach()
