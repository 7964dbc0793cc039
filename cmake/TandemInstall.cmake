# The library, its headers, the CMake package with its components, tandem.pc, the program, and `cpack -G DEB`.
include(CMakePackageConfigHelpers)

set(TANDEM_CMAKE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/tandem")

install(TARGETS tandem EXPORT tandem-core
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime NAMELINK_COMPONENT development
    FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development
    FILE_SET optional_headers DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development)
install(EXPORT tandem-core NAMESPACE tandem:: DESTINATION "${TANDEM_CMAKE_DIR}" COMPONENT development)

# One export set for each component, so that find_package(tandem) asks for no more than the library needs.
foreach(component gtest_main init_before_main)
    if(TARGET tandem_${component})
        install(TARGETS tandem_${component} EXPORT tandem-${component}
            ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development
            OBJECTS DESTINATION "${CMAKE_INSTALL_LIBDIR}/tandem" COMPONENT development)
        install(EXPORT tandem-${component} NAMESPACE tandem:: DESTINATION "${TANDEM_CMAKE_DIR}"
            COMPONENT development)
    endif()
endforeach()

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/tandemConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/tandemConfig.cmake" INSTALL_DESTINATION "${TANDEM_CMAKE_DIR}")
# No promise between minor versions before 1.0.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/tandemConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/tandemConfig.cmake" "${PROJECT_BINARY_DIR}/tandemConfigVersion.cmake"
    DESTINATION "${TANDEM_CMAKE_DIR}" COMPONENT development)

# Relative to the .pc file, so that an installed tree can be moved.
file(RELATIVE_PATH TANDEM_PC_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
# A static library does not bring what it was linked with: whoever links it must.
set(TANDEM_PC_REQUIRES "")
if(TANDEM_TLS AND BUILD_SHARED_LIBS)
    set(TANDEM_PC_REQUIRES "Requires.private: openssl >= 3")
elseif(TANDEM_TLS)
    set(TANDEM_PC_REQUIRES "Requires: openssl >= 3")
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/tandem.pc.in" "${PROJECT_BINARY_DIR}/tandem.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/tandem.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    COMPONENT development)

if(TARGET tandem_cli)
    install(TARGETS tandem_cli RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT runtime)
endif()
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT runtime)

if(PROJECT_IS_TOP_LEVEL)
    set(CPACK_GENERATOR DEB)
    set(CPACK_PACKAGE_NAME tandem-dev)
    set(CPACK_PACKAGE_CONTACT "the tandem authors")
    set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
    set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
    set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
    set(CPACK_DEBIAN_PACKAGE_DEPENDS "libboost1.81-dev")
    if(TANDEM_TLS)
        string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", libssl-dev")
    endif()
    set(CPACK_PACKAGING_INSTALL_PREFIX "/usr")
    set(CPACK_VERBATIM_VARIABLES ON)
    include(CPack)
endif()
