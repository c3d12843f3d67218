/* A libnvidia-ml.so.1 for tests: what it has, and how it fails, is in the environment.
   STUB_INIT: what nvmlInit returns. STUB_GPUS: how many GPUs. STUB_LOST: index of one that fell off the bus.
   STUB_PLAIN: GPUs that know nothing but their name. STUB_MIG_SAYS: with MIG on, utilisation is answered all the
   same, as some drivers do, with this. STUB_EMPTY: memory is answered with nothing in it. */
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
  if (number("STUB_EMPTY", 0)) return OK;
  memory->total = 81559ULL << 20;
  memory->used = (index_of(gpu) + 1) * (1024ULL << 20);
  return OK;
}
int nvmlDeviceGetMigMode(void *gpu, unsigned int *current, unsigned int *pending) {
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  *current = *pending = index_of(gpu) == 0;
  return OK;
}
int nvmlDeviceGetUtilizationRates(void *gpu, unsigned int *rates) {
  int mig = index_of(gpu) == 0, says = number("STUB_MIG_SAYS", -1);
  if (number("STUB_PLAIN", 0) || (mig && says < 0)) return NOT_SUPPORTED;
  rates[0] = mig ? says : 37;
  rates[1] = 5;
  return OK;
}
int nvmlDeviceGetTemperature(void *gpu, int sensor, unsigned int *degrees) {
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  *degrees = 41;
  return OK;
}
int nvmlDeviceGetPowerUsage(void *gpu, unsigned int *milliwatts) {
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  *milliwatts = 71250;
  return OK;
}
