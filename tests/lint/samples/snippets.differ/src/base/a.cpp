// snippet: body
int a;
// snippet end
