# What every target of this project has in common. All of it is PRIVATE: a user of the library inherits nothing.

set(TANDEM_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wshadow)

# tandem_target_defaults(<target>): language, warnings, visibility.
function(tandem_target_defaults target)
    target_compile_features(${target} PRIVATE cxx_std_20)
    target_compile_options(${target} PRIVATE ${TANDEM_WARNINGS} $<$<BOOL:${TANDEM_WERROR}>:-Werror>)
    set_target_properties(${target} PROPERTIES
        CXX_EXTENSIONS OFF
        CXX_VISIBILITY_PRESET hidden
        VISIBILITY_INLINES_HIDDEN ON
        POSITION_INDEPENDENT_CODE ON)
endfunction()

# tandem_add_subdirectory_if_there(<folder>): a folder joins the build on the day it gets a CMakeLists.txt.
function(tandem_add_subdirectory_if_there folder)
    if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/CMakeLists.txt")
        add_subdirectory(${folder})
    endif()
endfunction()
