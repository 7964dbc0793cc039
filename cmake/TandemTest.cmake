# tandem_add_test(<name>
#     SOURCES <file>...
#     [LIBRARIES <target>...]     beside tandem, gtest and gmock
#     [PLAIN_MAIN]                GTest's own main, which does not call tandem::init()
#     [OWN_MAIN]                  the sources have a main
#     [TIMEOUT <seconds>]         for each test case; 120 unless told
#     [ALONE]                     no other test runs beside its cases: they measure, or count what the whole machine has
#     [LABELS <label>...])
#
# Makes one gtest program and registers each of its cases with ctest: each runs in a process of its own, so what one
# leaves behind cannot help or hurt the next.
include(GoogleTest)

function(tandem_add_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "PLAIN_MAIN;OWN_MAIN;ALONE" "TIMEOUT" "SOURCES;LIBRARIES;LABELS")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
        message(FATAL_ERROR "tandem_add_test(${name}): SOURCES are missing, or unknown: ${arg_UNPARSED_ARGUMENTS}")
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    add_executable(${name} ${arg_SOURCES})
    tandem_target_defaults(${name})
    target_link_libraries(${name} PRIVATE tandem_internal ${arg_LIBRARIES} GTest::gmock GTest::gtest fmt::fmt)
    if(arg_OWN_MAIN)
    elseif(arg_PLAIN_MAIN OR NOT TARGET tandem_gtest_main)
        target_link_libraries(${name} PRIVATE GTest::gtest_main)
    else()
        target_link_libraries(${name} PRIVATE tandem::gtest_main)
    endif()
    # PRE_TEST: the program is asked for its cases by ctest, not by the build.
    gtest_discover_tests(${name}
        DISCOVERY_MODE PRE_TEST
        DISCOVERY_TIMEOUT 60
        PROPERTIES TIMEOUT ${arg_TIMEOUT} RUN_SERIAL ${arg_ALONE} LABELS "${arg_LABELS}")
endfunction()
