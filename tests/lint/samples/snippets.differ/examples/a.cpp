#include <x>
int main() {
  // snippet: body
  int a = 1;
    int b = 2;
  // snippet end
}
