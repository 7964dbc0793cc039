// A main for test programs: the fork server is made before any test starts a thread.
#include <gtest/gtest.h>

#include <tandem/init.hpp>

int main(int argc, char** argv) {
  tandem::init();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
