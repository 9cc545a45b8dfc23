#include <cstdio>

int main() {
  std::puts("farthing 0.1.0");
  return 0;
}
