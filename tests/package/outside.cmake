# cmake -DHOW=find_package|add_subdirectory|pkg_config -DCOMPILER=... -DPREFIX=... -DTANDEM_SOURCE=... -DWORK=...
#       -DEXPECTED="squares;..." -P outside.cmake
# Builds the outside project from nothing and runs its programs.
get_filename_component(outside "${CMAKE_CURRENT_LIST_DIR}/outside" ABSOLUTE)
file(REMOVE_RECURSE "${WORK}")

set(ENV{PKG_CONFIG_PATH} "")
file(GLOB pc_folders "${PREFIX}/lib*/pkgconfig" "${PREFIX}/lib/*/pkgconfig")
list(JOIN pc_folders ":" pc_path)
set(ENV{PKG_CONFIG_PATH} "${pc_path}")

set(find "")
if(HOW STREQUAL "find_package")
    set(find "-DCMAKE_PREFIX_PATH=${PREFIX}")
endif()
execute_process(
    COMMAND "${CMAKE_COMMAND}" -G Ninja -S "${outside}" -B "${WORK}"
        "-DCMAKE_CXX_COMPILER=${COMPILER}" -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}"
        "-DHOW=${HOW}" "-DTANDEM_SOURCE=${TANDEM_SOURCE}" ${find}
    COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${WORK}" COMMAND_ERROR_IS_FATAL ANY)
foreach(program IN LISTS EXPECTED)
    message("== ${program}")
    execute_process(COMMAND "${WORK}/${program}" TIMEOUT 60 COMMAND_ERROR_IS_FATAL ANY)
endforeach()
