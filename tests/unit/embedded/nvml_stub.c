/* A libnvidia-ml.so.1 for tests: what it has, and how it fails, is in the environment.
   STUB_INIT: what nvmlInit returns. STUB_GPUS: how many GPUs. STUB_LOST: index of one that fell off the bus.
   STUB_PLAIN: GPUs that know neither memory nor MIG. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK 0
#define NOT_SUPPORTED 3
#define IS_LOST 15

typedef struct { unsigned long long total, free, used; } memory_t;

static int number(const char *name, int otherwise) {
  const char *value = getenv(name);
  return value ? atoi(value) : otherwise;
}
static int index_of(void *gpu) { return (int)(long)gpu - 1; }

int nvmlInitWithFlags(unsigned int flags) { return number("STUB_INIT", OK); }
int nvmlInit_v2(void) { return number("STUB_INIT", OK); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) {
  static char text[40];
  snprintf(text, sizeof text, "stub error %d", code);
  return text;
}
int nvmlSystemGetDriverVersion(char *text, unsigned int size) {
  snprintf(text, size, "580.65.06");
  return OK;
}
int nvmlDeviceGetCount_v2(unsigned int *count) {
  *count = number("STUB_GPUS", 0);
  return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **gpu) {
  *gpu = (void *)(long)(index + 1);
  return (int)index == number("STUB_LOST", -1) ? IS_LOST : OK;
}
int nvmlDeviceGetUUID(void *gpu, char *text, unsigned int size) {
  snprintf(text, size, "GPU-00000000-0000-0000-0000-%012d", index_of(gpu));
  return OK;
}
int nvmlDeviceGetName(void *gpu, char *text, unsigned int size) {
  snprintf(text, size, "NVIDIA Stub");
  return OK;
}
int nvmlDeviceGetMemoryInfo(void *gpu, memory_t *memory) {
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  memset(memory, 0, sizeof *memory);
  memory->total = 81559ULL << 20;
  return OK;
}
int nvmlDeviceGetMigMode(void *gpu, unsigned int *current, unsigned int *pending) {
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  *current = *pending = index_of(gpu) == 0;
  return OK;
}
