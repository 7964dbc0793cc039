# cmake -DBUILD_DIR=... -P RunBenchmarks.cmake: runs every program of the bench folder, one after the other.
file(GLOB programs LIST_DIRECTORIES false "${BUILD_DIR}/bench/bench_*")
if(NOT programs)
    message(FATAL_ERROR "no benchmarks in ${BUILD_DIR}/bench")
endif()
foreach(program IN LISTS programs)
    message("== ${program}")
    execute_process(COMMAND "${program}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
