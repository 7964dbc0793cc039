# cmake -DCOMPILER=... -DLAUNCHER=... -DCOMPILE=<flags> -DLINK=<flags> -DLINK_PROGRAM=<flags> -DSTATIC=<bool> -DSTRIP=...
#       -DWORK=... -DDOCUMENT=... -DCOLUMN=... -P build.cmake
# Builds kinds.cpp and the libraries that it opens, from nothing, and compares it with that column of the document.
separate_arguments(compile UNIX_COMMAND "-std=c++20 -Wall -Wextra -Werror ${COMPILE}")
separate_arguments(link UNIX_COMMAND "${LINK}")
separate_arguments(link_program UNIX_COMMAND "${LINK_PROGRAM}")
file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")

function(run)
    execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${WORK}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# add_plugin(<name> <number of the build> <link flag>...)
function(add_plugin name build)
    run("${COMPILER}" ${compile} -fPIC -shared -DIDENTITY_BUILD=${build} "${CMAKE_CURRENT_LIST_DIR}/plugin.cpp"
        ${link} ${ARGN} -o "lib${name}.so")
    if(STRIP)
        run("${STRIP}" -s "lib${name}.so")
    endif()
endfunction()

if(STATIC)
    list(APPEND compile -DIDENTITY_STATIC)
    # The linker warns that a static program can load libraries of this very glibc alone; this one loads none.
    set(libraries "")
else()
    set(build 1)
    foreach(name IN ITEMS linked early late late_replaced late_removed other_build)
        add_plugin(${name} ${build} -Wl,--build-id)
        math(EXPR build "${build} + 1")
    endforeach()
    add_plugin(nameless ${build} -Wl,--build-id=none)
    set(libraries "-L${WORK}" -llinked "-Wl,-rpath,${WORK}")
endif()

run(${LAUNCHER} "${COMPILER}" ${compile} -c "${CMAKE_CURRENT_LIST_DIR}/kinds.cpp" -o kinds.o)
run("${COMPILER}" ${compile} kinds.o ${libraries} ${link} ${link_program} -o kinds)
if(STRIP)
    run("${STRIP}" -s kinds)
endif()
message("== ${COLUMN}")
execute_process(COMMAND "${WORK}/kinds" "${DOCUMENT}" "${COLUMN}" TIMEOUT 60 COMMAND_ERROR_IS_FATAL ANY)
