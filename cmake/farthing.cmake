# Build rules shared by every folder of src/.

find_program(CCACHE ccache)
if(CCACHE)
  # With paths relative to the source, so that all worktrees of a machine share what one of them compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# Results must not depend on how the compiler fuses: FMA only where the source says fma.
add_compile_options(-ffp-contract=off -Wall -Wextra -Wshadow -Wno-missing-field-initializers -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports impossible overflows inside libstdc++ strings and vectors (GCC PR 105329, 105651).
  add_compile_options(-Wno-restrict -Wno-stringop-overflow -Wno-array-bounds -Wno-maybe-uninitialized)
endif()

if(FARTHING_SANITIZE)
  add_compile_options(-fsanitize=${FARTHING_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FARTHING_SANITIZE})
endif()

if(FARTHING_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
endif()

# farthing_module(NAME [DEPENDS libs...]): one static library of the folder's *.cc (tests apart), and one test
# program of its *_test.cc. New files are found at the next configure; nothing else needs an edit.
function(farthing_module name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz)\\.cc$|/main\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(NOT sources)
    add_library(farthing_${name} INTERFACE)
    target_include_directories(farthing_${name} INTERFACE ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(farthing_${name} INTERFACE ${ARG_DEPENDS})
  else()
    add_library(farthing_${name} STATIC ${sources})
    target_include_directories(farthing_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(farthing_${name} PUBLIC ${ARG_DEPENDS})
  endif()
  if(FARTHING_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE farthing_${name} GTest::gtest GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE
      FARTHING_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
      FARTHING_BINARY_DIR="${PROJECT_BINARY_DIR}")
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES TIMEOUT 600)
  endif()
endfunction()
